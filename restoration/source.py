"""The door for a stream: frames and what belongs to them, one at a time; what is wrong with one stays with it."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..faces.selection import frame_mask
from ..faces.swap.changes import NoPartner, other_sized
from .callbacks import CancelWatch
from .checks import check_frame
from .stages.canvas import Size, canvas_size

Frames = Iterable[Any]
"""Tensors (H,W,3 or 4), callables that return one (called when its turn comes), or exceptions."""

_MOST_FAILURES = 100  # in a row: a source that only fails must come to an end
_ENDED = object()


@dataclass
class Item:
    """One frame of the source with all that belongs to it, or why it cannot be used."""

    index: int
    frame: Tensor | None = None
    mask: Tensor | None = None  # (h,w)
    original: Tensor | None = None
    no_original: NoPartner | None = None
    upscaled: Tensor | None = None
    size: Size = (0, 0)
    error: Exception | None = None


def stream(
    frames: Frames,
    check_cancel: CancelWatch,
    *,
    scale: float = 1.0,
    mask: Any = None,
    original_image: Frames | None = None,
    upscaled_image: Frames | None = None,
) -> Generator[Item, None, None]:
    """The items of a source, each checked when it enters.

    Args:
        frames: see :data:`Frames`.
        mask: one mask (h,w) or (1,h,w) for all frames, or one per frame: (N,h,w), or an iterable of (h,w).
        original_image, upscaled_image: one per frame; an original that is None has no partner.

    Raises:
        TypeError, ValueError: an argument of the wrong type. What is wrong with one frame becomes its ``error``.
    """
    for name, value in (("frames", frames), ("original_image", original_image), ("upscaled_image", upscaled_image)):
        if value is not None and not isinstance(value, Iterable):
            raise TypeError(f"{name}: expected an iterable of frames, got {type(value).__name__}")
    masks = _per_frame_masks(mask)
    originals = None if original_image is None else iter(original_image)
    enlargements = None if upscaled_image is None else iter(upscaled_image)
    return _items(iter(frames), masks, originals, enlargements, scale, check_cancel)


def _items(
    frames: Iterator[Any],
    masks: Iterator[Any] | None,
    originals: Iterator[Any] | None,
    enlargements: Iterator[Any] | None,
    scale: float,
    check_cancel: CancelWatch,
) -> Generator[Item, None, None]:
    index = failures = 0
    while True:
        check_cancel()
        frame = _next(frames, check_cancel)
        if frame is _ENDED:
            return
        failures = failures + 1 if isinstance(frame, _Broken) else 0
        if failures > _MOST_FAILURES:
            raise frame.error
        beside = {
            name: _next(items, check_cancel)
            for name, items in (("mask", masks), ("original_image", originals), ("upscaled_image", enlargements))
            if items is not None
        }
        item = Item(index)
        try:
            _fill(item, frame, beside, scale)
        except Exception as error:
            check_cancel.pass_on(error)
            item = Item(index, error=error)
        yield item
        index += 1


class _Broken:
    """What the source raised instead of giving its next item."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def _next(items: Iterator[Any], check_cancel: CancelWatch) -> Any:
    try:
        return next(items)
    except StopIteration:
        return _ENDED
    except Exception as error:
        check_cancel.pass_on(error)
        return _Broken(error)


def _fill(item: Item, frame: Any, beside: dict[str, Any], scale: float) -> None:
    """Load and check what belongs to one frame."""
    item.frame = pixels = _loaded(frame, "frames")
    check_frame(pixels, f"image, frame {item.index}")
    for name, value in beside.items():
        if value is _ENDED:
            raise ValueError(f"{name}: it ended before frame {item.index}; give one per frame")
    if "mask" in beside:
        mask = _loaded(beside["mask"], "mask")
        # an empty mask of one frame means what it says, also where it has the size of LoadImage's
        checked = frame_mask(mask, 1, empty_is_absent=False)
        item.mask = None if checked is None else checked[0]
    if "original_image" in beside:
        item.original = original = _loaded(beside["original_image"], "original_image")
        if original is None:
            item.no_original = ("no_original", {})
        else:
            check_frame(original, f"original_image, frame {item.index}")
            item.no_original = other_sized(_size(pixels), _size(original))
            item.original = original if item.no_original is None else None
    if "upscaled_image" in beside:
        item.upscaled = upscaled = _loaded(beside["upscaled_image"], "upscaled_image")
        if upscaled is not None:
            check_frame(upscaled, f"upscaled_image, frame {item.index}")
    item.size = canvas_size(_size(pixels), scale, None if item.upscaled is None else _size(item.upscaled))


def _loaded(value: Any, name: str) -> Any:
    if isinstance(value, _Broken):
        raise value.error
    if isinstance(value, Exception):
        raise value
    if callable(value) and not isinstance(value, torch.Tensor):
        value = value()
    if isinstance(value, torch.Tensor) and value.dim() == 4 and len(value) == 1 and name != "mask":
        value = value[0]  # a batch of one is a frame
    return value


def _per_frame_masks(mask: Any) -> Iterator[Any] | None:
    """One mask per frame; a single one is repeated. None where there is none."""
    if mask is None:
        return None
    if isinstance(mask, torch.Tensor):
        single = mask.dim() == 2 or len(mask) == 1
        checked = frame_mask(mask, 1 if single else len(mask))
        if checked is None:
            return None
        return _repeated(checked[0]) if single else iter(checked)
    if not isinstance(mask, Iterable):
        raise TypeError(f"mask: expected a MASK tensor or an iterable of one per frame, got {type(mask).__name__}")
    return iter(mask)


def _repeated(mask: Tensor) -> Iterator[Tensor]:
    while True:
        yield mask


def _size(frame: Tensor) -> Size:
    return int(frame.shape[0]), int(frame.shape[1])
