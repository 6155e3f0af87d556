"""The life cycle of containers, and what is kept of each."""
