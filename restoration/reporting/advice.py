"""Where a setting cannot show what was asked for."""

from __future__ import annotations

from typing import Any

from ..options import LARGEST_SCALE
from ..running.restorer_traits import template_of
from .report import Report

_SHOWS = 1.5  # a model this many times larger than the face in the result cannot show what it can


def advise(report: Report, largest: float, enlarged: float, restorer: Any, template: str, fidelity: float) -> None:
    """Add to the report what the user may want to set otherwise.

    Args:
        largest: size of the largest face in pixels of the photo; 0 where there is none: then nothing is said.
        enlarged: how much larger the result is than the photo.
    """
    if not largest:
        return
    of_model, out_size = template_of(restorer), restorer.config.out_size
    if template != of_model:
        report.warn("template", template=template, of_model=of_model)
    shown = largest * enlarged
    if out_size > shown * _SHOWS:
        scale = min(LARGEST_SCALE, out_size / shown * enlarged)
        report.warn("model_too_large", out_size=out_size, face=shown, scale=scale)
    if shown > out_size * _SHOWS:
        report.warn("model_too_small", out_size=out_size, face=shown)
    if fidelity == 1:
        report.warn("fidelity_one")
