"""What the faces are pasted onto: the picture itself, the picture enlarged, or an enlargement from elsewhere."""

from __future__ import annotations

import torch
from torch import Tensor

Size = tuple[int, int]  # height, width


def enlarge(frame: Tensor, size: Size) -> Tensor:
    """Lanczos enlargement in floating point; the same size gives the same bits.

    Convention: pixel centres at half-integers, so coordinates scale by the plain ratio of the sizes. OpenCV's
    ``INTER_LANCZOS4`` on the CPU, its eight taps as tensor operations elsewhere.

    Args:
        frame: (H,W,C) float in 0…1.
        size: (height, width) of the result.

    Returns:
        (height,width,C) float32 in 0…1 on the frame's device.
    """
    if tuple(frame.shape[:2]) == size:
        return frame.float()
    if frame.device.type != "cpu":
        return _along(_along(frame.float(), size[0], 0), size[1], 1).clamp_(0, 1)
    import cv2  # not at the top: the pack must load where OpenCV is missing, and say so where it is needed

    pixels = frame.detach().float().contiguous().numpy()
    enlarged = cv2.resize(pixels, (size[1], size[0]), interpolation=cv2.INTER_LANCZOS4)
    return torch.from_numpy(enlarged.reshape(*size, frame.shape[2])).clamp_(0, 1)


def _along(frame: Tensor, length: int, axis: int) -> Tensor:
    """One axis of (H,W,C) resampled to ``length`` by Lanczos' kernel of four lobes, the border repeated."""
    given, device = frame.shape[axis], frame.device
    place = (torch.arange(length, dtype=torch.float32, device=device) + 0.5) * (given / length) - 0.5
    first = place.floor()
    offsets = torch.arange(-3, 5, device=device)
    taps = place[:, None] - (first[:, None] + offsets)  # [length,8]
    weights = torch.sinc(taps) * torch.sinc(taps / 4)
    weights = weights / weights.sum(1, keepdim=True)
    indexes = (first[:, None].long() + offsets).clamp(0, given - 1)
    shape = [1, 1, 1]
    shape[axis] = length
    out = torch.zeros(1, device=device)
    for tap in range(8):
        out = out + frame.index_select(axis, indexes[:, tap]) * weights[:, tap].view(shape)
    return out


def canvas_size(image: Size, scale: float, upscaled: Size | None) -> Size:
    """(height, width) of the result.

    Args:
        image: of the frame.
        scale: 1…4; without effect where an enlargement is given.
        upscaled: of the enlargement, if any.

    Raises:
        ValueError: an enlargement of another aspect.
    """
    height, width = image
    if upscaled is None:
        return round(height * scale), round(width * scale)
    tall, wide = upscaled
    if abs(tall * width - wide * height) > max(height, width):  # rounding moves a side by up to one pixel
        raise ValueError(
            f"upscaled_image: expected the aspect of image ({width}×{height}), got {wide}×{tall}; "
            "enlarge the same picture without cropping it"
        )
    return upscaled
