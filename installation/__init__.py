"""naja installed as a tool: a tree below a prefix, and a Debian package."""
