"""Pictures from file to file: read, restored, written whole or not at all, a row of the report for each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from .aligned import restore_aligned
from .atomic import refuse_protected
from .job import PictureJob
from .options import Networks, OnProgress, RestoreOptions
from .photo import Photo
from .row import Row, sentence_of

if TYPE_CHECKING:
    from torch import Tensor

    from ..detectors import Detector


def restore_pictures(
    jobs: Iterable[PictureJob],
    networks: Networks,
    options: RestoreOptions,
    on_progress: OnProgress = lambda pictures: None,
) -> Iterator[Row]:
    """A row per job, in their order; a picture that fails does not stop the rest.

    Every file that is written is whole, and the output of a job is written last. Jobs are taken as they are needed, and
    few pictures are in memory at once.
    """
    if networks.detector is None:
        for before, job in enumerate(jobs):
            yield _begun(job, options) or restore_aligned(job, networks, options, on_progress, before)
        return
    done = 0
    # an original of None would mean that a picture has lost its partner
    for swapped, group in groupby(jobs, key=lambda job: job.original_image is not None):
        for row in _restore_photos(group, networks, networks.detector, options, on_progress, swapped, done):
            yield row
            done += 1


def _begun(job: PictureJob, options: RestoreOptions) -> Row | None:
    """The row of a job that is over before it begins: its output is there, or may not be written."""
    row = Row.of(job)
    if options.skip_existing and job.output.exists():
        row.skipped = True
        return row
    try:
        for path in job.outputs():
            refuse_protected(path)
    except OSError as error:
        row.error = sentence_of(error, job.source)
        return row
    return None


def _restore_photos(
    jobs: Iterable[PictureJob],
    networks: Networks,
    detector: Detector,
    options: RestoreOptions,
    on_progress: OnProgress,
    swapped: bool,
    before: int,
) -> Iterator[Row]:
    waiting: deque[Photo | Row] = deque()
    entered: dict[int, Photo] = {}
    photos = 0
    # a queue for each side input that is read; itertools.tee would keep dozens of pictures
    masks, originals, enlargements = deque[Photo](), deque[Photo](), deque[Photo]()
    queues = (masks, enlargements, originals) if swapped else (masks, enlargements)

    def frames() -> Iterator[Callable[[], Tensor]]:
        nonlocal photos
        for job in jobs:
            waiting.append(_begun(job, options) or Photo(job, options))
            if isinstance(photo := waiting[-1], Photo):
                entered[photos] = photo
                photos += 1
                for queue in queues:
                    queue.append(photo)
                yield photo.load

    from ..restoration import restore_frames  # torch is loaded when the work begins

    def progress(done: int, total: int, _: object) -> None:
        """Of what has entered so far."""
        on_progress(before + photos * done / max(total, 1))

    results = restore_frames(
        frames(),
        networks.restorer,
        detector,
        mask=(photo.mask for photo in _taken(masks)),
        original_image=(photo.original for photo in _taken(originals)) if swapped else None,
        upscaled_image=(photo.upscaled for photo in _taken(enlargements)),
        template=options.template or networks.template,
        on_progress=progress,
        on_crops=lambda index, faces, crops: entered[index].add_crops(faces, crops),
        **options.core(),
    )
    for result in results:
        while isinstance(waiting[0], Row):
            yield waiting.popleft()  # type: ignore[misc] # just looked at
        photo = waiting.popleft()
        assert isinstance(photo, Photo)
        del entered[result.index]
        yield photo.finish(result)
    yield from (entry for entry in waiting if isinstance(entry, Row))


def _taken(queue: deque[Photo]) -> Iterator[Photo]:
    """The photos as they enter; a frame is always asked for before what belongs to it."""
    while queue:
        yield queue.popleft()
