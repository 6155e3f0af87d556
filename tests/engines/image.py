"""Images made on the spot from a busybox root file system, in a file that every engine can load."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from typing import Any

#: What the images are called, in every engine.
BUSYBOX, PAUSE = "docker.io/library/naja-busybox:test", "docker.io/library/naja-pause:test"

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def write_images(path: str, rootfs: str) -> None:
    """Write an archive with both images: an OCI image layout and, beside it, `docker save`'s manifest.

    See image-layout.md of the OCI image specification; Docker 20.10 knows only manifest.json.
    """
    layer = _layer(rootfs)
    archive = _Archive()
    digest = archive.blob(layer)
    manifests, docker = [], []
    for name, command in ((BUSYBOX, ["sh"]), (PAUSE, ["sleep", "1000000"])):
        config = archive.blob(_json(_config(digest, command)))
        manifest = _json(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": _descriptor("application/vnd.oci.image.config.v1+json", config, archive),
                "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar", digest, archive)],
            }
        )
        descriptor = _descriptor(
            "application/vnd.oci.image.manifest.v1+json", archive.blob(manifest), archive
        )
        annotations = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": "test"}
        manifests.append(descriptor | {"annotations": annotations})
        docker.append({"Config": _path(config), "RepoTags": [name], "Layers": [_path(digest)]})
    archive.files["oci-layout"] = _json({"imageLayoutVersion": "1.0.0"})
    archive.files["index.json"] = _json({"schemaVersion": 2, "manifests": manifests})
    archive.files["manifest.json"] = _json(docker)
    archive.write(path)


class _Archive:
    """The files of the archive by name."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def blob(self, content: bytes) -> str:
        """Add a blob; return its digest without the algorithm."""
        digest = hashlib.sha256(content).hexdigest()
        self.files[_path(digest)] = content
        return digest

    def write(self, path: str) -> None:
        with tarfile.open(path, "w") as tar:
            for name, content in self.files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def _path(digest: str) -> str:
    return f"blobs/sha256/{digest}"


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _descriptor(media_type: str, digest: str, archive: _Archive) -> dict[str, Any]:
    size = len(archive.files[_path(digest)])
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": size}


def _config(layer: str, command: list[str]) -> dict[str, Any]:
    return {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine),
        "os": "linux",
        "config": {"Env": [PATH], "Cmd": command, "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}"]},
        "history": [{"created_by": "naja's tests"}],
    }


def _layer(rootfs: str) -> bytes:
    """Return the root file system as an uncompressed layer."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        tar.add(rootfs, arcname=".", filter=_by_root)
    return content.getvalue()


def _by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
