"""What an ONNX file is: inputs, outputs and the names in its graph, read without weights and without onnxruntime."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from ..errors import ModelFileError
from ..files.protobuf import GRAPH_FIELD, Field, MalformedError, fields

# field numbers of onnx.proto
_NODE, _INITIALIZER, _INPUT, _OUTPUT = 1, 5, 11, 12  # GraphProto
_NODE_NAME, _TENSOR_NAME, _VALUE_NAME, _VALUE_TYPE = 3, 8, 1, 2
_EXTERNAL_DATA = 13  # TensorProto: the weights lie in another file

_ELEMENT_TYPES = {1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 10: "float16", 11: "float64"}


@dataclass(frozen=True)
class OnnxValue:
    """An input or output of a graph: its name, element type and shape; None for a dimension that is left open."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        return f"{self.name} {'×'.join('?' if d is None else str(d) for d in self.shape)} {self.dtype}"


@dataclass
class OnnxGraph:
    """The outside of a graph, and the names by which networks can be told apart."""

    inputs: list[OnnxValue] = field(default_factory=list)
    outputs: list[OnnxValue] = field(default_factory=list)
    initializers: set[str] = field(default_factory=set)
    nodes: list[str] = field(default_factory=list)
    external_data: bool = False

    @property
    def names(self) -> list[str]:
        """Weight names, and node names with their scopes as in state-dict keys (`/ecd0/0/Conv` -> `ecd0.0.Conv`)."""
        return sorted(self.initializers) + [name.strip("/").replace("/", ".") for name in self.nodes]


def read_onnx_graph(path: Path) -> OnnxGraph:
    """Look into an ONNX file.

    Raises:
        ModelFileError: the file is cut off or is no ONNX.
    """
    graph = OnnxGraph()
    size = path.stat().st_size
    with path.open("rb") as stream:
        try:
            for part in fields(stream, 0, size):
                if part.number == GRAPH_FIELD:
                    _read_graph(stream, part, graph)
        except MalformedError as error:
            what = f"the ONNX file is truncated or damaged ({error})"
            raise ModelFileError(path, what, "download it again") from error
    graph.inputs = [value for value in graph.inputs if value.name not in graph.initializers]  # old exports list both
    return graph


def _read_graph(stream: BinaryIO, whole: Field, graph: OnnxGraph) -> None:
    for part in fields(stream, whole.start, whole.end):
        if part.number == _INITIALIZER:
            for inner in fields(stream, part.start, part.end):
                if inner.number == _TENSOR_NAME:
                    graph.initializers.add(_text(stream, inner))
                elif inner.number == _EXTERNAL_DATA:
                    graph.external_data = True
        elif part.number == _NODE:
            for inner in fields(stream, part.start, part.end):
                if inner.number == _NODE_NAME:
                    graph.nodes.append(_text(stream, inner))
        elif part.number == _INPUT:
            graph.inputs.append(_read_value(stream, part))
        elif part.number == _OUTPUT:
            graph.outputs.append(_read_value(stream, part))


def _read_value(stream: BinaryIO, whole: Field) -> OnnxValue:
    """ValueInfoProto -> type.tensor_type -> (elem_type, shape.dim*)."""
    name, dtype, shape = "", "?", []
    for part in fields(stream, whole.start, whole.end):
        if part.number == _VALUE_NAME:
            name = _text(stream, part)
        elif part.number == _VALUE_TYPE:
            for tensor in (f for f in fields(stream, part.start, part.end) if f.number == 1):
                for inner in fields(stream, tensor.start, tensor.end):
                    if inner.number == 1:
                        dtype = _ELEMENT_TYPES.get(inner.value, f"type {inner.value}")
                    elif inner.number == 2:
                        dims = (f for f in fields(stream, inner.start, inner.end) if f.number == 1)
                        shape = [_read_dimension(stream, dim) for dim in dims]
    return OnnxValue(name, dtype, tuple(shape))


def _read_dimension(stream: BinaryIO, whole: Field) -> int | None:
    for part in fields(stream, whole.start, whole.end):
        if part.number == 1:
            return part.value
    return None


def _text(stream: BinaryIO, part: Field) -> str:
    stream.seek(part.start)
    return stream.read(part.end - part.start).decode("utf-8", "replace")
