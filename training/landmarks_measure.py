"""Measure the built-in detector on portraits and pictures that were not used for training."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..detectors.builtin.detector import BuiltinDetector
from ..detectors.builtin.landmark_net import LandmarkNet, cut_squares, points_on_photo, squares_of_points
from .landmarks_data import TEST_PICTURES, Portraits, grey_of, read_portraits, skimage_pictures

THRESHOLD = 0.6


def errors(found: Tensor, wanted: Tensor) -> Tensor:
    """Mean distance of the five points, normalised by the eye distance: (…, 5, 2), (…, 5, 2) -> (…)."""
    eyes = torch.linalg.norm(wanted[..., 1, :] - wanted[..., 0, :], dim=-1)
    return torch.linalg.norm(found - wanted, dim=-1).mean(-1) / eyes


def measure(detector: BuiltinDetector, folder: Path) -> dict[str, float]:
    """Measure held-out portraits end to end, tilted ones with the network alone, and pictures without faces."""
    portraits = read_portraits(folder, held_out=True)
    distances, scores, missed, extra = [], [], 0, 0
    for pixels, points in zip(portraits.pixels, portraits.points, strict=True):
        image = np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())
        found = detector.detect(image, THRESHOLD)
        far = errors(torch.from_numpy(found.landmarks), points) if len(found) else torch.zeros(0)
        hits = far < 0.3
        missed += int(not hits.any())
        extra += int((~hits).sum())
        if hits.any():
            distances.append(far.min())
            scores.append(float(found.scores[int(far.argmin())]))
    result = {
        "portraits": len(portraits),
        "missed": missed,
        "false faces on portraits": extra,
        "median error": float(torch.stack(distances).median()),
        "error of nine in ten": float(torch.stack(distances).quantile(0.9)),
        "lowest score of a found face": min(scores),
    }
    for degrees in (0, 15, 25, 35):
        far, logits = tilted(detector.net, portraits, degrees)
        result[f"median error at {degrees} degrees"] = float(far.median())
        result[f"share over threshold at {degrees} degrees"] = float((logits.sigmoid() >= THRESHOLD).float().mean())
    pictures = skimage_pictures(TEST_PICTURES)
    false = [score for picture in pictures for score in detector.detect(picture, 0.05).scores]
    result["pictures without faces"] = len(pictures)
    result["false faces on them"] = sum(score >= THRESHOLD for score in false)
    result["highest score on them (0: below 0.05)"] = max(false, default=0.0)
    return result


@torch.no_grad()
def tilted(net: LandmarkNet, portraits: Portraits, degrees: float) -> tuple[Tensor, Tensor]:
    """Both passes from squares tilted by ±degrees, 10 % off in size, 5 % off in position: errors, logits (N,)."""
    far, logits = [], []
    faces = zip(portraits.pixels, portraits.points, portraits.squares, strict=True)
    for index, (pixels, points, square) in enumerate(faces):
        grey = grey_of(pixels.permute(1, 2, 0).numpy())
        angle = math.radians(degrees) * (1 if index % 2 else -1)
        cos, sin = math.cos(angle), math.sin(angle)
        linear = square[:, :2] @ square.new_tensor([[cos, -sin], [sin, cos]]) * (1.1 if index % 3 else 0.9)
        centre = square @ square.new_tensor([0.55, 0.45 + 0.1 * (index % 4 > 1), 1.0])
        squares = torch.cat([linear, (centre - linear.sum(-1) / 2)[:, None]], -1)[None]
        first, _ = net(cut_squares(grey, squares))
        squares = squares_of_points(points_on_photo(squares, first))
        second, logit = net(cut_squares(grey, squares))
        far.append(errors(points_on_photo(squares, second), points[None]))
        logits.append(logit)
    return torch.cat(far), torch.cat(logits)
