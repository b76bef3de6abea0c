"""Least-squares similarity between two sets of points (Umeyama 1991)."""

from __future__ import annotations

import torch

_FLAT = 1e-6  # of the spread: below it points lie in one place, or a fit has no scale


def fit_similarity(source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The rotation, uniform scale and shift that bring ``source`` closest to ``target``.

    Convention: matrices act on column vectors, ``target ≈ A[:, :2] @ source + A[:, 2]``, with points as (x, y); never
    a reflection; both sets in continuous coordinates of their own.

    Args:
        source, target: (…,P,2) with P ≥ 2, finite.

    Returns:
        (…,2,3) float64.

    Raises:
        ValueError: points that are not finite, coincide, or fit with no scale.

    Source: Umeyama, "Least-squares estimation of transformation parameters between two point patterns", 1991. In two
    dimensions a rotation with scale is one complex factor, and its least-squares value a quotient of complex sums.
    """
    source, target = source.to(torch.float64), target.to(torch.float64)
    source, target = torch.broadcast_tensors(source, target)
    if not (torch.isfinite(source).all() and torch.isfinite(target).all()):
        raise ValueError("landmarks: expected finite coordinates, got NaN or infinity")
    source_mean, target_mean = source.mean(dim=-2, keepdim=True), target.mean(dim=-2, keepdim=True)
    s, t = source - source_mean, target - target_mean
    spread = s.square().sum(dim=(-2, -1))
    reach = torch.maximum(source_mean.abs().amax(dim=(-2, -1)), torch.ones_like(spread))
    if (spread <= (_FLAT * reach) ** 2).any():
        raise ValueError("landmarks: the points coincide, so no face can be aligned by them")
    real = (s[..., 0] * t[..., 0] + s[..., 1] * t[..., 1]).sum(dim=-1) / spread
    imaginary = (s[..., 0] * t[..., 1] - s[..., 1] * t[..., 0]).sum(dim=-1) / spread
    scale = torch.hypot(real, imaginary)
    if (scale * spread.sqrt() <= _FLAT * t.square().sum(dim=(-2, -1)).sqrt()).any():
        raise ValueError("landmarks: the fit has no scale (collinear or mirrored points)")
    linear = torch.stack((torch.stack((real, -imaginary), -1), torch.stack((imaginary, real), -1)), dim=-2)
    shift = target_mean.mT - linear @ source_mean.mT
    return torch.cat((linear, shift), dim=-1)


def invert_similarity(matrices: torch.Tensor) -> torch.Tensor:
    """The matrices that lead back: ``x = B[:, :2] @ y + B[:, 2]`` where ``y = A[:, :2] @ x + A[:, 2]``.

    Args:
        matrices: (…,2,3) float, invertible.

    Returns:
        (…,2,3) of the same dtype.
    """
    back = torch.linalg.inv(matrices[..., :2])
    return torch.cat((back, -back @ matrices[..., 2:]), dim=-1)
