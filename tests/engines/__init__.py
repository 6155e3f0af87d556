"""Real engines that drive the runtime: containerd (ctr, CRI), Docker, Podman, buildah."""
