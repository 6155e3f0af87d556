"""What is said to systemd: the bus, and readiness."""
