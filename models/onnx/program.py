"""The nodes and constants of an ONNX file, mapped into memory: no weight is copied before it is used."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import GraphNotUnderstoodError
from ..files.protobuf import GRAPH_FIELD, Field, MalformedError, fields, read_varint

# field numbers of onnx.proto
_NODE, _INITIALIZER, _SPARSE, _OUTPUT = 1, 5, 15, 12  # GraphProto
_FUNCTIONS = 25  # ModelProto
_INTS, _FLOATS = 8, 7  # AttributeProto
_VARINT, _BYTES = 0, 2
_DTYPES: dict[int, str] = {1: "<f4", 2: "u1", 3: "i1", 6: "<i4", 7: "<i8", 9: "?", 10: "<f2", 11: "<f8"}
_BFLOAT16 = 16
# where a tensor's values lie if they are no raw bytes: the field, and what one value is written as
_TYPED = {4: "<f4", 5: "varint", 7: "varint", 10: "<f8"}


@dataclass
class Node:
    """One operation. Attributes are taken by `attribute`, so that one that nobody asked for is noticed."""

    op: str = ""
    name: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    domain: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        return f"{self.op} {self.name or (self.outputs or ['?'])[0]}"

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute's value: an int, a float, bytes, an array, or a list of ints or floats."""
        self.asked.add(name)
        return self.attributes.get(name, default)


@dataclass
class Program:
    """A graph as a list of nodes over named values; constants are views of the mapped file."""

    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)


def read_program(path: Path) -> Program:
    """Read all of a graph.

    Raises:
        GraphNotUnderstoodError: weights of a type or in a place that cannot be read here.
        OSError: the file, or the one beside it that holds its weights, cannot be read.
    """
    return _Reader(path).read()


class _Reader:
    def __init__(self, path: Path) -> None:
        self._folder = path.parent
        self._maps: dict[Path, mmap.mmap] = {}
        self._file = self._map(path)

    def _map(self, path: Path) -> mmap.mmap:
        if path not in self._maps:
            with path.open("rb") as stream:  # a private mapping: arrays are writable, which PyTorch asks for
                self._maps[path] = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
        return self._maps[path]

    def read(self) -> Program:
        program = Program()
        try:
            for part in self._fields(Field(0, _BYTES, 0, 0, len(self._file))):
                if part.number == GRAPH_FIELD:
                    self._graph(part, program)
                elif part.number == _FUNCTIONS:
                    raise GraphNotUnderstoodError("it calls functions of its own")
        except (MalformedError, struct.error) as error:
            raise GraphNotUnderstoodError(f"it is damaged ({error})") from error
        return program

    def _graph(self, whole: Field, program: Program) -> None:
        for part in self._fields(whole):
            if part.number == _NODE:
                program.nodes.append(self._node(part))
            elif part.number == _INITIALIZER:
                name, array = self._tensor(part)
                program.constants[name] = array
            elif part.number == _OUTPUT:
                program.outputs += [self._text(inner) for inner in self._fields(part) if inner.number == 1]
            elif part.number == _SPARSE:
                raise GraphNotUnderstoodError("its weights are sparse")

    def _node(self, whole: Field) -> Node:
        node = Node()
        for part in self._fields(whole):
            if part.number == 1:
                node.inputs.append(self._text(part))
            elif part.number == 2:
                node.outputs.append(self._text(part))
            elif part.number == 3:
                node.name = self._text(part)
            elif part.number == 4:
                node.op = self._text(part)
            elif part.number == 5:
                name, value = self._attribute(part)
                node.attributes[name] = value
            elif part.number == 7:
                node.domain = self._text(part)
        return node

    def _attribute(self, whole: Field) -> tuple[str, Any]:
        name, value, kind = "", None, 0
        floats: list[float] = []
        ints: list[int] = []
        for part in self._fields(whole):
            if part.number == 1:
                name = self._text(part)
            elif part.number == 2:
                value = struct.unpack("<f", self._file[part.start : part.end])[0]
            elif part.number == 3:
                value = _signed(part.value)
            elif part.number == 4:
                value = self._file[part.start : part.end]
            elif part.number == 5:
                value = self._tensor(part)[1]
            elif part.number == _FLOATS:
                floats += struct.unpack(f"<{(part.end - part.start) // 4}f", self._file[part.start : part.end])
            elif part.number == _INTS:
                ints += [part.value] if part.wire_type == _VARINT else self._varints(part)
            elif part.number == 20:
                kind = part.value
            else:
                value = part  # a graph, a type: whoever asks for it does not know it either
        if kind == 7 or ints:
            value = [_signed(i) for i in ints]
        elif kind == 6 or floats:
            value = floats
        return name, value

    def _tensor(self, whole: Field) -> tuple[str, np.ndarray]:
        name, kind, shape, raw = "", 0, [], None
        typed: list[np.ndarray] = []
        external: dict[str, str] = {}
        for part in self._fields(whole):
            if part.number == 1:
                shape += [part.value] if part.wire_type == _VARINT else self._varints(part)
            elif part.number == 2:
                kind = part.value
            elif part.number == 8:
                name = self._text(part)
            elif part.number == 9:
                raw = (self._file, part.start, part.end - part.start)
            elif part.number == 13:
                key, value = ([self._text(f) for f in self._fields(part) if f.number == n][:1] or [""] for n in (1, 2))
                external[key[0]] = value[0]
            elif part.number in _TYPED:
                typed.append(self._typed(part, _TYPED[part.number]))
        if external:
            raw = self._external(name, external)
        return name, self._array(name, kind, shape, raw, typed)

    def _array(self, name: str, kind: int, shape: list[int], raw: Any, typed: list[np.ndarray]) -> np.ndarray:
        dtype = np.dtype("<u2" if kind == _BFLOAT16 else _DTYPES.get(kind, "V1"))
        if dtype.kind == "V":
            return np.zeros(0, dtype)  # text, complex or quantised: whoever uses it will say so
        count = int(np.prod(shape, dtype=np.int64))
        if raw is not None:
            buffer, start, length = raw
            if length < count * dtype.itemsize or start + length > len(buffer):
                raise GraphNotUnderstoodError(f"the constant {name} has {length} bytes for {count} values")
            values = np.frombuffer(buffer, dtype, count, start) if count else np.zeros(0, dtype)
        else:
            values = np.concatenate(typed) if typed else np.zeros(0, dtype)
            if values.size != count:
                raise GraphNotUnderstoodError(f"the constant {name} has {values.size} of {count} values")
            # halves are written as the bits of an integer
            values = values.astype("<u2").view(dtype) if kind in (10, _BFLOAT16) else values.astype(dtype)
        if kind == _BFLOAT16:
            values = (values.astype("<u4") << 16).view("<f4")
        return values.reshape(shape)

    def _external(self, name: str, entries: dict[str, str]) -> tuple[mmap.mmap, int, int]:
        path = (self._folder / entries.get("location", "")).resolve()
        if not path.is_file() or not path.is_relative_to(self._folder.resolve()):
            raise GraphNotUnderstoodError(f"the weights {name} lie in the file {path.name}, which is not beside it")
        buffer, start = self._map(path), int(entries.get("offset") or 0)
        return buffer, start, int(entries.get("length") or len(buffer) - start)

    def _typed(self, part: Field, code: str) -> np.ndarray:
        if code == "varint":
            found = [part.value] if part.wire_type == _VARINT else self._varints(part)
            return np.array([_signed(i) for i in found], dtype=np.int64)
        return np.frombuffer(self._file[part.start : part.end], code)

    def _varints(self, part: Field) -> list[int]:
        self._file.seek(part.start)
        found = []
        while self._file.tell() < part.end:
            found.append(read_varint(self._file) or 0)
        return found

    def _fields(self, whole: Field) -> Iterator[Field]:
        return fields(self._file, whole.start, whole.end)

    def _text(self, part: Field) -> str:
        return self._file[part.start : part.end].decode("utf-8", "replace")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
