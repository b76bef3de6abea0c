"""Which device, precision and model a run takes, and the sentences that say so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import UsageError

if TYPE_CHECKING:
    import torch

    from ..models import ModelFile, ModelInfo


def choose_device(name: str) -> torch.device:
    """``auto``: CUDA, else MPS, else the CPU.

    Raises:
        UsageError: no such device, or not on this machine.
    """
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(f"--device {name}: this device cannot be used ({reason}); try auto or cpu.") from error
    return device


def choose_dtype(precision: str) -> torch.dtype | None:
    """None for ``auto``, which the loader takes for float32."""
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)


def choose_model() -> tuple[str, str]:
    """The model for a run that names none: the largest GPEN that restores, else the built-in one.

    Returns:
        What ``load_gpen`` takes, and a sentence for the user.
    """
    from ..detectors import detector_files
    from ..models import (
        BUILTIN_NAME,
        ModelFileError,
        default_folders,
        default_shared_folders,
        find_model_files,
        inspect_model,
    )

    usable: list[tuple[ModelFile, ModelInfo]] = []
    broken = ""
    detectors = {file.path.resolve() for file in detector_files()}  # YuNet's file may lie among the models
    for file in find_model_files(None, default_shared_folders()):
        if file.path.resolve() in detectors or _does_something_else(file.path.name):
            continue
        try:
            usable.append((file, inspect_model(file.path)))
        except (ModelFileError, OSError) as error:
            broken += f"\nleft out: {error}"
    if not usable:
        folders = ", ".join(str(folder) for folder in (*default_folders(), *default_shared_folders()))
        return BUILTIN_NAME, f"no model file in {folders}: using the built-in model{broken}"
    # plain weights run in the engine; a graph does where it is understood
    file, info = max(usable, key=lambda pair: (pair[1].out_size, pair[1].format != "onnx"))
    return str(file.path), f"using {file.path} ({info}), the largest model found{broken}"


def _does_something_else(name: str) -> bool:
    """Weights of the same network that colour, fill holes or paint: never the choice of somebody who chose nothing."""
    from ..models import find_entry

    entry = find_entry(name)
    return entry is not None and entry.kind != "restoration"
