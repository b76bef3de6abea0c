"""Outlines of faces in the unit square of their aligned crop."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_POINTS = 96  # of a polygon that stands for the outline where its extent is asked for


@dataclass(frozen=True)
class Shape:
    """A superellipse with a radius of its own to each of the four sides.

    Convention: (u, v) in the unit square of the aligned crop; ``across`` and ``down`` are orthonormal. ``radius`` at a
    point is 0 in the centre and 1 on the outline; times ``reach`` it is about a length in the unit square.
    """

    centre: tuple[float, float]
    across: tuple[float, float]  # to the right of the picture, for an upright head
    down: tuple[float, float]
    radii: tuple[float, float, float, float]  # left, right, up, down
    power: float  # 2: an ellipse; 2.5: a little squarer

    @property
    def reach(self) -> float:
        """The mean of the four radii."""
        return sum(self.radii) / 4

    def outline(self, radius: float) -> Tensor:
        """Points around the shape blown up by ``radius``: (P, 2) float64; none lies inside it by more than 0.3 %."""
        angle = torch.arange(_POINTS, dtype=torch.float64) * (2 * math.pi / _POINTS)
        x, y = angle.cos(), angle.sin()
        left, right, up, down = self.radii
        norm = (x.abs() ** self.power + y.abs() ** self.power) ** (1 / self.power)
        x = x / norm * radius * torch.where(x < 0, left, right)
        y = y / norm * radius * torch.where(y < 0, up, down)
        (cx, cy), (ax, ay), (dx, dy) = self.centre, self.across, self.down
        return torch.stack((cx + x * ax + y * dx, cy + x * ay + y * dy), -1)


#: An upright ellipse that touches the crop's upper and lower edge.
ELLIPSE = Shape((0.5, 0.5), (1.0, 0.0), (0.0, 1.0), (0.42, 0.42, 0.5, 0.5), 2.0)


def face_shape(landmarks: Tensor) -> Shape:
    """The outline of a face, brow and chin included, from where its five landmarks really lie.

    Args:
        landmarks: (5, 2) float64, (u, v) in the unit square of the aligned crop, in the order of the templates.

    The proportions are those of a face seen from the front. A turned face has its eyes closer together, a nodding one
    its mouth closer to them, so the larger of the two distances gives the size; a turned face shows more of the cheek
    that the nose points away from, so the outline moves there.
    """
    left, right, nose = landmarks[:3]
    mouth = landmarks[3:].mean(0)
    eyes = (left + right) / 2
    axis = mouth - eyes
    height = max(float(axis.norm()), 1e-6)
    down = axis / height
    across = torch.stack((down[1], -down[0]))
    unit = max(height, 1.15 * float((right - left).norm()))  # the two are equal from the front
    turn = float((nose - (eyes + mouth) / 2) @ across)
    turn = max(-0.5 * unit, min(0.5 * unit, turn))
    centre = eyes + 0.3 * height * down - turn * across
    radii = (1.12 * unit, 1.12 * unit, 1.38 * unit, 0.7 * height + 0.72 * unit)
    return Shape(_pair(centre), _pair(across), _pair(down), radii, 2.5)


def _pair(point: Tensor) -> tuple[float, float]:
    x, y = point.tolist()
    return x, y
