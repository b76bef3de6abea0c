"""Similarity transforms between point sets, by least squares over all points (Umeyama 1991)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_THINNEST = 0.02  # least ratio of second to first singular value; a strict profile has about 0.2
_LEAST_ALIKE = 0.01  # least explained variance; landmarks with left and right swapped still have 0.1
_SMALLEST = 1e-6  # least ratio of spread to distance from the origin: below it float64 cannot resolve the shape


def fit_similarity(source: Tensor, target: Tensor) -> Tensor:
    """Fit the similarity that maps ``source`` points onto ``target`` points with the least squared error.

    Equal to Umeyama's estimate without reflections (IEEE PAMI 13(4), 1991). In the plane it has a closed form, because
    scaling and rotating is one complex product.

    Args:
        source: (..., K, 2), K >= 2.
        target: (..., K, 2), broadcast against ``source``.

    Returns:
        (..., 2, 3) float64 on the CPU: [x, y]^T = M[:, :2] · [u, v]^T + M[:, 2], determinant positive.

    Raises:
        ValueError: points that are not finite, coincide, lie on one line, or do not determine a scale.

    Convention: (x, y) order, any unit; the residual is measured in ``target``'s unit.
    """
    source = _points(source)
    target = _points(target)
    if source.shape[-1:] != (2,) or target.shape[-1:] != (2,) or source.shape[-2] != target.shape[-2]:
        raise ValueError(
            f"expected point sets (..., K, 2) with equal K, got {tuple(source.shape)} and {tuple(target.shape)}"
        )
    for role, points in (("source", source), ("target", target)):
        bad = ~well_shaped(points)
        if bad.any():
            raise ValueError(
                f"the {role} points {points[bad][0].tolist()} cannot be aligned: "
                "they are not finite, coincide or lie on one line"
            )
    if not (_likeness(source, target) > _LEAST_ALIKE).all():
        raise ValueError("the source points do not match the arrangement of the target points: no scale fits them")
    p, q = source - source.mean(-2, keepdim=True), target - target.mean(-2, keepdim=True)
    norm = (p * p).sum((-2, -1))
    cos, sin = _product(p, q) / norm
    linear = torch.stack((torch.stack((cos, -sin), -1), torch.stack((sin, cos), -1)), -2)
    shift = target.mean(-2) - (linear @ source.mean(-2)[..., None])[..., 0]
    return torch.cat((linear, shift[..., None]), -1)


def _points(values: Any) -> Tensor:
    """Convert point sets (tensors, arrays, lists) to float64 on the CPU."""
    if isinstance(values, Tensor):
        return values.detach().to("cpu", torch.float64)
    return torch.as_tensor(values, dtype=torch.float64, device="cpu")


def alignable(source: Tensor, target: Tensor) -> Tensor:
    """Whether :func:`fit_similarity` can fit each point set (..., K, 2) to ``target``: (...) bool on the CPU."""
    source, target = (_points(x) for x in (source, target))
    return well_shaped(source) & (_likeness(source, target) > _LEAST_ALIKE)


def _product(p: Tensor, q: Tensor) -> Tensor:
    """Sum of conj(p)·q over centred points as complex numbers: (2, ...) real and imaginary part."""
    return torch.stack(((p * q).sum((-2, -1)), (p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0]).sum(-1)))


def _likeness(source: Tensor, target: Tensor) -> Tensor:
    """Share of ``target``'s variance that the best similarity of ``source`` explains, 0 … 1 or NaN."""
    p, q = source - source.mean(-2, keepdim=True), target - target.mean(-2, keepdim=True)
    return _product(p, q).square().sum(0) / ((p * p).sum((-2, -1)) * (q * q).sum((-2, -1)))


def well_shaped(points: Tensor) -> Tensor:
    """Whether each point set (..., K, 2) can be aligned: finite, not coincident, not collinear. (...) bool."""
    points = _points(points)
    finite = torch.isfinite(points).all(-1).all(-1)
    points = torch.where(finite[..., None, None], points, torch.zeros_like(points))
    centred = points - points.mean(-2, keepdim=True)
    scatter = centred.transpose(-1, -2) @ centred
    # the eigenvalues of a symmetric 2×2 matrix
    mean = (scatter[..., 0, 0] + scatter[..., 1, 1]) / 2
    spread = torch.hypot((scatter[..., 0, 0] - scatter[..., 1, 1]) / 2, scatter[..., 0, 1])
    largest, smallest = mean + spread, (mean - spread).clamp(min=0)
    return finite & (largest > (_SMALLEST * points.abs().amax((-2, -1))) ** 2) & (smallest > _THINNEST**2 * largest)


def invert_affine(matrix: Tensor) -> Tensor:
    """The inverse of affine maps (..., 2, 3), float64."""
    linear = torch.linalg.inv(matrix[..., :2].to(torch.float64))
    return torch.cat((linear, -(linear @ matrix[..., 2:].to(torch.float64))), -1)


def apply_affine(matrix: Tensor, points: Tensor) -> Tensor:
    """Map points (..., K, 2) by (..., 2, 3): (..., K, 2) float64. Convention: (x, y) order, columns multiplied."""
    return points.to(torch.float64) @ matrix[..., :2].transpose(-1, -2) + matrix[..., None, :, 2]


def face_matrices(landmarks: Tensor, template: Tensor) -> Tensor:
    """Maps from the unit square to the photo that put the template's points on the landmarks.

    The squared error is minimised in the crop, not in the photo, as in the authors' code.

    Args:
        landmarks: (M, 5, 2) photo coordinates. template: (5, 2) fractions of the crop.

    Returns:
        (M, 2, 3) float64: [x, y]^T = A[:, :2] · [u, v]^T + A[:, 2].

    Raises:
        ValueError: degenerate landmarks, see :func:`fit_similarity`.

    Convention: photo coordinates are (x, y) in pixels, continuous, origin at the top-left corner of the image.
    """
    return invert_affine(fit_similarity(landmarks, template))
