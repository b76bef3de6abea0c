"""The checks at the door: every input and option is looked at once, before the first frame is worked on."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import torch


def check_images(images: torch.Tensor, name: str, *, channels: tuple[int, ...] = (3, 4)) -> None:
    """Hold an IMAGE batch to (N,H,W,C), floating point, at least one pixel of at least one frame.

    Raises:
        TypeError: not a tensor, or not floating point.
        ValueError: another number of dimensions or channels, or an empty batch.
    """
    _check_pixels(images, name, channels, "an image batch", ("frames", "height", "width"))
    if 0 in images.shape:
        raise ValueError(f"{name}: the batch is empty, shape {tuple(images.shape)}; give it at least one frame")


def check_frame(frame: torch.Tensor, name: str) -> None:
    """Hold one frame to (H,W,3 or 4), floating point, finite.

    Raises:
        TypeError, ValueError: as :func:`check_images` and :func:`refuse_non_finite`.
    """
    _check_pixels(frame, name, (3, 4), "a frame", ("height", "width"))
    if 0 in frame.shape:
        raise ValueError(f"{name}: the frame is empty, shape {tuple(frame.shape)}; give it at least one pixel")
    refuse_non_finite(frame, name)


def _check_pixels(pixels: torch.Tensor, name: str, channels: tuple[int, ...], what: str, axes: tuple[str, ...]) -> None:
    if not isinstance(pixels, torch.Tensor):
        raise TypeError(f"{name}: expected {what} (a float tensor), got {type(pixels).__name__}")
    if not pixels.is_floating_point():
        raise TypeError(f"{name}: expected floating point values in 0…1, got {pixels.dtype}; divide by 255 first")
    if pixels.dim() != len(axes) + 1 or pixels.shape[-1] not in channels:
        wanted = ", ".join([*axes, " or ".join(map(str, channels))])
        raise ValueError(f"{name}: expected ({wanted}), got shape {tuple(pixels.shape)}")


def refuse_non_finite(pixels: torch.Tensor, name: str) -> None:
    """Refuse NaN and infinite pixels before they reach the network; one pass, and the host waits for its result.

    Raises:
        ValueError: any value is not finite; ``name`` says of what.
    """
    # a sum is the cheapest look at every value: it is not finite if any is not; it may also overflow, hence the second
    if not torch.isfinite(pixels.sum(dtype=torch.float32)) and not torch.isfinite(pixels).all():
        bad = int((~torch.isfinite(pixels)).sum())
        raise ValueError(
            f"{name}: {bad} of {pixels.numel()} values are NaN or infinite; check the node or program that made them"
        )


def check_number(value: Any, name: str, low: float, high: float) -> float:
    """``value`` as a float.

    Raises:
        TypeError: it is no number (a string, for instance).
        ValueError: it lies outside of ``low`` … ``high``, or is NaN.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name}: expected a number from {low:g} to {high:g}, got {value!r}")
    number = float(value)
    if not low <= number <= high:
        raise ValueError(f"{name}: expected a number from {low:g} to {high:g}, got {value}")
    return number


def check_choice(value: Any, name: str, choices: Sequence[str]) -> None:
    """Refuse what is none of the names.

    Raises:
        ValueError: with the names that there are.
    """
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")


def check_crop_size(value: int | str) -> int | None:
    """Side of the crops in pixels, or None for "auto".

    Raises:
        ValueError: neither "auto" nor a whole number of pixels.
    """
    if value == "auto":
        return None
    try:
        size = int(value)
    except (TypeError, ValueError):
        size = 0
    if size < 1 or float(size) != float(value):
        raise ValueError(f"crop_size: expected auto or a whole number of pixels, at least 1, got {value!r}")
    return size
