"""The graph of an ONNX file: inputs, outputs, nodes and constants, read through the `onnx` package."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ModelFileError
from .wire import MalformedError, RefusedError, outline

if TYPE_CHECKING:
    import onnx

_LARGEST_FILE = (1 << 31) - 1  # bytes
_BFLOAT16 = 16
DTYPES = {1: "<f4", 2: "u1", 3: "i1", 6: "<i4", 7: "<i8", 9: "?", 10: "<f2", 11: "<f8", _BFLOAT16: "<u2"}
_NAMES = {1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 10: "float16", 11: "float64"}
_CONTROL_FLOW = ("If", "Loop", "Scan", "SequenceMap")
_GRAPHS = (5, 10)  # types of attributes
_REMEDIES = {
    "functions": "inline them with onnx.inliner.inline_local_functions",
    "external": "export with external_data=False, or save it as one file with onnx.save(onnx.load(path), other_path)",
}


@dataclass(frozen=True)
class OnnxValue:
    """An input or output of a graph: its name, element type and shape; None for an open dimension."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        return f"{self.name} {'×'.join('?' if d is None else str(d) for d in self.shape)} {self.dtype}"


@dataclass(eq=False)
class Node:
    """One operation. Attributes are read through `attribute`, so that one that no rule asked for is noticed."""

    proto: onnx.NodeProto
    op: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]
    asked: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        return f"{self.op} {self.name or (self.outputs or ['?'])[0]}"

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute's value: an int, a float, bytes, a tensor message, or a list of ints or floats."""
        self.asked.add(name)
        return self.attributes.get(name, default)

    def setting(self, name: str, args: Sequence, position: int) -> list | None:
        """Numbers that old opsets hold in an attribute and newer ones in the constant input at `position`."""
        value = self.attribute(name)
        if value is None and position < len(args) and args[position] is not None:
            value = args[position].value
        return None if value is None else np.ravel(value).tolist()


@dataclass(eq=False)
class OnnxGraph:
    """A graph. `initializers` and `nodes` are cheap: large weights are not read before `array` is called."""

    path: Path
    inputs: list[OnnxValue]
    outputs: list[OnnxValue]
    initializers: dict[str, onnx.TensorProto]
    nodes: list[Node]
    opset: int
    data: mmap.mmap

    @property
    def names(self) -> list[str]:
        """Weight names, and node names with their scopes as in state-dict keys (`/ecd0/0/Conv` -> `ecd0.0.Conv`)."""
        scopes = [node.name.strip("/").replace("/", ".") for node in self.nodes if node.name]
        return sorted(self.initializers) + scopes

    def array(self, tensor: onnx.TensorProto, name: str) -> np.ndarray | None:
        """The values of the constant `name`, a view of the file where they are large; bfloat16 widened to float32.

        Returns:
            None for an element type that GPEN has no use for.

        Raises:
            ModelFileError: the shape does not fit the values.
        """
        kind, shape = tensor.data_type, tuple(tensor.dims)
        if kind not in DTYPES:
            return None
        dtype, place = np.dtype(DTYPES[kind]), tensor.segment
        try:
            if min(shape, default=0) < 0:
                raise ValueError("negative")
            if tensor.HasField("segment"):
                values = np.frombuffer(self.data, dtype, (place.end - place.begin) // dtype.itemsize, place.begin)
                if values.nbytes != place.end - place.begin:
                    raise ValueError(f"{place.end - place.begin} bytes")
                if kind == _BFLOAT16:
                    values = (values.astype("<u4") << 16).view("<f4")
                return values.reshape(shape)
            if tensor.raw_data and kind != _BFLOAT16:  # what the package does, ten times as fast
                return np.frombuffer(tensor.raw_data, dtype).reshape(shape)
            from onnx import numpy_helper

            values = numpy_helper.to_array(tensor)
            return values.astype(np.float32) if kind == _BFLOAT16 else values
        except (ValueError, TypeError, OverflowError) as error:
            what = f"the constant {name} of shape {list(shape)[:8]} does not fit its values ({error})"
            raise ModelFileError(self.path, what[:300], "download it again") from error


def read_onnx_graph(path: Path) -> OnnxGraph:
    """Read an ONNX file without its large weights; milliseconds for 285 MB.

    Raises:
        ModelFileError: the file is truncated or damaged, holds control flow, functions, external data or more nodes
            than any GPEN, or the package onnx is missing.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise ModelFileError(path, f"reading it needs the package onnx ({error})", "run `pip install onnx`") from error
    size = path.stat().st_size
    if size > _LARGEST_FILE:
        raise ModelFileError(path, f"it has {size:,} bytes, and an ONNX file cannot hold more than 2 GB")
    with path.open("rb") as stream:  # a private mapping: arrays are writable, which PyTorch asks for
        data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY) if size else None
    try:
        if data is None:
            raise MalformedError("it is empty")
        model = onnx.ModelProto.FromString(outline(data))
        return _read(path, model, data)
    except RefusedError as error:
        remedy = next((text for word, text in _REMEDIES.items() if word in str(error)), "give a GPEN file")
        raise ModelFileError(path, str(error), remedy) from error
    except (MalformedError, DecodeError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        what = f"the ONNX file is truncated or damaged ({reason})"
        raise ModelFileError(path, what, "download it again") from error


def _read(path: Path, model: onnx.ModelProto, data: mmap.mmap) -> OnnxGraph:
    graph = model.graph
    opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=1)
    if not 1 <= opset < 1000:
        raise MalformedError(f"opset {opset}")
    initializers = {_text(tensor.name): tensor for tensor in graph.initializer}
    # old exports list the weights as inputs, too
    inputs = [_value(i) for i in graph.input if i.name not in initializers]
    nodes = [_node(node) for node in graph.node]
    return OnnxGraph(path, inputs, [_value(o) for o in graph.output], initializers, nodes, opset, data)


def _node(proto: onnx.NodeProto) -> Node:
    from onnx.helper import get_attribute_value

    if proto.domain == "ai.onnx":
        proto.domain = ""
    op = f"{proto.domain}.{proto.op_type}" if proto.domain else proto.op_type
    inputs, outputs = [_text(name) for name in proto.input], [_text(name) for name in proto.output]
    node = Node(proto, _text(op), _text(proto.name), inputs, outputs, {})
    if proto.op_type in _CONTROL_FLOW or any(a.type in _GRAPHS for a in proto.attribute):
        raise RefusedError(f"it has control flow ({node}), which no GPEN has")
    for a in proto.attribute:
        try:
            node.attributes[_text(a.name)] = get_attribute_value(a)
        except ValueError as error:  # no type, or one that the package does not know
            raise MalformedError(f"{node} has a damaged attribute") from error
    return node


def _text(text: str | bytes) -> str:
    if isinstance(text, bytes):  # what protobuf gives where it cannot decode
        raise MalformedError("a name is not UTF-8")
    return text


def _value(value: onnx.ValueInfoProto) -> OnnxValue:
    tensor = value.type.tensor_type
    shape = tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim)
    return OnnxValue(_text(value.name), _NAMES.get(tensor.elem_type, f"type {tensor.elem_type}"), shape)
