"""naja: an OCI container runtime. The Python API is loaded on first use."""
