"""What the hook programs that ship with naja share."""

import os
import sys

_HOOKS = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
# The package "runtime" is three directories up where naja is installed, beside all that it needs
# (site-packages/runtime/share/hooks); in a checkout it is one up.
for _place in (f"{_HOOKS}/../../..", f"{_HOOKS}/.."):
    if os.path.exists(f"{_place}/runtime/errors.py"):
        sys.path.append(os.path.abspath(_place))
