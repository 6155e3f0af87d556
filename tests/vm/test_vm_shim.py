"""containerd's shim where cgroups are v2 or hybrid, and where CRIU works: what depends on that."""

from tests.integration.test_shim import (  # noqa: F401
    containerd,
    task,
    test_a_life,
    test_checkpoint,
    test_checkpoint_and_restore,
    test_limits_are_changed,
    test_many_are_added_at_once,
    test_out_of_memory,
    test_pause_and_resume,
    test_pids_and_statistics,
    test_the_shim_is_killed,
)
