"""Short forms of Python's own modules, for the compiled command: strip.py puts them in the place of the long."""
