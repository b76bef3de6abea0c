"""What the faces are pasted onto: the picture itself, the picture enlarged, or an enlargement from elsewhere."""

from __future__ import annotations

import torch

from .checks import check_finite, check_images
from .report import Report


def enlarge(frame: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Lanczos enlargement in floating point; the same size gives the same bits.

    Convention: pixel centres at half-integers, so coordinates scale by the plain ratio of the sizes.

    Args:
        frame: (H,W,C) float in 0…1.
        size: (height, width) of the result.

    Returns:
        (height,width,C) float32 in 0…1 on the frame's device.
    """
    if tuple(frame.shape[:2]) == size:
        return frame.float()
    import cv2  # not at the top: the pack must load where OpenCV is missing, and say so where it is needed

    pixels = frame.detach().float().cpu().contiguous().numpy()
    enlarged = cv2.resize(pixels, (size[1], size[0]), interpolation=cv2.INTER_LANCZOS4)
    return torch.from_numpy(enlarged.reshape(*size, frame.shape[2])).clamp_(0, 1).to(frame.device)


def canvas_size(
    images: torch.Tensor, scale: float, upscaled_image: torch.Tensor | None, report: Report
) -> tuple[int, int]:
    """(height, width) of the result, with ``upscaled_image`` held against ``images``.

    Raises:
        TypeError, ValueError: a scale outside 1…4, or an enlargement of another frame count or aspect, or NaN in it.
    """
    if not 1 <= scale <= 4:
        raise ValueError(f"scale: expected a number from 1 to 4, got {scale}")
    height, width = images.shape[1:3]
    if upscaled_image is None:
        return round(height * scale), round(width * scale)
    check_images(upscaled_image, "upscaled_image")
    if len(upscaled_image) != len(images):
        raise ValueError(f"upscaled_image: expected {len(images)} frames as in image, got {len(upscaled_image)}")
    tall, wide = upscaled_image.shape[1:3]
    if abs(tall * width - wide * height) > max(height, width):  # rounding moves a side by up to one pixel
        raise ValueError(
            f"upscaled_image: expected the aspect of image ({width}×{height}), got {wide}×{tall}; "
            "enlarge the same picture without cropping it"
        )
    for index in range(len(upscaled_image)):
        check_finite(upscaled_image[index], f"upscaled_image, frame {index}")
    if scale != 1:
        report.warn(f"scale {scale:g} was not used: upscaled_image decides the size of the result ({wide}×{tall})")
    return tall, wide
