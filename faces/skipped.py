"""Records of detected faces that were skipped, with the reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .collection import Faces

#: kind -> end of the sentence in the report; the placeholders are the record's ``values``
REASONS = {
    "too_small": "its size of {size:.1f} px is below min_face_px {least:g}",
    "outside_mask": "its centre lies outside the mask",
    "not_selected": "face {number} ({order}) is not among select {select}",
    "no_such_face": "select asks for face {missing}, but its faces are 0 to {last}",
    "no_face_to_select": "select asks for face {missing}, but none is left after the filters",
    "unchanged": "not changed by the swap",
    "outside_picture": "it lies outside the picture",
    "no_original_count": "no original for this frame (original_image has {originals} frames, the image {images}): "
    "left untouched",
    "no_original_size": "no original for this frame (original_image is {original_size}, the image {image_size}): "
    "left untouched",
    "no_original": "no original for this frame: left untouched",
}


@dataclass(frozen=True)
class Skipped:
    """One skipped face, or a remark about a whole frame (then ``box`` and ``size`` are None).

    Attributes:
        kind: a key of ``REASONS``.
        frame: index in the batch.
        box: x0, y0, x1, y1 in photo coordinates.
        size: side of the aligned square in pixels of the photo.
        score: the detector's confidence.
        number: the index of this face in ``select``; None if a filter removed it before counting.
        values: the numbers in the sentence.
    """

    kind: str
    frame: int
    box: tuple[float, float, float, float] | None = None
    size: float | None = None
    score: float | None = None
    number: int | None = None
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """The record as text, for a report."""
        return REASONS[self.kind].format(**{"size": self.size, "number": self.number, **self.values})


def skip_faces(
    faces: Faces, indexes: Iterable[int], kind: str, number: int | None = None, **values: Any
) -> list[Skipped]:
    """One record of ``kind`` per face in ``indexes``."""
    records = []
    for index in indexes:
        x0, y0, x1, y1 = faces.boxes[index].tolist()
        frame, size, score = int(faces.frame_indices[index]), float(faces.sizes[index]), float(faces.scores[index])
        records.append(Skipped(kind, frame, (x0, y0, x1, y1), size, score, number, values))
    return records
