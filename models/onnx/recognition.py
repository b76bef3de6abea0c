"""Whether an ONNX file that is not understood is a GPEN, by the names in its graph and the shapes of its two ends."""

from __future__ import annotations

from pathlib import Path

from ..catalogue import entry_of_bytes
from ..errors import ModelFileError
from ..files.recognition import has_gpen_names, recognise_foreign
from ..restorers.restorer import SquareSizes
from .graph import OnnxGraph, OnnxValue, read_onnx_graph

_GIVE_GPEN = "give a GPEN file (one image in, one image out)"


def onnx_sizes(path: Path, graph: OnnxGraph | None = None) -> tuple[SquareSizes, tuple[str, ...]]:
    """The sizes of a GPEN in an ONNX file, from its graph alone; no session is made.

    Returns:
        Its sizes, and sentences to warn with.

    Raises:
        ModelFileError: the file is truncated, or an ONNX of another kind.
    """
    graph = graph or read_onnx_graph(path)
    refuse_foreign(path, graph)
    shape = "; ".join(("in " + ", ".join(map(str, graph.inputs)), "out " + ", ".join(map(str, graph.outputs))))
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        kind = _guess(graph)
        what = f"it is an ONNX of another kind{kind}, with {len(graph.inputs)} inputs and {len(graph.outputs)} outputs"
        raise ModelFileError(path, f"{what} where GPEN has one of each ({shape[:200]})", _GIVE_GPEN)
    sides = [_square(value) for value in (graph.inputs[0], graph.outputs[0])]
    if None in sides:
        what = f"it is an ONNX of another kind{_guess(graph)}: GPEN takes and gives 1×3×N×N, this one {shape[:200]}"
        raise ModelFileError(path, what, _GIVE_GPEN)
    sizes = SquareSizes(sides[0] or 0, sides[1] or 0)
    if sizes.out_size < sizes.in_size or any(side < 8 or side & (side - 1) for side in (sizes.in_size, sizes.out_size)):
        raise ModelFileError(
            path, f"it is an ONNX of another kind: GPEN's sides are powers of two, these are {shape}", _GIVE_GPEN
        )
    warnings: tuple[str, ...] = ()
    entry = entry_of_bytes(path.stat().st_size)
    if not has_gpen_names(graph.names) and (entry is None or entry.out_size != sizes.out_size):
        warnings = (
            f"{path.name}: its shapes are GPEN's, but nothing in the graph tells whether it is one; "
            "if the faces look wrong, it is another network",
        )
    return sizes, warnings


def refuse_foreign(path: Path, graph: OnnxGraph) -> None:
    """Raise ModelFileError where the names in a graph are those of another network that is known."""
    foreign = recognise_foreign(graph.names)
    if foreign is not None:
        raise ModelFileError(path, f"it is {foreign.name.replace(' checkpoint', '')} as ONNX, not GPEN", foreign.remedy)


def _square(value: OnnxValue) -> int | None:
    """N of a (1 or open)×3×N×N float tensor."""
    shape = value.shape
    if len(shape) != 4 or shape[1] != 3 or shape[2] is None or shape[2] != shape[3]:
        return None
    return shape[2] if value.dtype in ("float32", "float16") else None


def _guess(graph: OnnxGraph) -> str:
    """What the shapes remind of, for the sentence that refuses it."""
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
