"""The faces of a batch of frames: positions and alignment, no pixels."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .geometry.alignment import alignable, apply_affine, face_matrices
from .geometry.templates import template_points

# the part of the unit square that a detector's box covers: brows to chin, ear to ear
_HEAD = torch.tensor([[0.25, 0.25], [0.75, 0.25], [0.75, 0.9], [0.25, 0.9]], dtype=torch.float64, device="cpu")


@dataclass(frozen=True, eq=False)
class Faces:
    """Aligned faces of ``frame_count`` frames of one size: all that pasting a restored crop needs.

    Convention: photo coordinates are (x, y) in pixels, continuous, origin at the top-left corner of the image (the
    centre of the pixel in column j, row i is (j + 0.5, i + 0.5)). A face's unit square is its aligned crop: (0, 0)
    the crop's top-left corner, (1, 1) the bottom-right one. All tensors are on the CPU.
    """

    landmarks: Tensor  # (M, 5, 2) float64: left eye, right eye, nose, left and right mouth corner, photo coordinates
    frame_indices: Tensor  # (M,) int64
    boxes: Tensor  # (M, 4) float64: x0, y0, x1, y1
    scores: Tensor  # (M,) float64, 0 … 1
    matrices: Tensor  # (M, 2, 3) float64: unit square -> photo
    image_size: tuple[int, int]  # height, width
    frame_count: int
    template: str = "gpen"
    dropped: int = 0  # number of degenerate detections that were left out
    detector: str = ""
    frame_count_inferred: bool = False  # frame_count is a lower bound, taken from frame_indices

    def __len__(self) -> int:
        return self.landmarks.shape[0]

    @property
    def sizes(self) -> Tensor:
        """(M,) float64: the side of each aligned square in pixels of the photo."""
        return torch.linalg.det(self.matrices[:, :, :2]).abs().sqrt()

    @property
    def centers(self) -> Tensor:
        """(M, 2) float64: the centre of each aligned square in photo coordinates."""
        return self.matrices[:, :, :2].sum(-1) / 2 + self.matrices[:, :, 2]

    def __getitem__(self, index: int | slice | Sequence[int] | Sequence[bool] | Tensor) -> Faces:
        """Subset of the faces in the order of the indexes, or by a bool mask; frame count and size are unchanged."""
        if isinstance(index, int):
            if not -len(self) <= index < len(self):  # also ends a for loop over the faces
                raise IndexError(f"expected the index of one of {len(self)} faces, got {index}")
            index = [index]
        chosen: slice | Tensor
        if isinstance(index, slice):
            chosen = index
        else:
            chosen = torch.as_tensor(index, device="cpu")
            chosen = chosen if chosen.dtype == torch.bool else chosen.to(torch.int64).reshape(-1)
        parts = ("landmarks", "frame_indices", "boxes", "scores", "matrices")
        return replace(self, **{name: getattr(self, name)[chosen] for name in parts})

    def of_frame(self, frame: int) -> Faces:
        """The faces of one frame, in their order."""
        return self[self.frame_indices == frame]

    def scaled_to(self, image_size: tuple[int, int]) -> Faces:
        """The same faces for the same frames resized to (height, width).

        Raises:
            ValueError: another aspect ratio, beyond rounding by one pixel per side.
        """
        size = (int(image_size[0]), int(image_size[1]))
        if size == self.image_size:
            return self
        (h0, w0), (h1, w1) = self.image_size, size
        # one scale factor must bring both sides to within a pixel
        if min(h1, w1) < 1 or max((w1 - 1) / w0, (h1 - 1) / h0) > min((w1 + 1) / w0, (h1 + 1) / h0):
            raise ValueError(
                f"expected an image of {w0}×{h0} pixels, or of another size with the same aspect ratio, got {w1}×{h1}: "
                "give the image in which the faces were detected, or a resized, not a cropped, version of it"
            )
        factor = torch.tensor([w1 / w0, h1 / h0], dtype=torch.float64, device="cpu")
        return replace(
            self,
            landmarks=self.landmarks * factor,
            boxes=self.boxes * factor.repeat(2),
            matrices=self.matrices * factor[:, None],
            image_size=size,
        )

    def matched_to(self, images: Tensor) -> Faces:
        """The faces in the coordinates of ``images`` (N, H, W, C): the same frames at any scale.

        Raises:
            ValueError: not an image batch, another number of frames, or another aspect ratio.
        """
        if images.ndim != 4 or images.shape[-1] not in (3, 4) or images.numel() == 0:
            raise ValueError(f"expected images (N, H, W, 3 or 4), at least one, got {tuple(images.shape)}")
        count = images.shape[0]
        if count != self.frame_count and not (self.frame_count_inferred and count > self.frame_count):
            raise ValueError(
                f"expected {self.frame_count} frame(s), those in which the faces were detected, got {count}: "
                "give the same batch in the same order"
            )
        return self.scaled_to((images.shape[1], images.shape[2]))

    @classmethod
    def concatenate(cls, parts: Sequence[Faces]) -> Faces:
        """Concatenate the faces of consecutive runs of frames into those of one batch; frame indices are shifted.

        Args:
            parts: at least one; all of one image size and one template.

        Raises:
            ValueError: nothing to concatenate, or parts of different sizes or templates.
        """
        kinds = {(part.image_size, part.template) for part in parts}
        if len(kinds) != 1:
            raise ValueError(f"expected faces of frames of one size and template, got {sorted(kinds)}")
        starts = [0, *itertools.accumulate(part.frame_count for part in parts)]
        shifted = [part.frame_indices + start for part, start in zip(parts, starts, strict=False)]
        names = ("landmarks", "boxes", "scores", "matrices")
        return replace(
            parts[0],
            **{name: torch.cat([getattr(part, name) for part in parts]) for name in names},
            frame_indices=torch.cat(shifted),
            frame_count=starts[-1],
            dropped=sum(part.dropped for part in parts),
        )

    @classmethod
    def empty(cls, image_size: tuple[int, int], frame_count: int = 1, template: str = "gpen") -> Faces:
        """A collection without faces, for ``frame_count`` frames of (height, width)."""
        none = torch.zeros(0, 5, 2, dtype=torch.float64, device="cpu")
        return cls.from_landmarks(none, [], image_size, template, frame_count=frame_count)

    @classmethod
    def from_landmarks(
        cls,
        landmarks: Any,
        frame_indices: Any,
        image_size: tuple[int, int],
        template: str = "gpen",
        *,
        boxes: Any = None,
        scores: Any = None,
        frame_count: int | None = None,
    ) -> Faces:
        """Align faces by their five landmarks.

        Args:
            landmarks: (M, 5, 2) photo coordinates (x, y), torch or numpy: left eye, right eye, nose, left and right
                mouth corner, where left and right are those of the picture.
            frame_indices: (M,) index of each face's frame in the batch.
            image_size: (height, width) of the frames in pixels.
            template: a name of :data:`TEMPLATES`.
            boxes: (M, 4) x0, y0, x1, y1; None: bounding boxes of the aligned heads.
            scores: (M,) confidences; None: 1.
            frame_count: number of frames; None: a lower bound, taken from ``frame_indices``.

        Raises:
            ValueError: wrong shapes, an unknown template, an index outside the frames, or landmarks that cannot be
                aligned (not finite, coincident, on one line).
        """
        points = _tensor(landmarks, torch.float64)
        if points.numel() == 0:
            points = points.reshape(0, 5, 2)
        count = points.shape[0]
        if points.ndim != 3 or points.shape[1:] != (5, 2):
            raise ValueError(f"expected landmarks (M, 5, 2), five (x, y) points per face, got {tuple(points.shape)}")
        frames = _checked(frame_indices, torch.int64, (count,), "frame_indices")
        height, width = int(image_size[0]), int(image_size[1])
        if height < 1 or width < 1:
            raise ValueError(f"expected image_size (height, width) of at least one pixel, got {tuple(image_size)}")
        least = int(frames.max()) + 1 if count else 0
        if (count and int(frames.min()) < 0) or (frame_count is not None and least > frame_count):
            raise ValueError(f"expected frame indices in 0 … {frame_count or least} - 1, got {frames.tolist()}")
        target = template_points(template)
        bad = (~alignable(points, target)).nonzero().flatten().tolist()
        if bad:
            raise ValueError(
                f"the landmarks of face {bad[0]} cannot be aligned: they are not finite, coincide, lie on one line "
                f"or do not look like a face: {points[bad[0]].tolist()}; drop this detection"
            )
        matrices = face_matrices(points, target)
        if boxes is None:
            heads = apply_affine(matrices, _HEAD)
            boxes = torch.cat((heads.amin(1), heads.amax(1)), 1)
        return cls(
            landmarks=points,
            frame_indices=frames,
            boxes=_checked(boxes, torch.float64, (count, 4), "boxes"),
            scores=_checked([1.0] * count if scores is None else scores, torch.float64, (count,), "scores"),
            matrices=matrices,
            image_size=(height, width),
            frame_count=max(least, 1) if frame_count is None else int(frame_count),
            template=template,
            frame_count_inferred=frame_count is None,
        )


def _tensor(values: Any, dtype: torch.dtype) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach().to("cpu", dtype, copy=True)
    # with the dtype given here: lists keep float64 precision
    return torch.as_tensor(values, dtype=dtype, device="cpu").clone()


def _checked(values: Any, dtype: torch.dtype, shape: tuple[int, ...], name: str) -> Tensor:
    tensor = _tensor(values, dtype)
    if tensor.numel() == 0 and 0 in shape:
        return tensor.reshape(shape)
    if tensor.shape != shape:
        raise ValueError(f"expected {name} {shape}, got {tuple(tensor.shape)}")
    return tensor
