"""Second stage: crops through the network, blended with what was there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from ..faces import BLEND_MODES, COLOR_MATCHES, blend_faces, match_color
from ..models import BUILTIN_LABEL, Restorer
from .callbacks import CheckCancel, FreeMemory, OnProgress, never_cancelled, no_progress
from .checks import check_finite, check_fraction, check_images
from .fallback import Ladder, Rung
from .report import Report

_SMALL = "the built-in model is small; GPEN-BFR-2048 gives far more, once its file lies in a model folder"
_PRECISIONS = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}


class Restored(NamedTuple):
    """restored (M,S,S,3) float32 in 0…1, S the model's output size; what happened."""

    restored: torch.Tensor
    report: Report


def restore_crops(
    crops: torch.Tensor,
    restorer: Restorer,
    *,
    fidelity: float = 0.2,
    blend_mode: str = "linear",
    color_match: str = "none",
    on_progress: OnProgress = no_progress,
    check_cancel: CheckCancel = never_cancelled,
    free_memory: FreeMemory | None = None,
    rungs: Sequence[Rung] = (),
) -> Restored:
    """Restore aligned crops, a batch of the restorer's size at a time.

    Args:
        crops: (M,h,w,3 or 4) float in 0…1, of any size; alpha is ignored. A black crop is what detection gives
            where there is no face: it is passed on black, and the report says so.
        restorer: from :func:`load_gpen`.
        fidelity: 0 is the network's face, 1 the original's.
        rungs: other ways to run the model where memory does not suffice for one face.

    Raises:
        TypeError, ValueError: an input that cannot be meant.
        OutOfMemoryError: not even one face fits.
    """
    check_images(crops, "crops")
    check_blend(fidelity, blend_mode, color_match)
    report = Report(frames=len(crops))
    size = restorer.config.out_size
    restored = crops.new_zeros((len(crops), size, size, 3), dtype=torch.float32)
    ladder = Ladder(restorer, report, free_memory, rungs, check_cancel)
    faces = []
    for index in range(len(crops)):
        check_finite(crops[index], f"crops, crop {index}")
        if crops[index, :, :, :3].any():
            faces.append(index)
        else:
            report.warn(f"crop {index} is black (no face was found): it was not restored")
    if faces:
        ladder.prepare(len(faces))
    start = 0
    while start < len(faces):
        check_cancel()
        batch = faces[start : start + ladder.batch_size]
        restored[batch] = restore_batch(
            crops[batch][..., :3].float(), ladder, report,
            fidelity=fidelity, blend_mode=blend_mode, color_match=color_match,
        )  # fmt: skip
        start += len(batch)
        on_progress(start, len(faces), restored[batch[-1]])
    report.faces_restored = len(faces)
    describe_model(report, ladder.restorer)
    return Restored(restored, report)


def restore_batch(
    crops: torch.Tensor, ladder: Ladder, report: Report, *, fidelity: float, blend_mode: str, color_match: str
) -> torch.Tensor:
    """Crops (B,h,w,3) -> their restored, colour-matched and blended faces (B,S,S,3), at most a batch of them."""
    with report.stage("restore", ladder.restorer.device):
        restored = ladder.restore(crops)
    with report.stage("blend", crops.device):
        if color_match != "none":
            restored = match_color(restored, crops, color_match)
        return blend_faces(crops, restored, fidelity, blend_mode)


def check_blend(fidelity: float, blend_mode: str, color_match: str) -> None:
    """Refuse unknown names and numbers outside 0…1 before any work is done.

    Raises:
        ValueError: with the names that there are.
    """
    check_fraction(fidelity, "fidelity")
    for value, known, name in ((blend_mode, BLEND_MODES, "blend_mode"), (color_match, COLOR_MATCHES, "color_match")):
        if value not in known:
            raise ValueError(f"{name}: expected one of {', '.join(known)}, got {value!r}")


def describe_model(report: Report, restorer: Restorer) -> None:
    """Write down what really ran; after the work, since the provider and the precision show only then."""
    report.model = {
        "name": restorer.name,
        "in_size": restorer.config.in_size,
        "out_size": restorer.config.out_size,
        "device": str(restorer.device),
        "precision": _PRECISIONS.get(restorer.dtype, str(restorer.dtype)),
        "provider": restorer.provider,
        "advice": _SMALL if restorer.name == BUILTIN_LABEL else None,
    }
    for sentence in restorer.warnings:
        report.warn(sentence)
