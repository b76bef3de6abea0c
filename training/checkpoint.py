"""Checkpoints and exported weights, written atomically."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from ..models import ModelFileError
from ..models.errors import GraphNotUnderstoodError
from ..models.loading import read_gpen

FORMAT = 1


class CheckpointError(ValueError):
    """The file is not a checkpoint of this program, or is of another network."""


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` to ``path`` atomically: a crash leaves the old file."""
    partial = path.with_name(path.name + ".part")
    torch.save({"format": FORMAT, **state}, partial)
    partial.replace(path)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of :func:`save_checkpoint`; loads tensors and plain values only.

    Raises:
        CheckpointError: the file is damaged, or not a checkpoint.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError, OSError, KeyError) as error:
        raise CheckpointError(f"{path}: damaged, or not a checkpoint; move it away to start a new run") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: expected a training checkpoint of format {FORMAT}; to start from weights, use --init"
        )
    return state


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read a generator from any file that the pack loads (.safetensors, .pth, .onnx) or from a checkpoint (its EMA).

    Returns:
        The published keys, float32, on the CPU.

    Raises:
        ModelFileError: damaged, or not a GPEN.
    """
    try:
        weights, _ = read_gpen(path)
    except GraphNotUnderstoodError as error:
        raise ModelFileError(path, f"no weights can be read from its graph ({error})", "give a state dict") from error
    return {key: weights[key].float() for key in weights}


def export_weights(
    path: Path,
    weights: dict[str, torch.Tensor],
    dtype: torch.dtype = torch.float16,
    metadata: dict[str, str] | None = None,
) -> None:
    """Write a generator as ``.safetensors`` in ``dtype`` under the published keys, atomically.

    Raises:
        CheckpointError: a weight is not finite in ``dtype``.
    """
    from safetensors.torch import save

    rounded = {key: value.detach().cpu().to(dtype).contiguous() for key, value in weights.items()}
    broken = [key for key, value in rounded.items() if not bool(value.isfinite().all())]
    if broken:
        raise CheckpointError(
            f"expected weights that are finite as {dtype}, got not finite ones in {', '.join(broken[:5])}"
        )
    partial = path.with_name(path.name + ".part")
    partial.write_bytes(save(rounded, metadata=metadata or {}))
    partial.replace(path)
