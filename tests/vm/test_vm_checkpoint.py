"""CRIU of Debian does not know the newest kernels: in the guests it works."""

from tests.integration.test_checkpoint import *  # noqa: F403
