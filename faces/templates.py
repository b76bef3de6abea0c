"""Where the five landmarks lie in an aligned face."""

from __future__ import annotations

import torch

# left eye, right eye, nose, left and right mouth corner (left as the viewer sees it) of the 96×112 MTCNN template
_MTCNN = (
    (30.29459953, 51.69630051),
    (65.53179932, 51.50139999),
    (48.02519989, 71.73660278),
    (33.54930115, 92.3655014),
    (62.72990036, 92.20410156),
)
_FFHQ_512 = (
    (192.98138, 239.94708),
    (318.90277, 240.1936),
    (256.63416, 314.01935),
    (201.26117, 371.41043),
    (313.08905, 371.15118),
)

TEMPLATES: dict[str, torch.Tensor] = {
    "gpen": torch.tensor([((x + 8 + 28) / 168, (y + 28) / 168) for x, y in _MTCNN], dtype=torch.float64),
    "ffhq": torch.tensor(_FFHQ_512, dtype=torch.float64) / 512,
}
"""Template name → (5,2) float64, (u, v) as fractions of the crop; see the module for the order of the points.

``gpen`` is the authors' own: the template made square (x + 8), with a border of 28 px on a side of 168. ``ffhq`` is
what most other tools use; it shows the network a face 11.6 % larger.
"""


def template_points(name: str) -> torch.Tensor:
    """(5,2) float64 of a template.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in TEMPLATES:
        raise ValueError(f"template: expected one of {', '.join(TEMPLATES)}, got {name!r}")
    return TEMPLATES[name]
