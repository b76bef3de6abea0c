"""Conversion between sRGB and CIE L*a*b* (D65)."""

from __future__ import annotations

import torch
from torch import Tensor

from ..geometry.upload import upload

# IEC 61966-2-1 (sRGB) to CIE XYZ, D65; rows scaled by the white point below, so that white is (1, 1, 1)
RGB_TO_XYZ = (
    (0.4123908, 0.3575843, 0.1804808),
    (0.2126390, 0.7151687, 0.0721923),
    (0.0193308, 0.1191948, 0.9505322),
)
LAB_EPSILON, LAB_KAPPA = 216 / 24389, 24389 / 27  # CIE 15: where the cube root changes to a linear segment


def _white_scaled_matrix(like: Tensor) -> Tensor:
    """(3, 3) linear RGB -> XYZ / white; every row sums to 1, so a grey has three equal values and zero chroma."""
    matrix = torch.tensor(RGB_TO_XYZ, dtype=torch.float64, device="cpu")
    return upload((matrix / matrix.sum(dim=1, keepdim=True)).to(like.dtype), like.device)


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """Convert sRGB in [0, 1], (..., 3) float, to CIE L*a*b* (D65): L in 0 … 100, a and b about -110 … 110."""
    rgb = rgb.clamp(0, 1)
    linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = linear @ _white_scaled_matrix(rgb).mT
    f = torch.where(xyz > LAB_EPSILON, xyz.clamp_min(LAB_EPSILON) ** (1 / 3), (LAB_KAPPA * xyz + 16) / 116)
    x, y, z = f.unbind(-1)
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), dim=-1)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """Convert CIE L*a*b* (D65), (..., 3) float, to sRGB, clamped to [0, 1]."""
    lightness, a, b = lab.unbind(-1)
    y = (lightness + 16) / 116
    f = torch.stack((y + a / 500, y, y - b / 200), dim=-1)
    xyz = torch.where(f**3 > LAB_EPSILON, f**3, (116 * f - 16) / LAB_KAPPA)
    inverse = torch.linalg.inv(_white_scaled_matrix(torch.zeros(0, dtype=torch.float64, device="cpu")))
    inverse = upload(inverse.to(lab.dtype), lab.device)
    linear = (xyz @ inverse.mT).clamp(0, 1)
    return torch.where(linear > 0.0031308, 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055, 12.92 * linear)
