"""Large faces without proposals: a coarse grid of squares, and how many of them walk to the same place.

On a face, squares that start a fifth beside it, too large or tilted, all end on it in one step of the landmark
network. Where no face is they scatter, whatever a single one believes. So agreement proposes, and it is safe: on
portraits tilted up to 35° a fifth of the squares or more agree, on pictures without faces one or two.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .landmark_net import LandmarkNet, cut_squares, points_on_photo, run_landmark_net, squares_of_points

SIDES = (1.0, 0.72, 0.52)  # of the picture's shorter side
SMALLEST = 0.33  # the same for what is proposed; smaller faces are the cascade's business
STRIDE = 0.27  # between neighbouring squares, in their sides
WORK_SIDE = 192  # the shorter side, in pixels, to which the picture is reduced: enough for squares of 64 pixels
SURE = 2.2  # logit from which a square has a say: nine in ten
NEAR, ALIKE = 0.12, 0.2  # agreeing squares: distance in sides, difference of the logarithms of the sides
VOTES = 8  # agreeing squares that make a proposal


@torch.no_grad()
def propose_large_faces(net: LandmarkNet, grey: Tensor) -> Tensor:
    """Where large faces stand: (H, W) float32 in [0, 1] -> squares (K, 2, 3) float64 on it, K 0 or 1 mostly.

    Faces whose square measures about 0.4 to 1.2 of the picture's shorter side, tilted up to 35°.
    Convention: as in ``landmark_net``.
    """
    factor = min(grey.shape) / WORK_SIDE
    small = grey
    if factor > 1:
        size = [max(1, round(side / factor)) for side in grey.shape]
        small = F.interpolate(grey[None, None], size, mode="bilinear", antialias=True)[0, 0]
    squares = grid_of_squares(*small.shape)
    points, _ = run_landmark_net(net, cut_squares(small, squares))
    squares = squares_of_points(points_on_photo(squares, points))
    _, logits = run_landmark_net(net, cut_squares(small, squares))
    large = torch.linalg.det(squares[:, :, :2]) > (SMALLEST * min(small.shape)) ** 2
    agreed = agreement(squares[large & (logits > SURE)])
    to_photo = agreed.new_tensor([[grey.shape[1] / small.shape[1]], [grey.shape[0] / small.shape[0]]])
    return agreed * to_photo


def grid_of_squares(height: int, width: int) -> Tensor:
    """Upright squares of the three sizes all over a picture, their centres well inside it: (M, 2, 3) float64."""
    grid = []
    for share in SIDES:
        side = share * min(height, width)
        for x in _centres(width, side):
            grid += [[[side, 0.0, x - side / 2], [0.0, side, y - side / 2]] for y in _centres(height, side)]
    return torch.tensor(grid, dtype=torch.float64, device="cpu")


def _centres(length: int, side: float) -> list[float]:
    room = length - 0.8 * side  # a tenth of the square may stand out
    count = max(1, round(room / (STRIDE * side)) + 1) if room > 0 else 1
    if count == 1:
        return [length / 2]
    return [0.4 * side + room * index / (count - 1) for index in range(count)]


def agree(squares: Tensor, others: Tensor) -> Tensor:
    """Whether squares (…, 2, 3) stand in the same place and are of the same size, pairwise: (…) bool."""
    half = squares.new_tensor([0.5, 0.5, 1.0])
    side, other = (torch.linalg.det(m[..., :2]).clamp(min=1e-9).sqrt() for m in (squares, others))
    away = torch.linalg.norm(squares @ half - others @ half, dim=-1)
    return (away < NEAR * torch.minimum(side, other)) & ((side / other).log().abs() < ALIKE)


def agreement(squares: Tensor) -> Tensor:
    """The squares (M, 2, 3) on which at least ``VOTES`` agree, one for each place, their mean: (K, 2, 3)."""
    near = agree(squares[:, None], squares[None])
    left = torch.ones(len(squares), dtype=torch.bool, device="cpu")
    agreed = [squares[:0]]
    while left.any():
        votes = (near & left).sum(1) * left
        if votes.max() < VOTES:
            break
        members = near[votes.argmax()] & left
        agreed.append(squares[members].mean(0, keepdim=True))
        left &= ~members
    return torch.cat(agreed)
