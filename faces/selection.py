"""Which of the faces that were found are restored, and in which order: by size, by mask, by index."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from .collection import Faces
from .skipped import Skipped, skip_faces

# larger comes later; a face's centre is the middle of its aligned square
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
LOAD_IMAGE_EMPTY = (64, 64)  # ComfyUI's LoadImage gives zeros of this size where the picture has no alpha


def parse_select(select: str) -> tuple[range, ...] | None:
    """Read ``select``: None for ``all``, else the ranges of indexes that were named.

    Commas or blanks part the entries, blanks around a dash and commas at the ends do no harm.
    Raises ValueError with the accepted forms for anything else.
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
            raise ValueError(f"select must be {ACCEPTED}; in {select!r} the range {entry} runs backwards")
        ranges.append(range(first, last + 1))
    return tuple(ranges)


def frame_mask(mask: Tensor | None, frame_count: int, *, empty_is_absent: bool = True) -> Tensor | None:
    """The user's mask as (1 or frame_count, h, w), or None where it counts as absent.

    mask: (h, w) or (1 or N, h, w), any size; LoadImage's all-zero 64×64 means "no mask" if ``empty_is_absent``.
    Raises TypeError for what is no floating point (or boolean) tensor, ValueError for other shapes, another number of
    frames, and values that are not finite: a face under NaN would be left out without a word.
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
    # frame by frame: the sum of a narrower type makes a wide copy
    if not all(torch.isfinite(frame.sum(dtype=torch.float32)) for frame in mask):
        raise ValueError("mask must have values in 0…1, got some that are not finite (NaN or infinity)")
    return mask


def masked_in(faces: Faces, mask: Tensor) -> Tensor:
    """(M,) bool: where the mask under a face's centre is above 0.5; ``mask`` as ``frame_mask`` gives it.

    Convention: the mask covers the frame edge to edge, whatever its size. A centre beyond the frame (a face cut by the
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
    """The indexes of ``ranges`` that a frame with ``count`` faces does not have, in the way they are written."""
    beyond = (range(max(indexes.start, count), indexes.stop) for indexes in ranges)
    parts = (f"{r.start}" if len(r) == 1 else f"{r.start}-{r.stop - 1}" for r in beyond if r)
    return ", ".join(dict.fromkeys(parts))


def check_selection(select: str, order: str, min_face_px: float) -> tuple[range, ...] | None:
    """What ``parse_select`` makes of ``select``; ValueError for an unknown order or ``min_face_px`` below 0, too."""
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
    """Filter, then order within each frame, then pick by index.

    min_face_px: faces whose aligned square has a shorter side, in pixels of the photo, are left out
    mask: in frame coordinates, see ``frame_mask``; a face stays where the mask under its centre is above 0.5
    order: one of ``ORDERS``; equal faces stay in the order in which they were found
    select: see ``parse_select``; counted per frame, after the filters and in ``order``, from 0. An index that a frame
        does not have is said, and is no error.

    Returns the faces frame by frame in ``order``, and an entry for everything that was left out.
    Raises ValueError for an unknown order, a bad ``select``, ``min_face_px`` below 0, a mask that does not fit.
    """
    check_selection(select, order, min_face_px)
    return choose_faces(faces, select, order, min_face_px, frame_mask(mask, faces.frame_count))


def choose_faces(
    faces: Faces, select: str, order: str, min_face_px: float, user_mask: Tensor | None
) -> tuple[Faces, tuple[Skipped, ...]]:
    """:func:`select_faces` behind its checks; ``user_mask`` as :func:`frame_mask` gives it."""
    ranges = parse_select(select)
    large_enough = faces.sizes >= min_face_px - 1e-6  # the fit's own rounding
    skipped: list[Skipped] = []
    small = torch.nonzero(~large_enough).flatten().tolist()
    skipped += skip_faces(faces, small, "too_small", least=float(min_face_px))
    inside = masked_in(faces, user_mask) if user_mask is not None else torch.ones_like(large_enough)
    skipped += skip_faces(faces, torch.nonzero(large_enough & ~inside).flatten().tolist(), "outside_mask")

    keys = torch.nan_to_num(_KEYS[order](faces), nan=math.inf).tolist()  # a score that is not known comes last
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
