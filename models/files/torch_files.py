"""Checkpoints of ``torch.save`` without ``torch.load``: zip archives, and the format from before PyTorch 1.6.

A zip archive holds ``name/data.pkl`` and the storages ``name/data/KEY``, uncompressed. The older format is five pickles
in a row (a magic number, the protocol, facts about the machine, the content, the keys of the storages), then every
storage with its count of elements in front. Source: ``torch/serialization.py``, ``_save`` and ``_legacy_save``.
"""

from __future__ import annotations

import io
import mmap
import zlib
from collections.abc import Callable
from pathlib import Path

from ..errors import ModelFileError
from .pickle_machine import MOST_BYTES, StoredTensor, Unpickled, unpickle
from .recognition import recognise_foreign
from .tensor_records import DamagedError, TensorRecord, locate
from .unwrapping import flatten
from .zip_members import Member, read_members

LEGACY_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the pickled magic number of the older format
_AGAIN = "download it again"
_RESAVE = "save its state_dict() with torch.save or as .safetensors and give that"
_Region = Callable[[str], tuple[int, int]]


def read_torch_zip(path: Path, data: mmap.mmap) -> dict[str, TensorRecord]:
    """The tensors of a zip archive, under dotted names.

    Raises:
        ModelFileError: it holds no weights, would run code, or holds what is not read here.
        DamagedError: its parts contradict one another.
    """
    members = read_members(data)
    inner = {name.split("/", 1)[-1]: member for name, member in members.items()}
    if "data.pkl" not in inner:
        listed = ", ".join(list(members)[:3])
        what = f"it is a zip archive without PyTorch weights (it holds {listed[:200]})"
        raise ModelFileError(path, what, "unpack it and give a file of it")
    if "constants.pkl" in inner and any(name.startswith("code/") for name in inner):
        what = "it is a TorchScript program, not plain weights, and programs from files are not run"
        raise ModelFileError(path, what, "save its state_dict() and give that")
    if len(inner) != len(members):
        raise DamagedError("its zip archive holds more than one checkpoint")
    pickle = inner["data.pkl"]
    used = [pickle, *(member for name, member in inner.items() if name.startswith("data/"))]
    if not all(member.stored for member in used):
        raise ModelFileError(path, "its zip archive is compressed, which torch.save never does", _RESAVE)
    if pickle.end - pickle.start > MOST_BYTES:
        raise DamagedError(f"its pickle has more than {MOST_BYTES:,} bytes")
    if _bytes(data, inner.get("byteorder")) == b"big":
        raise ModelFileError(path, "its weights are stored in big-endian order", _RESAVE)
    raw = data[pickle.start : pickle.end]
    if pickle.crc32 and pickle.crc32 != zlib.crc32(raw):
        raise DamagedError("the checksum of its pickle is wrong")

    def region(key: str) -> tuple[int, int]:
        if f"data/{key}" not in inner:
            raise DamagedError("a storage is missing")
        member = inner[f"data/{key}"]
        return member.start, member.end

    return _records(_plain_content(path, unpickle(io.BytesIO(raw))), region)


def read_torch_legacy(path: Path, data: mmap.mmap) -> dict[str, TensorRecord]:
    """The tensors of a file from before PyTorch 1.6, under dotted names.

    Raises:
        ModelFileError, DamagedError: as `read_torch_zip`.
    """
    stream = io.BytesIO(data[:MOST_BYTES])
    _, _, machine, content, keys = (unpickle(stream) for _ in range(5))
    value = _plain_content(path, content)
    if machine.problem or keys.problem or not isinstance(keys.value, list):
        raise DamagedError(machine.problem or keys.problem or "the keys of its storages are missing")
    if isinstance(machine.value, dict) and machine.value.get("little_endian") is False:
        raise ModelFileError(path, "its weights are stored in big-endian order", _RESAVE)
    regions: dict[str, tuple[int, int]] = {}
    position = stream.tell()
    for key in map(str, keys.value):
        if key not in content.storages:
            raise DamagedError("its pickle does not know one of its storages")
        count = int.from_bytes(data[position : position + 8], "little")
        start = position + 8
        position = start + count * content.storages[key].itemsize
        if position > len(data):
            raise DamagedError("its last storages are cut off")
        regions[key] = (start, position)

    def region(key: str) -> tuple[int, int]:
        if key not in regions:
            raise DamagedError("a storage is missing")
        return regions[key]

    return _records(value, region)


def refused_pickle(path: Path, data: mmap.mmap) -> ModelFileError:
    """The sentence for a plain pickle, which no PyTorch wrote: what it would run, or which network it is."""
    try:
        _plain_content(path, unpickle(io.BytesIO(data[:MOST_BYTES])))
    except ModelFileError as error:
        return error
    except DamagedError:
        pass
    return ModelFileError(path, "the file is damaged or holds no PyTorch weights", _AGAIN)


def _plain_content(path: Path, found: Unpickled) -> object:
    """The content of a pickle that holds nothing but data.

    Raises:
        ModelFileError, DamagedError: it holds more, or could not be read.
    """
    if found.calls or found.unsupported or found.problem:
        network = recognise_foreign(text for text in found.strings if len(text) < 200)
        if network is not None:
            raise ModelFileError(path, f"it is {network.name}, not a GPEN model", network.remedy)
    if found.calls:
        names = sorted(dict.fromkeys(found.calls), key=lambda name: name.startswith(("torch.", "numpy.")))
        called = ", ".join(name[:80] for name in names[:3])
        raise ModelFileError(
            path,
            f"it is a pickle that would run code when loaded ({called}), so it was not loaded",
            "save it as plain weights (.safetensors) with the program it came from, or get it from another source",
        )
    if found.unsupported:
        what = f"it holds tensors that are not plain ones (they need {found.unsupported[0][:80]})"
        raise ModelFileError(path, what, _RESAVE)
    if found.problem:
        raise DamagedError(found.problem)
    return found.value


def _records(value: object, region: _Region) -> dict[str, TensorRecord]:
    return {name: _record(tensor, region) for name, tensor in flatten(value, StoredTensor).items()}


def _record(tensor: StoredTensor, region: _Region) -> TensorRecord:
    storage = tensor.storage
    start, end = region(storage.key)
    if start + storage.numel * storage.dtype.itemsize > end or storage.numel < 0:
        raise DamagedError("a storage is shorter than its pickle says")
    end = start + storage.numel * storage.dtype.itemsize
    if storage.view is not None:
        first, count = storage.view
        if first < 0 or count < 0 or first + count > storage.numel:
            raise DamagedError("a view reaches beyond its storage")
        start, end = (start + place * storage.dtype.itemsize for place in (first, first + count))
    return locate(tensor.dtype, tensor.shape, tensor.stride, tensor.offset, start, end)


def _bytes(data: mmap.mmap, member: Member | None) -> bytes:
    return b"" if member is None else data[member.start : min(member.end, member.start + 16)]
