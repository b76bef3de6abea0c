"""The protobuf bytes of an ONNX file, looked at before the `onnx` package parses them.

Parsing 285 MB copies every weight twice. `outline` therefore copies all but the large values into a small message and
notes where in the file those lie, so that they can stay views of the mapped file. What is parsed is bounded here: by
the number of fields and by the bytes that are kept. Source: protobuf.dev/programming-guides/encoding, onnx.proto.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

Buffer = bytes | mmap.mmap

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MOST_FIELDS = 200_000  # the largest GPEN export has 60,000
_MOST_NODES = 10_000  # the largest GPEN export has 5,000
_MOST_BYTES = 1 << 23  # of the outline, which is below 1 MB for a GPEN
_MOST_TYPE = 1 << 12  # bytes of one input's or output's type, of which every two may become an object
_LARGE = 256  # bytes; smaller values stay in the outline
_GRAPH = 7

# onnx.proto, message ModelProto: ir_version, model_version; strings, graph, opsets, metadata, functions, devices
_MODEL_FIELDS = {1: _VARINT, 5: _VARINT} | dict.fromkeys((2, 3, 4, 6, 7, 8, 14, 20, 25, 26), _BYTES)
# the fields that are kept, and the message that one holds where it is looked into
_KEPT: dict[str, dict[int, str]] = {
    "model": {1: "", 7: "graph", 8: "type", 25: "functions"},
    "graph": {1: "node", 5: "tensor", 11: "type", 12: "type", 15: "sparse weights"},
    "node": {1: "", 2: "", 3: "", 4: "", 5: "attribute", 7: ""},
    # an attribute that is a graph keeps its type (20) and loses the graph
    "attribute": {1: "", 2: "", 3: "", 4: "", 5: "tensor", 7: "", 8: "", 20: ""},
    "tensor": {1: "", 2: "", 4: "", 5: "", 7: "", 8: "", 9: "", 10: "", 13: "external data"},
}
_REFUSED = ("functions", "sparse weights", "external data")
_SEGMENT, _RAW, _LITTLE_ENDIAN_VALUES = 3, 9, (4, 9, 10)  # of TensorProto; floats, raw bytes, doubles


class MalformedError(ValueError):
    """The bytes are not protobuf, or end in the middle of a field."""


class RefusedError(ValueError):
    """The file is an ONNX of a kind, or of a size, that is not read here; the message says which."""


def _varint(data: Buffer, position: int, end: int) -> tuple[int, int]:
    """A number and the position behind it."""
    result = shift = 0
    while position < end and shift < 64:
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
        shift += 7
    raise MalformedError("a number is cut off" if position >= end else "a number is longer than 64 bits")


def fields(data: Buffer, start: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
    """The fields of the message at bytes start…end, as (number, wire type, start, start of the payload, end).

    Raises:
        MalformedError: not protobuf, or a field that reaches beyond `end`.
    """
    while start < end:
        tag, payload = _varint(data, start, end)
        number, wire_type, length = tag >> 3, tag & 7, 0
        if wire_type == _BYTES:
            length, payload = _varint(data, payload, end)
            stop = payload + length
        elif wire_type == _VARINT:
            _, stop = _varint(data, payload, end)
        elif wire_type in (_FIXED64, _FIXED32):
            stop = payload + (8 if wire_type == _FIXED64 else 4)
        else:
            raise MalformedError(f"unknown wire type {wire_type}")
        if number == 0 or stop > end:
            raise MalformedError("a field reaches beyond the end")
        yield number, wire_type, start, payload, stop
        start = stop


def looks_like_onnx(path: Path) -> bool:
    """Whether the top-level fields are those of an ONNX model, of which the last may be cut off.

    Reads the field headers only and raises nothing: bytes that are not protobuf are not ONNX.
    """
    seen: set[int] = set()
    position = 0
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            for count, (number, wire_type, _, _, stop) in enumerate(fields(data, 0, len(data))):
                if _MODEL_FIELDS.get(number) != wire_type or count > _MOST_FIELDS:
                    return False
                position = stop
                seen.add(number)
            return _GRAPH in seen
        except MalformedError:  # truncated: all in front of the cut is right, and the graph is what does not fit
            return bool(seen) and data[position : position + 1] == bytes([_GRAPH << 3 | _BYTES])


def outline(data: Buffer) -> bytes:
    """A ModelProto like the one in `data`, with (begin, end) in a tensor's `segment` in place of large values.

    Raises:
        MalformedError: `data` is truncated or is not protobuf.
        RefusedError: functions, sparse weights, external data, or more of anything than a GPEN has.
    """
    return _Outline(data).message("model", 0, len(data))


class _Outline:
    def __init__(self, data: Buffer) -> None:
        self._data = data
        self._fields = self._nodes = self._bytes = 0

    def message(self, kind: str, start: int, end: int) -> bytes:
        data, kept, parts = self._data, _KEPT[kind], []
        for number, wire_type, begin, payload, stop in fields(data, start, end):
            inner, size = kept.get(number), stop - payload
            is_bytes = wire_type == _BYTES
            large = kind == "tensor" and is_bytes and number in _LITTLE_ENDIAN_VALUES and size > _LARGE
            whole = inner is not None and not large and inner not in _KEPT
            self._count(nodes=inner == "node", kept=stop - begin if whole else 0)
            if inner in _REFUSED:
                raise RefusedError(f"it has {inner}, which are not read here")
            if inner == "type" and size > _MOST_TYPE:
                raise RefusedError("the type of an input or output is larger than that of any GPEN")
            if large:
                segment = b"\x08" + _to_varint(payload) + b"\x10" + _to_varint(stop)
                parts.append(_length_delimited(_SEGMENT, segment))
            elif whole:
                parts.append(data[begin:stop])
            elif inner is not None and is_bytes:
                parts.append(_length_delimited(number, self.message(inner, payload, stop)))
        return b"".join(parts)

    def _count(self, *, nodes: bool, kept: int) -> None:
        self._fields += 1
        self._nodes += nodes
        self._bytes += kept
        if self._fields > _MOST_FIELDS or self._nodes > _MOST_NODES or self._bytes > _MOST_BYTES:
            raise RefusedError("its graph is larger than that of any GPEN")


def _to_varint(number: int) -> bytes:
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def _length_delimited(number: int, payload: bytes) -> bytes:
    return _to_varint(number << 3 | _BYTES) + _to_varint(len(payload)) + payload
