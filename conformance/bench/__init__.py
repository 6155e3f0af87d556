"""How fast and how large naja is beside its peers: ``python -m conformance.bench --help``."""
