"""Pictures of any sizes through the pipeline, in order; what is wrong with one stays with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from ..restoration import OnCrops, Report


@dataclass
class PictureResult:
    """One restored picture, as a frame of ``restore_frames``: image (H,W,C), mask (H,W), or the error."""

    index: int
    image: Tensor | None = None
    mask: Tensor | None = None
    report: Report | None = None
    error: Exception | None = None


def restore_each(
    frames: Iterable[Callable[[], Tensor]],
    restorer: Any,
    detector: Any,
    *,
    mask: Iterable[Callable[[], Tensor | None]],
    original_image: Iterable[Callable[[], Tensor]] | None,
    upscaled_image: Iterable[Callable[[], Tensor | None]],
    on_progress: Callable[[int, int, Tensor | None], None],
    on_crops: OnCrops,
    **options: Any,
) -> Iterator[PictureResult]:
    """One result per callable, which gives (H,W,C) when its turn comes.

    Each picture is a call of ``restore_image``; ``restore_frames`` takes the same arguments.
    """
    from ..restoration import restore_image

    sides = (iter(mask), iter(upscaled_image), None if original_image is None else iter(original_image))
    for index, load in enumerate(frames):
        own_mask, enlarged, original = (None if side is None else next(side) for side in sides)
        try:
            result = restore_image(
                load()[None],
                restorer,
                detector,
                mask=_batch(own_mask),
                upscaled_image=_batch(enlarged),
                original_image=_batch(original),
                on_progress=on_progress,
                on_crops=lambda _, faces, crops, index=index: on_crops(index, faces, crops),
                **options,
            )
        except (ValueError, TypeError, OSError, RuntimeError, MemoryError, ImportError) as error:
            yield PictureResult(index, error=error)
        else:
            yield PictureResult(index, result.image[0], result.mask[0], result.report)


def _batch(load: Callable[[], Tensor | None] | None) -> Tensor | None:
    value = None if load is None else load()
    return None if value is None else value[None]
