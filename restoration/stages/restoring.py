"""Second stage: crops through the network in full batches, whatever frames they come from, then colour and blend."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from ...faces.compose.blend import blend_batch
from ...faces.compose.color import match_colors
from ...models import Restorer
from ..callbacks import CancelWatch, CheckCancel, FreeMemory, OnProgress, never_cancelled, no_progress
from ..checks import check_images, refuse_non_finite
from ..options import BlendOptions
from ..reporting.report import Report
from ..running.fallback import FallbackStep, MemoryFallback
from ..running.restorer_traits import OnNotice, describe, warnings_of, working_device

# what can go wrong with one frame and leaves its neighbours alone; anything else is a bug of ours
FAILURES = (ValueError, OSError, RuntimeError, MemoryError)


class FaceJob(Protocol):
    """One face on its way through the network.

    Attributes:
        owner: its frame; faces of one owner share their failures.
        report: takes the face's share of the time and the notices of its batch.
        device: where the frame lies before it is uploaded.
        frame_bytes: what its frame holds on the working device.
    """

    report: Report

    @property
    def owner(self) -> Any: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def frame_bytes(self) -> int: ...
    def crop(self, device: torch.device) -> Tensor:
        """(S,S,3) float32 on the working device; all jobs of a run give the same S."""
        ...


class RestoredFace(NamedTuple):
    """A job and its restored face (S,S,3) float32 on the working device, or why there is none."""

    job: Any
    face: Tensor | None
    error: Exception | None


class Restored(NamedTuple):
    """restored (M,S,S,3) float32 in 0…1, S the model's output size; what happened."""

    restored: Tensor
    report: Report


def restore_faces(
    jobs: Iterable[FaceJob | None], fallback: MemoryFallback, options: BlendOptions, check_cancel: CancelWatch
) -> Iterator[RestoredFace | None]:
    """Restored faces in the order of their jobs; a batch runs as soon as it is full.

    Args:
        jobs: None asks for everything that waits to run now; it comes out again behind those faces.
    """
    waiting: list[FaceJob] = []
    for job in jobs:
        if job is not None:
            waiting.append(job)
        while waiting and (job is None or len(waiting) >= fallback.batch_size):
            yield from _next_batch(waiting, fallback, options, check_cancel)
        if job is None:
            yield None
    while waiting:
        yield from _next_batch(waiting, fallback, options, check_cancel)


def _next_batch(
    waiting: list[FaceJob], fallback: MemoryFallback, options: BlendOptions, check_cancel: CancelWatch
) -> Iterator[RestoredFace]:
    """Take the first faces off ``waiting``, as many as go through at once."""
    batch = waiting[: fallback.batch_size]
    del waiting[: len(batch)]
    check_cancel()
    try:
        with _SharedTime(batch, "restore"):
            frames = len({id(job.report) for job in batch})
            fallback.prepare(len(batch), _notices(batch), max(job.frame_bytes for job in batch) * frames)
        device = working_device(fallback.restorer, batch[0].device)
    except FAILURES as error:
        check_cancel.pass_on(error)
        yield from (RestoredFace(job, None, error) for job in batch)
        return
    cropped: list[FaceJob] = []
    crops: list[Tensor] = []
    for job in batch:
        try:
            with _SharedTime([job], "crop"):
                crops.append(job.crop(device))
            cropped.append(job)
        except FAILURES as error:
            check_cancel.pass_on(error)
            yield RestoredFace(job, None, error)
    if cropped:
        yield from _restore(cropped, torch.stack(crops), fallback, options, check_cancel)


def _restore(
    batch: Sequence[FaceJob], crops: Tensor, fallback: MemoryFallback, options: BlendOptions, check_cancel: CancelWatch
) -> Iterator[RestoredFace]:
    """Restored, colour-matched and blended faces of crops (B,S,S,3)."""
    try:
        with _SharedTime(batch, "restore"):
            restored = fallback.restore(crops, _notices(batch))
        with _SharedTime(batch, "blend"), torch.no_grad():
            restored = match_colors(restored, crops, options.color_match)
            faces = blend_batch(crops, restored, float(options.fidelity), options.blend_mode)
    except FAILURES as error:
        check_cancel.pass_on(error)
        owners = list(dict.fromkeys(job.owner for job in batch))
        if len(owners) == 1:
            yield from (RestoredFace(job, None, error) for job in batch)
            return
        for owner in owners:  # which of the frames it was shows when each goes alone
            own = [index for index, job in enumerate(batch) if job.owner == owner]
            yield from _restore([batch[index] for index in own], crops[own], fallback, options, check_cancel)
        return
    for job, face in zip(batch, faces, strict=True):
        yield RestoredFace(job, face, None)


def _notices(batch: Sequence[FaceJob]) -> OnNotice:
    """What happens to a batch goes into the reports of its frames."""
    reports = list({id(job.report): job.report for job in batch}.values())

    def on_notice(kind: str, values: dict[str, Any]) -> None:
        for report in reports:
            report.warn(kind, **values)

    return on_notice


class _SharedTime:
    """A timer whose wall time is shared out evenly among the faces of a batch."""

    def __init__(self, batch: Sequence[FaceJob], stage: str) -> None:
        self._batch, self._stage = batch, stage

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        share = (time.perf_counter() - self._start) * 1000 / len(self._batch)
        for job in self._batch:
            job.report.add_time(self._stage, share)


class _CropJob:
    """A crop that came ready made."""

    frame_bytes = 0

    def __init__(self, crop: Tensor, index: int, report: Report) -> None:
        self.index, self.report, self.device = index, report, crop.device
        self._crop = crop

    @property
    def owner(self) -> int:
        return self.index

    def crop(self, device: torch.device) -> Tensor:
        return self._crop[..., :3].to(device, torch.float32)


def restore_crops(
    crops: Tensor,
    restorer: Restorer,
    *,
    fidelity: float = 0.2,
    blend_mode: str = "linear",
    color_match: str = "none",
    on_progress: OnProgress = no_progress,
    check_cancel: CheckCancel = never_cancelled,
    free_memory: FreeMemory | None = None,
    fallbacks: Sequence[FallbackStep] = (),
) -> Restored:
    """Restore aligned crops, in batches of the restorer's size.

    Args:
        crops: (M,h,w,3 or 4) float in 0…1, of any size; alpha is ignored. A black crop is what detection gives
            where there is no face: it is passed on black, and the report says so.
        restorer: from :func:`load_gpen`.
        fidelity, blend_mode, color_match: see :class:`BlendOptions`.
        fallbacks: other ways to run the model where memory does not suffice for one face.

    Returns:
        restored (M,S,S,3) on the crops' device, S the model's output size; a report.

    Raises:
        TypeError, ValueError: an input that cannot be meant.
        OutOfMemoryError: not even one face fits.
    """
    options = BlendOptions(fidelity, blend_mode, color_match)
    check_images(crops, "crops")
    report = Report(frames=len(crops), faces_restored=0)
    jobs = []
    for index in range(len(crops)):
        refuse_non_finite(crops[index], f"crops, crop {index}")
        if crops[index, :, :, :3].any():
            jobs.append(_CropJob(crops[index], index, report))
        else:
            report.warn("black_crop", crop=index)
    size = restorer.config.out_size
    restored = crops.new_zeros((len(crops), size, size, 3), dtype=torch.float32)
    watch = CancelWatch(check_cancel)
    fallback = MemoryFallback(restorer, free_memory, fallbacks, watch)
    for done, result in enumerate(restore_faces(jobs, fallback, options, watch), start=1):
        assert result is not None  # no job asked for a flush
        if result.face is None:
            raise result.error or RuntimeError(f"crop {result.job.index} was not restored")
        restored[result.job.index] = result.face
        on_progress(done, len(jobs), restored[result.job.index])
    report.faces_restored = len(jobs)
    report.model = describe(fallback.restorer, crops.device)
    for sentence in warnings_of(fallback.restorer):
        report.warn("model", text=sentence)
    return Restored(restored, report)
