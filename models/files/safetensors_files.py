"""The tensors of a .safetensors file from its header: 8 bytes with its length (little endian), JSON, then the data.

The package ``safetensors`` is not needed for that, and its readers open the file by name once more for every question.
Source: github.com/huggingface/safetensors, "Format".
"""

from __future__ import annotations

import json
import math
import mmap
from typing import Any

import torch

from .tensor_records import DamagedError, TensorRecord, locate

MOST_HEADER_BYTES = 4 << 20  # a GPEN's header has 20 kB; the format allows 100 MB, which JSON turns into gigabytes
_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
_DTYPES |= {
    name: getattr(torch, attribute)
    for name, attribute in (("F8_E4M3", "float8_e4m3fn"), ("F8_E5M2", "float8_e5m2"))
    if hasattr(torch, attribute)
}


def looks_like_safetensors(head: bytes) -> bool:
    """Whether these first bytes are those of a safetensors file."""
    return len(head) >= 10 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= 100_000_000


def read_safetensors(data: mmap.mmap) -> tuple[dict[str, TensorRecord], dict[str, str]]:
    """The tensors of a safetensors file, and its free text fields (license, template, …).

    Raises:
        DamagedError: the header is cut off, is no JSON or contradicts the size of the file.
    """
    length = int.from_bytes(data[:8], "little")
    if length > MOST_HEADER_BYTES:
        raise DamagedError(f"its safetensors header has {length:,} bytes; {MOST_HEADER_BYTES:,} are allowed")
    start = 8 + length
    if start > len(data):
        raise DamagedError("its safetensors header is cut off")
    try:
        header = json.loads(data[8:start])
    except (ValueError, RecursionError) as error:  # ValueError: also bytes that are no UTF-8
        raise DamagedError("its safetensors header is damaged: no JSON") from error
    if not isinstance(header, dict):
        raise DamagedError("its safetensors header is damaged: no object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise DamagedError("its safetensors header is damaged: metadata that is no text")
    return {name: _record(entry, start, len(data)) for name, entry in header.items()}, metadata


def _record(entry: Any, start: int, size: int) -> TensorRecord:
    if not isinstance(entry, dict):
        raise DamagedError("its safetensors header is damaged: a tensor that is no object")
    kind, shape, places = (entry.get(key) for key in ("dtype", "shape", "data_offsets"))
    dtype = _DTYPES.get(kind) if isinstance(kind, str) else None
    if dtype is None:
        raise DamagedError("its safetensors header is damaged: an unknown dtype")
    if not isinstance(places, list) or [type(place) for place in places] != [int, int] or not isinstance(shape, list):
        raise DamagedError("its safetensors header is damaged: data_offsets")
    if not 0 <= places[0] <= places[1]:
        raise DamagedError("its safetensors header is damaged: data_offsets")
    if start + places[1] > size:
        raise DamagedError(f"{size:,} of at least {start + places[1]:,} bytes")
    record = locate(dtype, shape, None, 0, start + places[0], start + places[1])
    if math.prod(record.shape) * dtype.itemsize != places[1] - places[0]:
        raise DamagedError("its safetensors header is damaged: a shape that does not fit its bytes")
    return record
