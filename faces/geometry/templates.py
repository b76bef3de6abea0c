"""Positions of the five landmarks of an aligned face, as fractions of the crop.

Convention: (u, v) in the crop's unit square, origin at the top-left corner, u to the right, v down; order: left
eye, right eye, nose, left and right mouth corner, where left and right are those of the picture.
"""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor

# the 96×112 points of MTCNN, from which GPEN's authors derive their crop
_MTCNN = torch.tensor(
    [
        [30.29459953, 51.69630051],
        [65.53179932, 51.50139999],
        [48.02519989, 71.73660278],
        [33.54930115, 92.3655014],
        [62.72990036, 92.20410156],
    ],
    dtype=torch.float64,
    device="cpu",
)
# 96×112 is padded to a square of 112 (8 px left and right), then by a quarter of its side (28 px) all around
_GPEN = (_MTCNN + torch.tensor([8.0, 0.0], dtype=torch.float64, device="cpu") + 28) / 168

# the mean of the FFHQ pictures' landmarks at 512 px, as most other tools use them
_FFHQ = (
    torch.tensor(
        [
            [192.98138, 239.94708],
            [318.90277, 240.1936],
            [256.63416, 314.01935],
            [201.26117, 371.41043],
            [313.08905, 371.15118],
        ],
        dtype=torch.float64,
        device="cpu",
    )
    / 512
)

#: Template name -> (5, 2) float64, read only by convention. ``gpen`` is the authors' own for the published models; with
#: ``ffhq`` the face is 11.6 % larger in the crop.
TEMPLATES: MappingProxyType[str, Tensor] = MappingProxyType({"gpen": _GPEN, "ffhq": _FFHQ})


def template_points(name: str) -> Tensor:
    """The five points of a template, (5, 2) float64 fractions of the crop.

    Raises:
        ValueError: no such template.
    """
    if name not in TEMPLATES:
        raise ValueError(f"unknown face template {name!r}: expected one of {', '.join(TEMPLATES)}")
    return TEMPLATES[name]
