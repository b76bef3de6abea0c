"""Loading a restorer from a path or a name."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

import torch

from ..gpen_arch import GPENConfig, build_engine
from .errors import GraphNotUnderstoodError, ModelFileError
from .files.formats import sniff
from .gpen_weights import read_gpen, read_gpen_file
from .onnx.recognition import onnx_sizes
from .restorers.onnx_restorer import OnnxRestorer
from .restorers.restorer import Restorer, Sizes
from .restorers.torch_restorer import TorchRestorer
from .search import BUILTIN_LABEL, BUILTIN_PATH, resolve_model

_log = logging.getLogger(__name__)
_OTHER_TASK = {
    "colorization": "colouring black-and-white portraits",
    "inpainting": "inpainting",
    "seg2face": "generating faces from label maps",
}
_TEMPLATES = ("gpen", "ffhq")


def load_gpen(
    path_or_name: Path | str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    folders: Sequence[Path | str] = (),
    *,
    runs_on: torch.device | str | None = None,
    onnxruntime: bool = False,
) -> Restorer:
    """A restorer for a .pth, .pt, .safetensors or .onnx file; the content decides what the file is, never its name.

    The weights of an ONNX file are read from its graph and run like those of any other file. Where the graph is not
    understood, ONNX Runtime runs it, and a warning says why.

    Args:
        path_or_name: a file; a file name, or a name without its extension, in one of the folders; "builtin".
        device: where it is to run.
        dtype: what it is to compute in; float32 is true float32 on every device. None: float32 whose convolutions may
            run in TF32; never a half precision, which changes the result. ONNX Runtime computes in what the file was
            exported in.
        folders: searched before our own models folder.
        runs_on: where the module will be moved to before it runs, if not ``device``. A session of ONNX Runtime cannot
            be moved, so it is opened there.
        onnxruntime: run an ONNX file in ONNX Runtime whatever its graph.

    Raises:
        ModelNotFoundError: no such file or name.
        ModelFileError: the file is damaged, is something else, would run code, or its weights are not GPEN's.
    """
    device = torch.device(device)
    target = device if runs_on is None else torch.device(runs_on)
    path = resolve_model(path_or_name, folders)
    name = BUILTIN_LABEL if path == BUILTIN_PATH else path.stem
    file_format = sniff(path)
    if onnxruntime and file_format != "onnx":
        raise ModelFileError(path, "ONNX Runtime cannot run it: it is no ONNX file", "leave ONNX Runtime out")
    wanted = dtype or torch.float32
    # a node calls this inside inference_mode, whose tensors could neither be moved nor copied by other threads
    with torch.inference_mode(False):
        found: tuple[str, ...] = ()
        try:
            file = read_gpen_file(path, file_format)
            config: Sizes = file.config
        except GraphNotUnderstoodError as error:
            file, (config, found) = None, onnx_sizes(path)
            found = found if onnxruntime else (why_onnxruntime(path, error), *found)
        warnings = _warn(path, config, found)
        if file is None or onnxruntime or not isinstance(config, GPENConfig):
            return OnnxRestorer(path, config, target, dtype=dtype, name=name, warnings=warnings)
        if wanted not in (torch.float32, torch.float16, torch.bfloat16):
            raise ValueError(f"dtype: expected torch.float32, float16 or bfloat16, got {wanted}")
        if file_format == "onnx":
            _log.info("%s: the graph is understood; its weights run without ONNX Runtime", path.name)
        template = file.metadata.get("template", "gpen")
        module = build_engine(file.weights, config, dtype).to(device)
        declined = getattr(module, "declined", None)
        if declined:
            warnings += (f"{name} runs without the fast engine: {declined}",)
        return TorchRestorer(
            module,
            config,
            dtype=wanted,
            widen=lambda: build_engine(*read_gpen(path), torch.float32).to(device),
            name=name,
            path=path,
            template=template if template in _TEMPLATES else "gpen",
            warnings=warnings,
        )


def why_onnxruntime(path: Path, error: GraphNotUnderstoodError) -> str:
    """The warning for an ONNX file whose weights could not be read from its graph."""
    return f"{path.name} runs in ONNX Runtime because its graph is not understood: {error}"


def _warn(path: Path, sizes: Sizes, found: tuple[str, ...]) -> tuple[str, ...]:
    warnings = name_warnings(path, sizes) + found
    for sentence in warnings:
        _log.warning("%s", sentence)
    return warnings


def size_contradiction(path: Path, config: Sizes) -> str:
    """How the size in a file's name contradicts its weights; empty where it does not or the name has none."""
    promised = {int(number) for number in re.findall(r"(?<!\d)(256|512|1024|2048)(?!\d)", path.stem)}
    if not promised or promised & {config.in_size, config.out_size}:
        return ""
    said = " or ".join(str(size) for size in sorted(promised))
    return f"its name says {said}, its weights are the {config.out_size} px model"


def name_warnings(path: Path, config: Sizes) -> tuple[str, ...]:
    """Warnings about a file's name that does not fit its weights or its purpose."""
    contradiction = size_contradiction(path, config)
    warnings = [f"{path.name}: {contradiction}; it is used as such"] if contradiction else []
    for kind, task in _OTHER_TASK.items():
        if kind in path.stem.casefold():
            warnings.append(f"{path.name}: by its name these weights are for {task}, not for restoring faces")
    return tuple(warnings)
