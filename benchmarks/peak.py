"""``peak_bytes()``: the largest resident memory of this process so far."""

from __future__ import annotations

import sys
from pathlib import Path


def peak_bytes() -> int:
    """Bytes, mapped files included; 0 where the system does not say (Windows)."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux: what getrusage gives there is that of the process that started this one, if larger
        return int(status.read_text(encoding="ascii").split("VmHWM:")[1].split()[0]) * 1024
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
