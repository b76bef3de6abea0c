"""Faces of a batch of frames: where each lies and how it is aligned; no pixels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .alignment import fit_similarity, invert_similarity
from .templates import template_points


@dataclass(frozen=True)
class Faces:
    """M faces over ``frame_count`` frames of one size.

    Convention: photo coordinates are (x, y) in pixels, continuous, the origin at the image's top left corner, so the
    centre of column j, row i is (j + 0.5, i + 0.5). ``matrices`` map the unit square of the aligned face to the photo:
    ``[x, y] = A[:, :2] @ [u, v] + A[:, 2]``. All tensors are on the CPU.

    Attributes:
        landmarks: (M,5,2) float64: left and right eye, nose, left and right mouth corner, as the viewer sees them.
        frame_indices: (M,) int64.
        boxes: (M,4) float64: x0, y0, x1, y1.
        scores: (M,) float64 in 0…1.
        matrices: (M,2,3) float64.
        image_size: (height, width) of the frames.
        frame_count: frames in the batch, those without a face included.
        template: the alignment, "gpen" or "ffhq".
        dropped: degenerate detections that were thrown away.
        detector: what found them.
    """

    landmarks: torch.Tensor
    frame_indices: torch.Tensor
    boxes: torch.Tensor
    scores: torch.Tensor
    matrices: torch.Tensor
    image_size: tuple[int, int]
    frame_count: int
    template: str = "gpen"
    dropped: int = 0
    detector: str = ""

    @classmethod
    def from_landmarks(
        cls,
        landmarks: torch.Tensor | np.ndarray,
        frame_indices: torch.Tensor | np.ndarray | Sequence[int],
        image_size: tuple[int, int],
        template: str = "gpen",
        *,
        boxes: torch.Tensor | np.ndarray | None = None,
        scores: torch.Tensor | np.ndarray | None = None,
        frame_count: int | None = None,
    ) -> Faces:
        """Align faces by their landmarks.

        Args:
            landmarks: (M,5,2) in pixels of the photo.
            frame_indices: (M,).
            image_size: (height, width).
            boxes: (M,4); by default what encloses the aligned square.
            scores: (M,); by default 1.
            frame_count: by default the highest index plus one, at least 1.

        Raises:
            ValueError: shapes that do not fit, an index outside the batch, degenerate landmarks, no such template.
        """
        points = torch.as_tensor(landmarks).detach().to("cpu", torch.float64)
        frames = torch.as_tensor(frame_indices).detach().to("cpu", torch.int64).reshape(-1)
        template_uv = template_points(template)
        if points.numel() == 0:
            points = points.reshape(0, 5, 2)
        if points.dim() != 3 or points.shape[1:] != (5, 2):
            raise ValueError(f"landmarks: expected (M,5,2), got {tuple(points.shape)}")
        count = len(points)
        if len(frames) != count:
            raise ValueError(f"frame_indices: expected {count}, one a face, got {len(frames)}")
        total = frame_count if frame_count is not None else max(1, int(frames.max()) + 1 if count else 1)
        if count and not 0 <= int(frames.min()) <= int(frames.max()) < total:
            raise ValueError(f"frame_indices: expected 0 to {total - 1}, got {int(frames.min())} to {int(frames.max())}")
        # fitted from the photo to the template, as the authors do; the other way round shows a turned face smaller
        matrices = invert_similarity(fit_similarity(points, template_uv)) if count else points.new_zeros(0, 2, 3)
        given_boxes = _enclosing(matrices) if boxes is None else torch.as_tensor(boxes).detach()
        given_scores = torch.ones(count) if scores is None else torch.as_tensor(scores).detach()
        return cls(
            landmarks=points,
            frame_indices=frames,
            boxes=given_boxes.to("cpu", torch.float64).reshape(count, 4),
            scores=given_scores.to("cpu", torch.float64).reshape(count),
            matrices=matrices,
            image_size=(int(image_size[0]), int(image_size[1])),
            frame_count=total,
            template=template,
        )

    @classmethod
    def empty(cls, image_size: tuple[int, int], frame_count: int = 1, template: str = "gpen") -> Faces:
        """No face in so many frames."""
        nothing = torch.zeros(0, 5, 2)
        return cls.from_landmarks(nothing, [], image_size, template, frame_count=frame_count)

    def __len__(self) -> int:
        return len(self.landmarks)

    def __getitem__(self, index: Any) -> Faces:
        """The faces that an index tensor, a boolean tensor, a slice or a list of indexes names, in that order."""
        picked = torch.arange(len(self))[torch.as_tensor(index) if isinstance(index, list) and index else index]
        picked = picked.reshape(-1)
        own = {name: getattr(self, name)[picked] for name in _PER_FACE}
        return dataclasses.replace(self, **own)

    @property
    def sizes(self) -> torch.Tensor:
        """(M,) sides of the aligned squares in pixels of the photo."""
        return torch.linalg.det(self.matrices[:, :, :2]).clamp(min=0).sqrt()

    @property
    def centers(self) -> torch.Tensor:
        """(M,2) centres of the aligned squares in photo coordinates."""
        return self.matrices[:, :, :2].sum(dim=2) / 2 + self.matrices[:, :, 2]

    def of_frame(self, frame: int) -> Faces:
        """The faces of one frame, in their order, still under that frame's index."""
        return self[self.frame_indices == frame]

    def scaled_to(self, size: tuple[int, int]) -> Faces:
        """The same faces on the same pictures resized to (height, width)."""
        if size == self.image_size:
            return self
        ratio = torch.tensor([size[1] / self.image_size[1], size[0] / self.image_size[0]], dtype=torch.float64)
        uniform = ratio.prod().sqrt()  # a similarity stays one where rounding moved a side by a pixel
        matrices = torch.cat((self.matrices[:, :, :2] * uniform, self.matrices[:, :, 2:] * ratio[None, :, None]), dim=2)
        return dataclasses.replace(
            self,
            landmarks=self.landmarks * ratio,
            boxes=self.boxes * ratio.repeat(2),
            matrices=matrices,
            image_size=(int(size[0]), int(size[1])),
        )


_PER_FACE = ("landmarks", "frame_indices", "boxes", "scores", "matrices")


def _enclosing(matrices: torch.Tensor) -> torch.Tensor:
    """(M,2,3) → (M,4): the boxes around the aligned squares."""
    corners = torch.tensor([[0, 1, 0, 1], [0, 0, 1, 1]], dtype=torch.float64)
    points = matrices[:, :, :2] @ corners + matrices[:, :, 2:]  # [M,2,4]
    return torch.cat((points.amin(dim=2), points.amax(dim=2)), dim=1)
