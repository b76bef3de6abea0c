"""What a pickle would do and hold, told by reading its opcodes; nothing in it is ever run."""

from __future__ import annotations

import pickletools
import zipfile
from pathlib import Path
from typing import BinaryIO

from ..errors import ModelFileError
from .recognition import recognise_foreign

# what a plain state dict needs, and what torch itself allows
_HARMLESS = ("collections OrderedDict", "torch._utils _rebuild", "torch FloatStorage", "torch HalfStorage")
_MAX_BYTES = 64 << 20  # the opcodes of a checkpoint take far less; weights lie behind or beside them


def refused_pickle(path: Path) -> ModelFileError:
    """The sentence for a file that ``weights_only`` refused: which code it would run, or which network it is."""
    calls, strings = _contents(path)
    network = recognise_foreign(strings)
    if network is not None:
        return ModelFileError(path, f"it is {network.name}, not a GPEN model", network.remedy)
    if calls:
        return ModelFileError(
            path,
            f"it is a pickle that would run code when loaded ({', '.join(calls[:3])}), so it was not loaded",
            "save it as plain weights (.safetensors) with the program it came from, or get it from another source",
        )
    return ModelFileError(path, "the file is damaged or holds no PyTorch weights", "download it again")


def _contents(path: Path) -> tuple[list[str], list[str]]:
    """Names of the functions and classes that a pickle calls for, harmless ones left out, and its strings."""
    calls: list[str] = []
    strings: list[str] = []
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            inner = next((n for n in archive.namelist() if n.rsplit("/", 1)[-1] == "data.pkl"), None)
            if inner is not None and archive.getinfo(inner).file_size <= _MAX_BYTES:
                with archive.open(inner) as stream:
                    _scan(stream, calls, strings)  # type: ignore[arg-type]  # a zip member reads like a binary file
    else:
        with path.open("rb") as stream:
            while _scan(stream, calls, strings):  # old torch files are several pickles in a row, then raw weights
                pass
    return list(dict.fromkeys(calls)), strings


def _scan(stream: BinaryIO, calls: list[str], strings: list[str]) -> bool:
    """Read one pickle's opcodes; False where there is none (any more)."""
    recent: list[str] = []
    try:
        for opcode, argument, position in pickletools.genops(stream):
            if (position or 0) > _MAX_BYTES:
                return False
            if opcode.name == "GLOBAL":
                call = str(argument)
            elif opcode.name == "STACK_GLOBAL":
                call = " ".join(recent[-2:])
            else:
                if isinstance(argument, str):
                    recent.append(argument)
                    strings.append(argument)
                continue
            if not call.startswith(_HARMLESS):
                calls.append(call.replace(" ", "."))
    except (ValueError, EOFError, KeyError, UnicodeError):  # pickletools' way of saying that this is no pickle
        return False
    return True
