"""Whether an ONNX file whose graph is not understood is a GPEN, by the names in it and the shapes of its two ends."""

from __future__ import annotations

from pathlib import Path

from ..catalogue import entry_of_bytes
from ..errors import ModelFileError
from ..files.recognition import has_gpen_names, recognise_foreign
from ..restorers.restorer import SquareSizes
from .graph import OnnxGraph, OnnxValue, read_onnx_graph

_GIVE_GPEN = "give a GPEN file (one image in, one image out)"


def onnx_sizes(path: Path, graph: OnnxGraph | None = None) -> tuple[SquareSizes, tuple[str, ...]]:
    """The sizes of a GPEN in an ONNX file, from its graph alone, and warnings; no session is opened.

    Raises:
        ModelFileError: the file is truncated, or holds another network.
    """
    graph = graph or read_onnx_graph(path)
    refuse_foreign(path, graph)
    inputs, outputs = graph.inputs, graph.outputs
    shape = f"in {', '.join(map(str, inputs))}; out {', '.join(map(str, outputs))}"[:200]
    other = f"it is an ONNX of another kind{_guess(graph)}"
    if len(inputs) != 1 or len(outputs) != 1:
        what = f"{other}: GPEN has one input and one output, this has {len(inputs)} and {len(outputs)} ({shape})"
        raise ModelFileError(path, what, _GIVE_GPEN)
    in_size, out_size = _side(inputs[0]), _side(outputs[0])
    if in_size is None or out_size is None:
        raise ModelFileError(path, f"{other}: GPEN takes and gives 1×3×N×N, this {shape}", _GIVE_GPEN)
    if out_size < in_size or any(side < 8 or side & (side - 1) for side in (in_size, out_size)):
        raise ModelFileError(path, f"{other}: GPEN's sides are powers of two, this has {shape}", _GIVE_GPEN)
    entry = entry_of_bytes(path.stat().st_size)
    if has_gpen_names(graph.names) or (entry is not None and entry.out_size == out_size):
        return SquareSizes(in_size, out_size), ()
    what = "its shapes are GPEN's, but nothing in the graph tells whether it is one"
    return SquareSizes(in_size, out_size), (f"{path.name}: {what}; if the faces look wrong, it is another network",)


def refuse_foreign(path: Path, graph: OnnxGraph) -> None:
    """Raise ModelFileError where the names in a graph are those of another known network."""
    foreign = recognise_foreign(graph.names)
    if foreign is not None:
        raise ModelFileError(path, f"it is {foreign.name.replace(' checkpoint', '')} as ONNX, not GPEN", foreign.remedy)


def _side(value: OnnxValue) -> int | None:
    """N of a (1 or open)×3×N×N float tensor."""
    shape = value.shape
    if len(shape) != 4 or shape[1] != 3 or shape[2] is None or shape[2] != shape[3]:
        return None
    return shape[2] if value.dtype in ("float32", "float16") else None


def _guess(graph: OnnxGraph) -> str:
    """What the shapes suggest, for the sentence that refuses it."""
    inputs, outputs = graph.inputs, graph.outputs
    ranks = [len(value.shape) for value in outputs]
    if len(inputs) == 2 and any(len(value.shape) == 2 for value in inputs):
        return " (a face swapper, by its shapes)"
    if len(inputs) == 2 and any(value.shape in ((), (1,)) for value in inputs):
        return " (CodeFormer, by its shapes)"
    if len(inputs) == 1 and len(outputs) >= 6:
        return " (a detector, by its shapes)"
    if ranks == [2]:
        return " (a face recognition network or classifier, by its shapes)"
    if ranks == [4] and inputs and inputs[0].shape[1:2] == (3,) and None in inputs[0].shape[2:]:
        return " (an upscaler, by its shapes)"
    return ""
