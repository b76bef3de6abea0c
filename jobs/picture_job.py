"""Pictures from file to file: read, restored, written whole or not at all, a row of the report for each."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import count, groupby, tee

from .aligned import restore_aligned
from .atomic import refuse_protected
from .frames import restore_each
from .job import PictureJob
from .options import Networks, OnProgress, RestoreOptions
from .photo import Photo
from .row import Row, sentence_of


def restore_pictures(
    jobs: Iterable[PictureJob],
    networks: Networks,
    options: RestoreOptions,
    on_progress: OnProgress = lambda done, total, preview: None,
) -> Iterator[Row]:
    """A row per job, in their order; a picture that fails does not stop the rest.

    Every file that is written is whole, and the output of a job is written last. Jobs are taken as they are needed, and
    few pictures are in memory at once.

    Args:
        on_progress: as in ``restore_image``; between two rows it is about the picture that is worked on.
    """
    if networks.detector is None:
        for job in jobs:
            yield _begun(job, options) or restore_aligned(job, networks, options, on_progress)
        return
    # an original of None would mean that a picture has lost its partner
    for swapped, group in groupby(jobs, key=lambda job: job.original_image is not None):
        yield from _restore_photos(group, networks, options, on_progress, swapped)


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
    jobs: Iterable[PictureJob], networks: Networks, options: RestoreOptions, on_progress: OnProgress, swapped: bool
) -> Iterator[Row]:
    waiting: deque[Photo | Row] = deque()
    entered: dict[int, Photo] = {}
    numbers = count()

    def photos() -> Iterator[Photo]:
        for job in jobs:
            waiting.append(_begun(job, options) or Photo(job, options))
            if isinstance(photo := waiting[-1], Photo):
                entered[next(numbers)] = photo
                yield photo

    # one for each that is really read: tee keeps what the slowest has not seen
    frames, masks, enlargements, *originals = tee(photos(), 4 if swapped else 3)
    results = restore_each(
        (photo.load for photo in frames),
        networks.restorer,
        networks.detector,
        mask=(photo.mask for photo in masks),
        original_image=(photo.original for photo in originals[0]) if swapped else None,
        upscaled_image=(photo.upscaled for photo in enlargements),
        template=options.template or networks.template,
        on_progress=on_progress,
        on_crops=lambda index, faces, crops: entered[index].add_crops(faces, crops),
        **options.core(),
    )
    for result in results:
        while isinstance(waiting[0], Row):
            yield waiting.popleft()  # type: ignore[misc] # just looked at
        photo = waiting.popleft()
        assert isinstance(photo, Photo)
        del entered[result.index]  # lets go of its pixels
        yield photo.finish(result)
    yield from (entry for entry in waiting if isinstance(entry, Row))
