"""What a model file holds, whatever it is called: from its header alone, or with every weight looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from ..gpen_arch import GPENConfig
from .errors import GraphNotUnderstoodError, ModelFileError
from .files.formats import Format, sniff, unreadable
from .gpen_weights import open_gpen, read_gpen_file
from .loading import name_warnings, why_onnxruntime
from .onnx.graph import OnnxGraph, read_onnx_graph
from .onnx.recognition import onnx_sizes
from .onnx.weights import RecoveredWeights, recover_gpen
from .restorers.restorer import SquareSizes


@dataclass(frozen=True)
class ModelInfo:
    """What a GPEN file holds.

    Args:
        format: "torch-zip", "torch-legacy", "safetensors" or "onnx".
        in_size, out_size: sides in pixels.
        parameters: how many weights; None for an ONNX file of which only the header was read or understood.
        dtype: what they are stored in.
        warnings: what is odd about the file.
    """

    format: Format
    in_size: int
    out_size: int
    parameters: int | None
    dtype: str
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        sizes = f"{self.out_size} px" if self.in_size == self.out_size else f"{self.in_size} -> {self.out_size} px"
        count = f", {self.parameters / 1e6:.1f} M parameters" if self.parameters else ""
        return f"GPEN {sizes}{count}, {self.dtype} ({self.format})"


def inspect_header(path: Path | str) -> ModelInfo:
    """What the header of a model file says; no weight is read, and a file that did not change is not read again.

    Raises:
        ModelFileError: no GPEN by its header, or damaged there. Damage among the weights goes unnoticed.
    """
    path = Path(path)
    try:
        facts = path.stat()
    except OSError as error:
        sniff(path)
        raise unreadable(path, error) from error
    # the time of the last change of permissions, too: what could not be read may be readable now
    found = _inspect_header(path.absolute(), facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
    if isinstance(found, ModelInfo):
        return found
    raise ModelFileError(path, *found)


@lru_cache(maxsize=512)
def _inspect_header(path: Path, size: int, mtime_ns: int, ctime_ns: int) -> ModelInfo | tuple[str, str]:
    """The header, or what is wrong with it and the remedy; size and times tell one state of a file from another."""
    try:
        file_format = sniff(path)
        if file_format == "onnx":
            return _onnx_info(path, ())
        file, config = open_gpen(path, file_format)
        return _info(path, file_format, config, ((key, r.dtype, r.numel) for key, r in file.tensors.items()))
    except ModelFileError as error:
        return error.what, error.remedy
    except GraphNotUnderstoodError as error:
        return f"its graph is not understood ({error})", "give a GPEN file"


def inspect_model(path: Path | str) -> ModelInfo:
    """Read a model file whole, as `load_gpen` would, without building the network.

    Raises:
        ModelFileError: as `load_gpen`.
    """
    path = Path(path)
    file_format = sniff(path)
    try:
        file = read_gpen_file(path, file_format)
    except GraphNotUnderstoodError as error:
        return _onnx_info(path, (why_onnxruntime(path, error),))
    weights = file.weights.stored() if isinstance(file.weights, RecoveredWeights) else file.weights
    return _info(path, file_format, file.config, ((key, w.dtype, w.numel()) for key, w in weights.items()))


def _onnx_info(path: Path, said: tuple[str, ...]) -> ModelInfo:
    graph = read_onnx_graph(path)
    sizes, warnings = _computed_sizes(path, graph), ()
    if sizes is None:
        sizes, warnings = onnx_sizes(path, graph)
    warnings = (*name_warnings(path, sizes), *said, *warnings)
    return ModelInfo("onnx", sizes.in_size, sizes.out_size, None, graph.inputs[0].dtype, warnings)


def _computed_sizes(path: Path, graph: OnnxGraph) -> SquareSizes | None:
    """Sizes by what the graph computes, where an exporter left the output's shape open; None where it is not needed."""
    if len(graph.outputs) != 1 or None not in graph.outputs[0].shape[1:]:
        return None
    try:
        config = recover_gpen(path, graph)[1]
    except GraphNotUnderstoodError:
        return None  # then the open shape is the reason to refuse it
    return SquareSizes(config.in_size, config.out_size)


def _info(
    path: Path, file_format: Format, config: GPENConfig, tensors: Iterable[tuple[str, torch.dtype, int]]
) -> ModelInfo:
    parameters = 0
    dtypes: Counter[str] = Counter()
    for key, dtype, count in tensors:
        parameters += 0 if key.endswith(".kernel") else count
        dtypes[str(dtype).removeprefix("torch.")] += count
    stored = dtypes.most_common(1)[0][0]
    return ModelInfo(file_format, config.in_size, config.out_size, parameters, stored, name_warnings(path, config))
