"""Blend weights of restored faces: soft shapes, evaluated at the pixels of the photo."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..collection import Faces
from ..geometry.alignment import apply_affine, invert_affine
from ..geometry.resizing import resize_planes
from ..geometry.upload import steps
from ..selection import frame_mask
from .outlines import ELLIPSE, Shape, face_shape

MASK_SHAPES = ("face", "ellipse", "box")
_SQUARE = torch.tensor([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=torch.float64, device="cpu")
Box = tuple[int, int, int, int]  # x0, y0, x1, y1 in whole pixels, x1 and y1 exclusive


def check_mask_shape(mask_shape: str) -> None:
    """Check the name of a mask shape.

    Raises:
        ValueError: no such shape.
    """
    if mask_shape not in MASK_SHAPES:
        raise ValueError(f"unknown mask_shape {mask_shape!r}: expected one of {', '.join(MASK_SHAPES)}")


@dataclass(frozen=True)
class FaceMask:
    """The weights of one restored face over the photo: 1 inside a shape, 0 outside, with a soft edge.

    ``box`` is the rectangle of photo pixels outside which all weights are 0, clipped to the photo; may be empty.
    """

    box: Box
    back: Tensor  # (2, 3) float64, photo -> unit square
    shape: Shape | None  # None: the unit square itself
    edge: float  # width of the soft edge in the unit square
    start: float  # the shape's radius where the weight starts to fall
    guarded: bool  # the shape extends beyond the unit square: its weights fade towards the square's border
    extent: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)  # u0, v0, u1, v1: all weights outside are 0

    @classmethod
    def of(cls, faces: Faces, k: int, feather: float = 0.1, mask_shape: str = "face") -> FaceMask:
        """The mask of face ``k``.

        Args:
            feather: width of the soft edge as a fraction of the aligned square's side, 0 … 0.5. It is centred on the
                outline of a ``face``, and inside the outline of an ``ellipse`` or a ``box``. At 0 the edge is one pixel
                of the photo wide: hard, but antialiased.
            mask_shape: one of :data:`MASK_SHAPES`.

        Raises:
            ValueError: an unknown shape, or a feather outside 0 … 0.5.
        """
        check_mask_shape(mask_shape)
        if not 0 <= feather <= 0.5:
            raise ValueError(f"feather must be a fraction of the face in 0 … 0.5, got {feather}")
        matrix = faces.matrices[k]
        back = invert_affine(matrix)
        (a, b, _), (c, d, _) = matrix.tolist()
        edge = max(float(feather), 1 / max(math.sqrt(abs(a * d - b * c)), 1.0))
        box = _bounds(apply_affine(matrix, _SQUARE), faces.image_size, 0)
        if mask_shape == "box":
            return cls(box, back, None, edge, 0.0, False)
        if mask_shape == "ellipse":
            return cls(box, back, ELLIPSE, edge, 1 - edge / ELLIPSE.reach, False)
        shape = face_shape(apply_affine(back, faces.landmarks[k]))
        half = edge / 2 / shape.reach
        outline = shape.outline(1 + half)
        # one pixel of margin, since the polygon is inside the curve
        inner = _bounds(apply_affine(matrix, outline), faces.image_size, 1)
        box = (max(box[0], inner[0]), max(box[1], inner[1]), min(box[2], inner[2]), min(box[3], inner[3]))
        (u0, v0), (u1, v1) = outline.amin(0).tolist(), outline.amax(0).tolist()
        guarded = min(u0, v0) < 0.005 or max(u1, v1) > 0.995
        extent = (max(0.0, u0 - 0.01), max(0.0, v0 - 0.01), min(1.0, u1 + 0.01), min(1.0, v1 + 0.01))
        return cls(box, back, shape, edge, 1 - half, guarded, extent)

    @property
    def empty(self) -> bool:
        """Whether the mask covers no pixel of the photo."""
        return self.box[0] >= self.box[2] or self.box[1] >= self.box[3]

    def weights(self, device: torch.device | str = "cpu") -> Tensor:
        """Weights of the pixels in ``box``: (y1-y0, x1-x0) float32 in 0 … 1, exactly 0 outside the unit square.

        Convention: sampled at pixel centres, (j + 0.5, i + 0.5).
        """
        u, v = self.back.tolist()
        if self.shape is None:
            return self._from_border(u, device) * self._from_border(v, device)
        shape = self.shape
        left, right, up, down = shape.radii
        radius = self._power(shape.across, left, right, device).add_(self._power(shape.down, up, down, device))
        # from the start to one edge width further out; in powers of the radius, which saves the root
        ends = (self.start, self.start + self.edge / shape.reach)
        inner, outer = (math.copysign(abs(r) ** shape.power, r) for r in ends)
        weights = _smooth(radius.neg_().add_(outer).div_(outer - inner))
        if self.guarded:
            weights.mul_(torch.minimum(self._from_border(u, device), self._from_border(v, device)))
        return weights

    def _field(self, row: list[float], device: torch.device | str) -> Tensor:
        """row · (x, y, 1) at the pixel centres of the box: (y1-y0, x1-x0) float32."""
        x0, y0, x1, y1 = self.box
        along = steps(x1 - x0, row[0], (x0 + 0.5) * row[0], torch.device(device))
        down = steps(y1 - y0, row[1], (y0 + 0.5) * row[1] + row[2], torch.device(device))
        return along + down[:, None]

    def _power(self, axis: tuple[float, float], before: float, after: float, device: torch.device | str) -> Tensor:
        """The term of one axis in the shape's radius, raised to the shape's power."""
        assert self.shape is not None
        (ux, uy, u0), (vx, vy, v0) = self.back.tolist()
        (cu, cv), (a, b) = self.shape.centre, axis
        offset = self._field([a * ux + b * vx, a * uy + b * vy, a * (u0 - cu) + b * (v0 - cv)], device)
        offset = torch.maximum(offset / after, offset / -before)
        if self.shape.power == 2:
            return offset.square()
        return offset.square() * offset.sqrt()  # x ** 2.5; torch.pow is slow

    def _from_border(self, row: list[float], device: torch.device | str) -> Tensor:
        """Fade along one axis of the unit square: 0 at and beyond its borders, 1 from one edge width inwards."""
        side = self._field(row, device)
        return _smooth(torch.minimum(side, 1 - side).div_(self.edge))


def _smooth(t: Tensor) -> Tensor:
    """Smoothstep: 0 up to t = 0, 1 from t = 1, zero slope at both; overwrites ``t``."""
    t.clamp_(0, 1)
    return (3 - 2 * t).mul_(t).mul_(t)


def _bounds(points: Tensor, image_size: tuple[int, int], room: int) -> Box:
    """Bounding box of (P, 2) points in whole pixels with ``room`` pixels of margin, clipped to the image."""
    (x0, y0), (x1, y1) = points.amin(0).tolist(), points.amax(0).tolist()
    height, width = image_size
    return (
        max(0, math.floor(x0) - room),
        max(0, math.floor(y0) - room),
        min(width, math.ceil(x1) + room),
        min(height, math.ceil(y1) + room),
    )


def faces_mask(faces: Faces, feather: float = 0.05, mask_shape: str = "face") -> Tensor:
    """The faces' shapes: (frame_count, H, W) float32 on the CPU, 0 … 1; overlapping ones add up to 1 at most.

    Raises:
        ValueError: see :meth:`FaceMask.of`.
    """
    out = torch.zeros(faces.frame_count, *faces.image_size, dtype=torch.float32, device="cpu")
    for k, frame in enumerate(faces.frame_indices.tolist()):
        mask = FaceMask.of(faces, k, feather, mask_shape)
        if not mask.empty:
            x0, y0, x1, y1 = mask.box
            add_weights(out[frame, y0:y1, x0:x1], mask.weights())
    return out


def add_weights(total: Tensor, weights: Tensor) -> None:
    """Composite ``weights`` over ``total`` in place: 1 - total becomes (1 - total) · (1 - weights).

    Written so that a weight above 0 is never lost to rounding.
    """
    total.add_((1 - total).mul_(weights))


@dataclass
class UserMask:
    """The user's mask for the frames of a batch, resized per frame: all at once would need the memory of a batch."""

    _given: Tensor  # (1 or N, h, w)
    _image_size: tuple[int, int]
    _only: Tensor | None = None  # the resized mask if one serves all frames

    @classmethod
    def of(
        cls, mask: Tensor | None, frame_count: int, image_size: tuple[int, int], *, empty_is_absent: bool = True
    ) -> UserMask | None:
        """Wrap a mask; None if it is absent.

        Args:
            mask: (h, w) or (1 or N, h, w) of any size, covering the frame edge to edge. None counts as absent, and
                LoadImage's all-zero 64×64 if ``empty_is_absent``.

        Raises:
            TypeError, ValueError: see :func:`frame_mask`.
        """
        given = frame_mask(mask, frame_count, empty_is_absent=empty_is_absent)
        return None if given is None else cls(given.detach(), (int(image_size[0]), int(image_size[1])))

    def frame(self, index: int) -> Tensor:
        """The mask of one frame: (H, W) float32 in 0 … 1, on the mask's device; read only."""
        if len(self._given) > 1:
            return self._fitted(self._given[index])
        if self._only is None:
            self._only = self._fitted(self._given[0])
        return self._only

    def _fitted(self, mask: Tensor) -> Tensor:
        return fit_mask(mask, self._image_size)


def fit_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a mask (h, w) to (height, width), float32 in 0 … 1 on its device; read only."""
    mask = mask.detach().to(torch.float32)
    if tuple(mask.shape) != size:
        # shrinking averages; zeros stay zero in both directions
        mask = resize_planes(mask[None, None], size, "bilinear")[0, 0]
    return mask.clamp(0, 1)
