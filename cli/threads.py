"""How worker threads wait: set in the environment before torch or NumPy load their OpenMP library.

An idle OpenMP worker spins by default. Beside any busy process, or as one of two runs, spinning workers take the cores
that the working ones need, and everything is ten times slower.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

# any of these says that the user has thought about it: OpenMP's own, GNU's (torch on Linux), Intel's and LLVM's
CHOSEN_BY_USER = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")


def wait_passively(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let idle OpenMP threads sleep, unless the user chose how they wait."""
    if not any(name in environment for name in CHOSEN_BY_USER):
        environment["OMP_WAIT_POLICY"] = "passive"
