"""The door for a batch: every frame, mask and original is looked at once, before the first is worked on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ..faces import match_frames
from ..faces.selection import frame_mask
from ..faces.swap.changes import NoPartner, no_partner
from .callbacks import CheckCancel
from .checks import check_images, refuse_non_finite
from .stages.canvas import canvas_size


@dataclass(frozen=True)
class Batch:
    """A batch that may be trusted, and what belongs to each of its frames.

    Attributes:
        images: (N,H,W,3 or 4).
        mask: (1 or N,h,w), or None where there is none.
        originals: (M,H',W',C), or None.
        partners: per frame the index of its original, or None.
        no_original: why a frame has no original; None where no originals were given.
        upscaled: (N,H',W',3 or 4), or None.
    """

    images: Tensor
    mask: Tensor | None = None
    originals: Tensor | None = None
    partners: tuple[int | None, ...] = ()
    no_original: NoPartner | None = None
    upscaled: Tensor | None = None

    def mask_of(self, index: int) -> Tensor | None:
        """(h,w) of one frame."""
        return None if self.mask is None else self.mask[index if len(self.mask) > 1 else 0]

    def original_of(self, index: int) -> Tensor | None:
        """(H',W',C), or None where this frame has none."""
        partner = self.partners[index] if self.originals is not None else None
        return None if partner is None or self.originals is None else self.originals[partner]


def open_batch(
    images: Tensor,
    check_cancel: CheckCancel,
    *,
    mask: Tensor | None = None,
    original_image: Tensor | None = None,
    upscaled_image: Tensor | None = None,
) -> Batch:
    """Check a batch and all that comes with it, and lay the originals beside their frames.

    Raises:
        TypeError, ValueError: an input that cannot be meant; the message says what was expected and what came.
    """
    check_images(images, "image")
    # the mask's own frame count and values
    user_mask = frame_mask(mask, len(images))
    if upscaled_image is not None:
        check_images(upscaled_image, "upscaled_image")
        if len(upscaled_image) != len(images):
            raise ValueError(f"upscaled_image: expected {len(images)} frames as in image, got {len(upscaled_image)}")
        canvas_size(_size(images), 1.0, _size(upscaled_image))
    if original_image is not None:
        check_images(original_image, "original_image")
    named = {"image": images, "original_image": original_image, "upscaled_image": upscaled_image}
    for name, frames in named.items():
        if frames is not None:
            _refuse_non_finite(frames, name, check_cancel)
    if original_image is None:
        return Batch(images, user_mask, upscaled=upscaled_image)
    partners = tuple(match_frames(images, original_image))
    reason = no_partner(images, original_image)
    return Batch(images, user_mask, original_image, partners, reason, upscaled_image)


def _refuse_non_finite(frames: Tensor, name: str, check_cancel: Callable[[], None]) -> None:
    for index in range(len(frames)):
        check_cancel()
        refuse_non_finite(frames[index], f"{name}, frame {index}")


def _size(images: Tensor) -> tuple[int, int]:
    return int(images.shape[1]), int(images.shape[2])
