"""The device, precision and model of a run, and the sentences that say so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from ..models import ModelFile, ModelInfo, Restorer


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
    """The torch dtype; None for ``auto``, which leaves the choice to the loader."""
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)


def choose_model() -> tuple[str, str]:
    """The model for a run that names none: the largest GPEN that restores by its header, else the built-in one.

    Returns:
        What ``load_gpen`` takes, and a sentence for the user.
    """
    ranked, left_out = _rank_models()
    if ranked:
        file, info = ranked[0]
        return str(file.path), "\n".join([f"using {file.path} ({info}), the largest model found", *left_out])
    return _builtin(left_out)


def load_best_model(load: Callable[[str], Restorer], note: Callable[[str], None]) -> Restorer:
    """The model for a run that names none, loaded; a file that turns out to be damaged is left out, with a note.

    Args:
        load: ``load_gpen`` with the run's options.
        note: takes the sentences for the user.

    Raises:
        ModelFileError: not even the built-in one can be loaded.
    """
    from ..models import ModelFileError

    ranked, left_out = _rank_models()
    for file, info in ranked:
        try:
            restorer = load(str(file.path))
        except ModelFileError as error:
            left_out.append(f"left out: {error}")
            continue
        note("\n".join([f"using {file.path} ({info}), the largest model found", *left_out]))
        return restorer
    model, sentence = _builtin(left_out)
    note(sentence)
    return load(model)


def _rank_models() -> tuple[list[tuple[ModelFile, ModelInfo]], list[str]]:
    """The models found, the best first, and a sentence per file that is none. Reads headers, no weights."""
    from ..detectors import detector_files
    from ..models import ModelFileError, default_shared_folders, find_model_files, inspect_header

    usable: list[tuple[ModelFile, ModelInfo]] = []
    left_out: list[str] = []
    detectors = {file.path.resolve() for file in detector_files()}  # YuNet's file may lie among the models
    for file in find_model_files(None, default_shared_folders()):
        if file.path.resolve() in detectors or _does_something_else(file.path.name):
            continue
        try:
            usable.append((file, inspect_header(file.path)))
        except ModelFileError as error:
            left_out.append(f"left out: {error}")
    # plain weights run in the engine; a graph does where it is understood
    usable.sort(key=lambda pair: (pair[1].out_size, pair[1].format != "onnx"), reverse=True)
    return usable, left_out


def _builtin(left_out: list[str]) -> tuple[str, str]:
    from ..models import BUILTIN_NAME, default_folders, default_shared_folders

    folders = ", ".join(str(folder) for folder in (*default_folders(), *default_shared_folders()))
    return BUILTIN_NAME, "\n".join([f"no usable model file in {folders}: using the built-in model", *left_out])


def _does_something_else(name: str) -> bool:
    """Whether these are weights of the same network that colour, inpaint or paint: never the default choice."""
    from ..models import find_entry

    entry = find_entry(name)
    return entry is not None and entry.kind != "restoration"
