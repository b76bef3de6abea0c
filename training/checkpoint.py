"""Everything a run needs to go on, written so that a crash never leaves half a file; and the weights to hand out."""

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
    """A file is not a checkpoint of this program, or not of this run's network."""


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` beside ``path`` and move it there in one step."""
    partial = path.with_name(path.name + ".part")
    torch.save({"format": FORMAT, **state}, partial)
    partial.replace(path)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what :func:`save_checkpoint` wrote, tensors and plain values only.

    Raises:
        CheckpointError: the file is damaged or something else.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError, OSError, KeyError) as error:
        raise CheckpointError(f"{path}: it is damaged or no checkpoint; move it away to start anew") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path}: expected a training checkpoint of format {FORMAT}; weights go with --init")
    return state


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The generator in any file that the pack can load (.safetensors, .pth, .onnx) or in a checkpoint (its EMA).

    Returns:
        The published keys, float32, on the CPU.

    Raises:
        ModelFileError: damaged, or no GPEN.
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
    """Write a generator as ``.safetensors`` in ``dtype`` under the published keys, in one step.

    Raises:
        CheckpointError: a weight is not finite in ``dtype``.
    """
    from safetensors.torch import save

    rounded = {key: value.detach().cpu().to(dtype).contiguous() for key, value in weights.items()}
    broken = [key for key, value in rounded.items() if not bool(value.isfinite().all())]
    if broken:
        raise CheckpointError(f"not finite as {dtype}: {', '.join(broken[:5])}")
    partial = path.with_name(path.name + ".part")
    partial.write_bytes(save(rounded, metadata=metadata or {}))
    partial.replace(path)
