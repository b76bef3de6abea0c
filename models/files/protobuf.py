"""Just enough of the protobuf wire format to look into an ONNX file without loading its 285 MB of weights.

ONNX Runtime does not tell the names of a graph's weights, and the `onnx` package parses the whole file; the names and
shapes are all that is needed to tell one network from another. Source: protobuf.dev/programming-guides/encoding and
the field numbers of `onnx.proto`.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# onnx.proto, message ModelProto: ir_version, model_version; strings, graph, opsets, metadata, functions, devices
_MODEL_FIELDS = {1: _VARINT, 5: _VARINT} | dict.fromkeys((2, 3, 4, 6, 7, 8, 14, 20, 25, 26), _BYTES)
GRAPH_FIELD = 7


class MalformedError(ValueError):
    """The bytes are not protobuf, or end in the middle of a field."""


class Field(NamedTuple):
    """One field: its number, its wire type, a varint's value, and where a length-delimited one's bytes lie."""

    number: int
    wire_type: int
    value: int
    start: int
    end: int


def read_varint(stream: BinaryIO | mmap.mmap) -> int | None:
    """The next varint, or None at the end of the file. Raises MalformedError."""
    result = shift = 0
    while True:
        byte = stream.read(1)
        if not byte:
            if shift:
                raise MalformedError("ends inside a number")
            return None
        result |= (byte[0] & 0x7F) << shift
        if not byte[0] & 0x80:
            return result
        shift += 7
        if shift > 63:
            raise MalformedError("number longer than 64 bits")


def fields(stream: BinaryIO | mmap.mmap, start: int, end: int) -> Iterator[Field]:
    """The fields of the message that lies at bytes start…end; payloads are skipped, not read.

    Raises:
        MalformedError: no protobuf, or a field that reaches beyond `end`.
    """
    position = start
    while position < end:
        stream.seek(position)
        tag = read_varint(stream)
        if tag is None:
            raise MalformedError("ends before its last field")
        number, wire_type, value = tag >> 3, tag & 7, 0
        payload = stream.tell()
        if wire_type == _VARINT:
            value = read_varint(stream) or 0
            position = payload = stream.tell()
        elif wire_type == _BYTES:
            length = read_varint(stream)
            if length is None:
                raise MalformedError("ends before a field's length")
            payload = stream.tell()
            position = payload + length
        elif wire_type in (_FIXED64, _FIXED32):
            position = payload + (8 if wire_type == _FIXED64 else 4)
        else:
            raise MalformedError(f"unknown wire type {wire_type}")
        if number == 0 or position > end:
            raise MalformedError("a field reaches beyond the end")
        yield Field(number, wire_type, value, payload, position)


def looks_like_onnx(path: Path) -> bool:
    """Whether the top-level fields are those of an ONNX model, of which the last may be cut off.

    Raises nothing: bytes that are no protobuf are no ONNX.
    """
    seen: set[int] = set()
    size = path.stat().st_size
    position = 0
    with path.open("rb") as stream:
        try:
            for field in fields(stream, 0, size):
                if _MODEL_FIELDS.get(field.number) != field.wire_type:
                    return False
                seen.add(field.number)
                position = field.end
            return GRAPH_FIELD in seen
        except MalformedError:
            # a truncated model: what lies in front of the cut is right, and the graph is what does not fit
            stream.seek(position)
            return bool(seen) and stream.read(1) == bytes([GRAPH_FIELD << 3 | _BYTES])
