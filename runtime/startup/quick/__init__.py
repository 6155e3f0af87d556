"""Short forms of modules of Python's own; strip.py puts them in the place of the long ones."""
