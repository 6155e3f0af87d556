"""containerd's side of the resident process: the protocol of shims (core/runtime/v2 in containerd)."""
