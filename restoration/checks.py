"""What every stage asks of its input, said in one sentence where it is not so."""

from __future__ import annotations

import torch


def check_images(images: torch.Tensor, name: str, *, channels: tuple[int, ...] = (3, 4)) -> None:
    """Hold an IMAGE batch to (N,H,W,C), floating point, at least one pixel of at least one frame.

    Raises:
        TypeError: not a tensor, or not floating point.
        ValueError: another number of dimensions or channels, or an empty batch.
    """
    if not isinstance(images, torch.Tensor):
        raise TypeError(f"{name}: expected an image batch (a float tensor), got {type(images).__name__}")
    if not images.is_floating_point():
        raise TypeError(f"{name}: expected floating point values in 0…1, got {images.dtype}; divide by 255 first")
    if images.dim() != 4 or images.shape[3] not in channels:
        wanted = " or ".join(map(str, channels))
        raise ValueError(f"{name}: expected (frames, height, width, {wanted}), got shape {tuple(images.shape)}")
    if 0 in images.shape:
        raise ValueError(f"{name}: the batch is empty, shape {tuple(images.shape)}; give it at least one frame")


def check_finite(frame: torch.Tensor, name: str) -> None:
    """Refuse NaN and infinite pixels before they reach the network.

    Raises:
        ValueError: any value is not finite; ``name`` says of what.
    """
    # a sum is the cheapest look at every value: it is not finite if any is not; it may also overflow, hence the second
    if not torch.isfinite(frame.sum(dtype=torch.float32)) and not torch.isfinite(frame).all():
        bad = int((~torch.isfinite(frame)).sum())
        raise ValueError(f"{name}: {bad} of {frame.numel()} values are NaN or infinite; mend the node that made them")


def check_fraction(value: float, name: str, high: float = 1.0) -> None:
    """Hold a number to 0…``high``.

    Raises:
        ValueError: it lies outside, or is NaN.
    """
    if not 0 <= value <= high:
        raise ValueError(f"{name}: expected a number from 0 to {high:g}, got {value}")
