"""Negative examples: random squares, false positives of the cascade, and false positives of the network itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..detectors.builtin.landmark_net import (
    LandmarkNet,
    cut_squares,
    points_on_photo,
    squares_of_boxes,
    squares_of_points,
)
from .landmarks_data import Portraits, grey_of, off_the_face


@dataclass(frozen=True)
class NonFaces:
    """Squares (K, 2, 3) of one picture (H, W) that show no face; ``face``: the square of its face, if any."""

    grey: Tensor
    squares: Tensor
    face: Tensor | None


def find_non_faces(
    pictures: list[np.ndarray],
    portraits: Portraits,
    cascade_boxes: Callable[[np.ndarray], np.ndarray],
    generator: torch.Generator,
    per_picture: int = 300,
    per_portrait: int = 8,
) -> list[NonFaces]:
    """Random squares of the pictures and off the faces of the portraits, and all raw boxes (M, 4) of the cascade."""
    found = []
    for picture in pictures:
        taken = squares_of_boxes(torch.from_numpy(cascade_boxes(picture)))
        squares = torch.cat([_anywhere(picture.shape, per_picture, generator), taken])
        found.append(NonFaces(grey_of(picture), squares, None))
    for pixels, face in zip(portraits.pixels, portraits.squares, strict=True):
        image = np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())
        taken = squares_of_boxes(torch.from_numpy(cascade_boxes(image)))
        squares = torch.cat([_anywhere(image.shape, per_portrait, generator), taken])
        found.append(NonFaces(grey_of(image), squares[off_the_face(squares, face)], face))
    return found


def _anywhere(shape: tuple[int, ...], count: int, generator: torch.Generator) -> Tensor:
    """Random upright squares inside a picture (H, W, 3), sides from 20 pixels to its shorter side: (K, 2, 3)."""
    height, width = shape[:2]
    sides = 20 * (min(height, width) / 20) ** torch.rand(count, generator=generator, dtype=torch.float64)
    corners = torch.rand(count, 2, generator=generator, dtype=torch.float64) * (
        torch.tensor([width, height], dtype=torch.float64) - sides[:, None]
    )
    return torch.cat([torch.diag_embed(sides[:, None].expand(-1, 2)), corners[..., None]], -1)


def squares_as_bank(non_faces: list[NonFaces]) -> Tensor:
    """The squares as the first pass of the network sees them: (K, 1, 64, 64) uint8."""
    return torch.cat([_bytes(cut_squares(one.grey, one.squares)) for one in non_faces if len(one.squares)])


@torch.no_grad()
def mine(net: LandmarkNet, non_faces: list[NonFaces], above: float) -> Tensor:
    """Hard negatives: squares, as the second pass sees them, with a logit above ``above``: (K, 1, 64, 64) uint8."""
    hard = [torch.zeros(0, 1, 64, 64, dtype=torch.uint8)]
    for one in non_faces:
        if not len(one.squares):
            continue
        points, _ = net(cut_squares(one.grey, one.squares))
        squares = squares_of_points(points_on_photo(one.squares, points))
        seen = cut_squares(one.grey, squares)
        kept = net(seen)[1] > above
        if one.face is not None:
            kept &= off_the_face(squares, one.face)  # the first pass may rightly have moved the square onto the face
        hard.append(_bytes(seen[kept]))
    return torch.cat(hard)


def _bytes(images: Tensor) -> Tensor:
    return (images * 255).round().clamp(0, 255).to(torch.uint8)
