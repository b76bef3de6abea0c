"""The pipeline: frames in, restored frames out, in order and in bounded memory, whatever the length.

::

    source -> find_faces -> crop -> restore_faces -> paste -> RestoredFrame
              per frame     |-- in full batches over the frames in flight --|

Stills, batches, folders, video and cluster jobs all run through :class:`FrameRun`. A frame stays in flight until all
of its faces are pasted; frames leave in the order in which they came. How many are in flight follows from their size.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from ..detectors import Detector
from ..faces import Faces
from ..models import Restorer
from .callbacks import CancelWatch, CheckCancel, FreeMemory, OnProgress, never_cancelled, no_progress
from .checks import check_crop_size
from .options import BlendOptions, DetectOptions, PasteOptions
from .progress import Progress
from .reporting.advice import advise
from .reporting.report import Report
from .running.fallback import FallbackStep, MemoryFallback
from .running.memory import frames_in_flight
from .running.restorer_traits import describe, warnings_of, working_device
from .source import Frames, Item, stream
from .stages.detecting import find_faces
from .stages.flight import Flight, Out, RestoredFrame
from .stages.restoring import FAILURES, restore_faces

OnCrops = Callable[[int, Faces, Tensor], None]
"""``on_crops(frame, faces, crops)``: crops (m,S,S,3) of a frame before they are restored, in the order of its faces."""


class _Job:
    """One face of a frame in flight."""

    def __init__(self, owner: Flight, k: int, side: int, on_crops: OnCrops | None) -> None:
        self.owner, self.k, self._side, self._on_crops = owner, k, side, on_crops
        self.report, self.device, self.frame_bytes = owner.report, owner.device, owner.frame_bytes

    def crop(self, device: torch.device) -> Tensor:
        crop = self.owner.crop(self.k, self._side, device)
        if self._on_crops is not None:
            self._on_crops(self.owner.index, self.owner.faces[[self.k]], crop[None])
        return crop


class FrameRun:
    """An iterator of :class:`RestoredFrame`; ``report`` tells what happened so far, and at the end everything.

    Args:
        items: the checked frames.
        total: how many there are; None where nobody knows.
        side: of the crops in pixels.
        out: gives the memory for results; None: new memory per frame.
    """

    def __init__(
        self,
        items: Generator[Item, None, None],
        restorer: Restorer,
        detector: Detector,
        detect: DetectOptions,
        blend: BlendOptions,
        paste: PasteOptions,
        *,
        side: int,
        total: int | None,
        check_cancel: CancelWatch,
        on_progress: OnProgress = no_progress,
        on_crops: OnCrops | None = None,
        free_memory: FreeMemory | None = None,
        fallbacks: Sequence[FallbackStep] = (),
        out: Out | None = None,
    ) -> None:
        self.report = Report(faces_found=0, faces_restored=0, faces_pasted=0)
        self._items, self._detector = items, detector
        self._detect, self._blend, self._paste = detect, blend, paste
        self._side, self._on_crops, self._out = side, on_crops, out
        self._check_cancel = check_cancel
        self._progress = Progress(on_progress, total)
        self._fallback = MemoryFallback(restorer, free_memory, fallbacks, check_cancel)
        self._largest = 0.0, 1.0  # size of the largest face in the photo, and how much its canvas is enlarged
        self._device = torch.device("cpu")  # of the last frame
        self._in_flight: deque[Flight] = deque()
        self._results = self._run()

    def __iter__(self) -> FrameRun:
        return self

    def __next__(self) -> RestoredFrame:
        return next(self._results)

    def close(self) -> None:
        """Let go of all frames in flight; the source is not read any further."""
        self._results.close()
        self._items.close()
        self._in_flight.clear()

    def _run(self) -> Generator[RestoredFrame, None, None]:
        for restored in restore_faces(self._jobs(), self._fallback, self._blend, self._check_cancel):
            if restored is not None:
                self._take(restored.job, restored.face, restored.error)
            yield from self._finished()
        yield from self._finished()
        self._describe(self.report, self._device)
        advise(self.report, *self._largest, self._fallback.restorer, self._detect.template, self._blend.fidelity)
        self._progress.end()

    def _jobs(self) -> Iterator[_Job | None]:
        """The faces of all frames, in order; None where the frames in flight must be finished first."""
        for item in self._items:
            flight = self._enter(item)
            self._in_flight.append(flight)
            yield from (_Job(flight, k, self._side, self._on_crops) for k in range(flight.waiting))
            nobody_waits = not any(flight.waiting for flight in self._in_flight)
            if nobody_waits or len(self._in_flight) >= self._limit(flight):
                yield None

    def _limit(self, flight: Flight) -> int:
        return frames_in_flight(flight.frame_bytes, working_device(self._fallback.restorer, flight.device))

    def _enter(self, item: Item) -> Flight:
        """Look for the faces of a frame."""
        report, faces, error = Report(frames=1, faces_found=0), None, item.error
        frame = torch.zeros(1, 1, 3, dtype=torch.float32, device="cpu") if item.frame is None else item.frame
        if error is None:
            try:
                faces = find_faces(
                    frame, self._detector, self._detect, report, self._check_cancel,
                    mask=item.mask, original=item.original, no_original=item.no_original,
                )  # fmt: skip
            except FAILURES as failure:
                self._check_cancel.pass_on(failure)
                error = failure
        faces = Faces.empty((int(frame.shape[0]), int(frame.shape[1]))) if faces is None else faces
        size = (int(frame.shape[0]), int(frame.shape[1])) if error is not None else item.size
        flight = Flight(
            item.index, frame, faces, report,
            mask=item.mask, upscaled=item.upscaled, size=size, paste=self._paste, out=self._out,
        )  # fmt: skip
        flight.error = error
        self._device = flight.device
        self._progress.detected(flight.waiting)
        return flight

    def _take(self, job: _Job, face: Tensor | None, error: Exception | None) -> None:
        """Paste one restored face into its frame."""
        flight = job.owner
        flight.waiting -= 1
        if error is not None or face is None:
            flight.error = flight.error or error
        elif flight.error is None:
            flight.paste(job.k, face)
        if not flight.waiting:
            flight.finish()
        self._progress.restored(len(flight.faces), face)

    def _finished(self) -> Iterator[RestoredFrame]:
        """The frames at the head of the queue that nothing waits for any more."""
        while self._in_flight and not self._in_flight[0].waiting:
            flight = self._in_flight.popleft()
            result = flight.result()
            self._complete(flight)
            self.report.add_frame(flight.report, flight.index)
            yield result

    def _complete(self, flight: Flight) -> None:
        """What is known of a frame only when it is done."""
        report, restorer = flight.report, self._fallback.restorer
        done = len(flight.faces) if flight.error is None else 0
        report.faces_restored = report.faces_pasted = done
        if done:
            report.note_faces(flight.faces, "restored")
        self._describe(report, flight.device)
        enlarged = flight.size[0] / flight.faces.image_size[0]
        largest = float(flight.faces.sizes.max()) if done else 0.0
        advise(report, largest, enlarged, restorer, self._detect.template, self._blend.fidelity)
        if largest * enlarged > self._largest[0] * self._largest[1]:
            self._largest = largest, enlarged

    def _describe(self, report: Report, device: torch.device) -> None:
        restorer = self._fallback.restorer
        report.model = describe(restorer, device)
        for sentence in warnings_of(restorer):
            report.warn("model", text=sentence)


def restore_frames(
    frames: Frames,
    restorer: Restorer,
    detector: Detector,
    *,
    threshold: float = 0.6,
    select: str = "all",
    order: str = "large-small",
    min_face_px: float = 16,
    template: str = "gpen",
    fidelity: float = 0.2,
    blend_mode: str = "linear",
    color_match: str = "none",
    feather: float = 0.1,
    mask_shape: str = "face",
    scale: float = 1.0,
    crop_size: int | str = "auto",
    mask: Any = None,
    original_image: Frames | None = None,
    upscaled_image: Frames | None = None,
    on_progress: OnProgress = no_progress,
    check_cancel: CheckCancel = never_cancelled,
    free_memory: FreeMemory | None = None,
    fallbacks: Sequence[FallbackStep] = (),
    on_crops: OnCrops | None = None,
) -> FrameRun:
    """Restore the faces of any number of frames of any sizes.

    Args:
        frames: tensors (H,W,3 or 4) float in 0…1, or callables that return one, called when its turn comes. What a
            callable, an item or the iterator itself raises becomes the ``error`` of that frame.
        restorer: from :func:`load_gpen`, or any object with ``config.in_size``, ``config.out_size`` and ``restore``.
        detector: from :func:`load_detector`.
        threshold, select, order, min_face_px, template: see :class:`DetectOptions`.
        fidelity, blend_mode, color_match: see :class:`BlendOptions`.
        feather, mask_shape, scale: see :class:`PasteOptions`.
        crop_size: side of the crops in pixels; "auto" is the model's own input size.
        mask: one mask (h,w) or (1,h,w) for all frames, or one per frame: a tensor (N,h,w) or an iterable of (h,w). It
            selects faces by their centre, and multiplies what is pasted.
        original_image: the frames before a swap, one per frame; only faces that differ are restored. A frame whose
            original is None is left untouched and named in the report.
        upscaled_image: enlarged versions of the frames to paste onto, one per frame.
        fallbacks: other ways to run the model where memory does not suffice for one face.
        on_crops: sees every crop before it is restored.

    Returns:
        An iterator of :class:`RestoredFrame` in the order of the frames, with a ``report``.

    Raises:
        TypeError, ValueError: an option that cannot be meant; the message says what was expected and what came.
    """
    detect = DetectOptions(threshold, select, order, min_face_px, template)
    blend = BlendOptions(fidelity, blend_mode, color_match)
    paste = PasteOptions(feather, mask_shape, scale)
    side = check_crop_size(crop_size) or restorer.config.in_size
    watch = CancelWatch(check_cancel)
    items = stream(frames, watch, scale=scale, mask=mask, original_image=original_image, upscaled_image=upscaled_image)
    total = len(frames) if hasattr(frames, "__len__") else None  # type: ignore[arg-type]
    return FrameRun(
        items, restorer, detector, detect, blend, paste,
        side=side, total=total, check_cancel=watch, on_progress=on_progress, on_crops=on_crops,
        free_memory=free_memory, fallbacks=fallbacks,
    )  # fmt: skip
