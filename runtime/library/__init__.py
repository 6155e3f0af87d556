"""The Python API behind ``naja``: what it does to containers, it asks a resident naja to do.

A program that uses it has threads, signals, children and descriptors of its own, and cannot be sealed. So
there is one process beside it (naja.resident), started when it is first needed and gone with the program;
the two talk by messages (requests.py). What only reads (states, statistics, configs) is done in the program
itself.
"""
