"""Outlines of faces in the unit square of their aligned crop."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

_POINTS = 96  # vertices of the polygon that approximates an outline


@dataclass(frozen=True)
class Shape:
    """A superellipse with a separate radius for each of the four sides.

    Convention: (u, v) in the unit square of the aligned crop; ``across`` and ``down`` are orthonormal. ``radius`` at a
    point is 0 in the centre and 1 on the outline; times ``reach`` it approximates a length in the unit square.
    """

    centre: tuple[float, float]
    across: tuple[float, float]  # to the right in the picture, for an upright head
    down: tuple[float, float]
    radii: tuple[float, float, float, float]  # left, right, up, down
    power: float  # 2: an ellipse; 2.5: a little squarer

    @property
    def reach(self) -> float:
        """The mean of the four radii."""
        return sum(self.radii) / 4

    def outline(self, radius: float) -> Tensor:
        """Points on the outline scaled by ``radius``: (P, 2) float64; the polygon is off by at most 0.3 %."""
        left, right, up, down = self.radii
        sides = torch.tensor([left, right, up, down], dtype=torch.float64, device="cpu") * radius
        frame = torch.tensor([self.across, self.across, self.down, self.down], dtype=torch.float64, device="cpu")
        return _sides(self.power) @ (frame * sides[:, None]) + torch.tensor(
            self.centre, dtype=torch.float64, device="cpu"
        )


@functools.cache
@torch.inference_mode(False)  # a cached tensor must not be an inference tensor of the host
def _sides(power: float) -> Tensor:
    """(P, 4) float64: coordinates of the points of a unit superellipse along left, right, up and down.

    Left and up are negative, since ``across`` and ``down`` point the other way.
    """
    angle = torch.arange(_POINTS, dtype=torch.float64, device="cpu") * (2 * math.pi / _POINTS)
    x, y = angle.cos(), angle.sin()
    norm = (x.abs() ** power + y.abs() ** power) ** (1 / power)
    x, y = x / norm, y / norm
    return torch.stack((x.clamp(max=0), x.clamp(min=0), y.clamp(max=0), y.clamp(min=0)), -1)


#: An upright ellipse that touches the crop's upper and lower edge.
ELLIPSE = Shape((0.5, 0.5), (1.0, 0.0), (0.0, 1.0), (0.42, 0.42, 0.5, 0.5), 2.0)


def face_shape(landmarks: Tensor) -> Shape:
    """The outline of a face, brows and chin included, from its five landmarks.

    Args:
        landmarks: (5, 2) float64, (u, v) in the unit square of the aligned crop, in the order of the templates.

    The proportions are those of a frontal face. Yaw brings the eyes closer together, pitch brings the mouth closer to
    them, so the larger of the two distances determines the size. With yaw the cheek opposite to the nose is more
    visible, so the outline is shifted towards it.
    """
    # five points: Python numbers are much faster than tensors
    (lx, ly), (rx, ry), (nx, ny), (ax, ay), (bx, by) = landmarks.tolist()
    ex, ey = (lx + rx) / 2, (ly + ry) / 2  # midpoint of the eyes
    mx, my = (ax + bx) / 2, (ay + by) / 2  # midpoint of the mouth
    height = max(math.hypot(mx - ex, my - ey), 1e-6)
    down = ((mx - ex) / height, (my - ey) / height)
    across = (down[1], -down[0])
    unit = max(height, 1.15 * math.hypot(rx - lx, ry - ly))  # equal for a frontal face
    turn = (nx - (ex + mx) / 2) * across[0] + (ny - (ey + my) / 2) * across[1]
    turn = max(-0.5 * unit, min(0.5 * unit, turn))
    centre = (ex + 0.3 * height * down[0] - turn * across[0], ey + 0.3 * height * down[1] - turn * across[1])
    radii = (1.12 * unit, 1.12 * unit, 1.38 * unit, 0.7 * height + 0.72 * unit)
    return Shape(centre, across, down, radii, 2.5)
