"""Select and order the detected faces: by size, by mask, by index."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from .collection import Faces
from .skipped import Skipped, skip_faces

# sort keys, ascending; a face's centre is that of its aligned square
_KEYS: dict[str, Callable[[Faces], Tensor]] = {
    "large-small": lambda faces: -faces.sizes,
    "small-large": lambda faces: faces.sizes,
    "left-right": lambda faces: faces.centers[:, 0],
    "right-left": lambda faces: -faces.centers[:, 0],
    "top-bottom": lambda faces: faces.centers[:, 1],
    "bottom-top": lambda faces: -faces.centers[:, 1],
    "confidence": lambda faces: -faces.scores,
}
ORDERS = tuple(_KEYS)

ACCEPTED = "all, or indexes counted from 0 within each frame, such as 0 or 0,2 or 0-2 or 0-2,5"
LOAD_IMAGE_EMPTY = (64, 64)  # ComfyUI's LoadImage gives zeros of this size for a picture without alpha


def parse_select(select: str) -> tuple[range, ...] | None:
    """Parse ``select``: None for ``all``, else the ranges of indexes.

    Entries are separated by commas or blanks; blanks around a dash and commas at the ends are ignored.

    Raises:
        ValueError: anything else; the message names the accepted forms.
    """
    text = str(select).strip().lower()
    if text == "all":
        return None
    entries = re.split(r"[,\s]+", re.sub(r"\s*-\s*", "-", text).strip(", \t\r\n"))
    ranges = []
    for entry in entries:
        match = re.fullmatch(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", entry)
        if match is None:
            raise ValueError(f"select must be {ACCEPTED}; got {select!r}")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise ValueError(f"select must be {ACCEPTED}; in {select!r} the range {entry} is reversed")
        ranges.append(range(first, last + 1))
    return tuple(ranges)


def frame_mask(mask: Tensor | None, frame_count: int, *, empty_is_absent: bool = True) -> Tensor | None:
    """The user's mask as (1 or frame_count, h, w), or None if it counts as absent.

    Args:
        mask: (h, w) or (1 or N, h, w), any size, values in 0…1.
        empty_is_absent: LoadImage's all-zero 64×64 means "no mask".

    Raises:
        TypeError: not a floating point or bool tensor.
        ValueError: another shape or number of frames, or values that are not finite: a face under NaN would be dropped
            silently.
    """
    if mask is None:
        return None
    if not isinstance(mask, Tensor) or not (mask.is_floating_point() or mask.dtype == torch.bool):
        came = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise TypeError(f"mask must be a MASK, a floating point tensor with values in 0…1, got {came}")
    if mask.ndim == 2:
        mask = mask[None]
    if mask.ndim != 3 or 0 in mask.shape:
        raise ValueError(f"mask must be a MASK of the shape (frames, height, width), got {tuple(mask.shape)}")
    if empty_is_absent and tuple(mask.shape[1:]) == LOAD_IMAGE_EMPTY and not bool(mask.any()):
        return None
    if len(mask) not in (1, frame_count):
        raise ValueError(
            f"mask must have one frame, or as many as the image: expected 1 or {frame_count}, got {len(mask)}"
        )
    # per frame: summing a narrower dtype in float32 makes a float32 copy
    if not all(torch.isfinite(frame.sum(dtype=torch.float32)) for frame in mask):
        raise ValueError("mask must have values in 0…1, got some that are not finite (NaN or infinity)")
    return mask


def masked_in(faces: Faces, mask: Tensor) -> Tensor:
    """(M,) bool: whether the mask is above 0.5 at each face's centre; ``mask`` as :func:`frame_mask` returns it.

    Convention: the mask covers the frame edge to edge, whatever its size. A centre outside the frame (a face cut by the
    border) takes the nearest value inside.
    """
    height, width = faces.image_size
    frames = faces.frame_indices if len(mask) > 1 else torch.zeros_like(faces.frame_indices)
    columns = (faces.centers[:, 0] * mask.shape[2] / width).floor().clamp(0, mask.shape[2] - 1).long()
    rows = (faces.centers[:, 1] * mask.shape[1] / height).floor().clamp(0, mask.shape[1] - 1).long()
    index = (frames.to(mask.device), rows.to(mask.device), columns.to(mask.device))
    return (mask[index].float() > 0.5).cpu()


def _named(ranges: tuple[range, ...] | None, rank: int) -> bool:
    return ranges is None or any(rank in indexes for indexes in ranges)


def _missing(ranges: Iterable[range], count: int) -> str:
    """The indexes of ``ranges`` that a frame with ``count`` faces does not have, as text."""
    beyond = (range(max(indexes.start, count), indexes.stop) for indexes in ranges)
    parts = (f"{r.start}" if len(r) == 1 else f"{r.start}-{r.stop - 1}" for r in beyond if r)
    return ", ".join(dict.fromkeys(parts))


def check_selection(select: str, order: str, min_face_px: float) -> tuple[range, ...] | None:
    """Check all selection options; returns ``select`` as :func:`parse_select` does.

    Raises:
        ValueError: a bad ``select``, an unknown order, or ``min_face_px`` below 0 or not finite.
    """
    if order not in ORDERS:
        raise ValueError(f"order must be one of {', '.join(ORDERS)}; got {order!r}")
    if not (min_face_px >= 0 and math.isfinite(min_face_px)):
        raise ValueError(f"min_face_px must be 0 or more pixels, got {min_face_px}")
    return parse_select(select)


def select_faces(
    faces: Faces,
    select: str = "all",
    order: str = "large-small",
    min_face_px: float = 16,
    mask: Tensor | None = None,
) -> tuple[Faces, tuple[Skipped, ...]]:
    """Filter by size and mask, order within each frame, then pick by index.

    Args:
        select: see :func:`parse_select`; counted per frame from 0, after the filters and in ``order``. An index that a
            frame does not have is recorded, not an error.
        order: one of :data:`ORDERS`; ties keep the order of detection.
        min_face_px: least side of the aligned square, in pixels of the photo.
        mask: in frame coordinates, see :func:`frame_mask`; a face is kept if the mask is above 0.5 at its centre.

    Returns:
        The selected faces, frame by frame in ``order``, and a record for everything that was left out.

    Raises:
        ValueError: an unknown order, a bad ``select``, ``min_face_px`` below 0, or a mask that does not fit.
    """
    check_selection(select, order, min_face_px)
    return choose_faces(faces, select, order, min_face_px, frame_mask(mask, faces.frame_count))


def choose_faces(
    faces: Faces, select: str, order: str, min_face_px: float, user_mask: Tensor | None
) -> tuple[Faces, tuple[Skipped, ...]]:
    """:func:`select_faces` without its checks; ``user_mask`` as :func:`frame_mask` returns it."""
    ranges = parse_select(select)
    large_enough = faces.sizes >= min_face_px - 1e-6  # tolerance for the rounding of the fit
    skipped: list[Skipped] = []
    small = torch.nonzero(~large_enough).flatten().tolist()
    skipped += skip_faces(faces, small, "too_small", least=float(min_face_px))
    inside = masked_in(faces, user_mask) if user_mask is not None else torch.ones_like(large_enough)
    skipped += skip_faces(faces, torch.nonzero(large_enough & ~inside).flatten().tolist(), "outside_mask")

    keys = torch.nan_to_num(_KEYS[order](faces), nan=math.inf).tolist()  # an unknown score (NaN) comes last
    by_frame: dict[int, list[int]] = {frame: [] for frame in sorted(set(faces.frame_indices.tolist()))}
    for index in torch.nonzero(large_enough & inside).flatten().tolist():
        by_frame[int(faces.frame_indices[index])].append(index)
    kept: list[int] = []
    for frame, ranked in by_frame.items():
        ranked.sort(key=keys.__getitem__)  # stable
        for rank, index in enumerate(ranked):
            if _named(ranges, rank):
                kept.append(index)
            else:
                skipped += skip_faces(faces, [index], "not_selected", number=rank, order=order, select=select)
        if ranges is not None and (missing := _missing(ranges, len(ranked))):
            kind = "no_such_face" if ranked else "no_face_to_select"
            skipped.append(Skipped(kind, frame, values={"missing": missing, "last": len(ranked) - 1}))
    return faces[torch.tensor(kept, dtype=torch.int64, device="cpu")], tuple(
        sorted(skipped, key=lambda entry: entry.frame)
    )
