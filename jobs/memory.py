"""How large a result may be: what the pack itself would read, and what fits into the memory that is there."""

from __future__ import annotations

import math
import os
from pathlib import Path

from .image_io.picture import MAX_PIXELS, ImageFileError

_SHARE = 0.9  # of the free memory that a result may take
_LEAST_USEFUL = 1.05  # smaller enlargements are not worth suggesting
_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def check_scale(size: tuple[int, int], channels: int, bits: int, scale: float) -> None:
    """Refuse an enlargement that is too large, before it is made.

    Args:
        size: (height, width) of the picture.
        channels: 3 or 4.
        bits: 8 or 16 per channel.
        scale: 1 to 4.

    Raises:
        ImageFileError: says which scale fits.
    """
    if scale <= 1:
        return
    height, width = size
    pixels = round(height * scale) * round(width * scale)
    free = free_memory()
    limit, reason = MAX_PIXELS, f"the {MAX_PIXELS // 10**6} million that are read and written at once"
    if free is not None and free * _SHARE / bytes_per_pixel(channels, bits) < limit:
        limit = int(free * _SHARE / bytes_per_pixel(channels, bits))
        reason = f"what fits into the {free / 1e9:.1f} GB of memory that are free"
    if pixels <= limit:
        return
    fits = math.floor(math.sqrt(limit / (height * width)) * 100) / 100
    advice = f"scale {fits:.2f} fits" if fits >= _LEAST_USEFUL else "leave the scale at 1"
    made = f"{round(width * scale)} × {round(height * scale)} pixels"
    raise ImageFileError(f"scale {scale:g} would make {made}, more than {reason}; {advice}.")


def bytes_per_pixel(channels: int, bits: int) -> int:
    """Peak memory per pixel of a result: canvas, result and mask in float32, then integers and the encoded file."""
    return 2 * 4 * channels + 4 + 2 * channels * bits // 8


def free_memory() -> int | None:
    """Bytes that this process can still get, by the system and by its container's limit; None where nobody says."""
    known = [value for value in (_system_free(), *(_cgroup_free(*files) for files in _CGROUPS)) if value is not None]
    return min(known, default=None)


def _system_free() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass  # not Linux
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")  # macOS: of all memory, as a bound
    except (AttributeError, ValueError, OSError):
        return None  # Windows


def _cgroup_free(limit: str, used: str) -> int | None:
    try:
        return max(0, int(Path(limit).read_text(encoding="ascii")) - int(Path(used).read_text(encoding="ascii")))
    except (OSError, ValueError):  # no such group, or "max"
        return None
