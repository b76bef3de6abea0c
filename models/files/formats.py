"""What kind of file this is, by its first bytes; its extension is never asked.

Everything here reads a few hundred bytes (an ONNX file: its top-level field headers), so that a truncated download, a
web page or a git-lfs pointer gets its own sentence before any reader chokes on it.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Literal

from ..errors import ModelFileError
from ..onnx.wire import looks_like_onnx
from .pickles import refused_pickle

ModelFormat = Literal["torch-zip", "torch-legacy", "safetensors", "onnx"]

_AGAIN = "download it again"
_LEGACY_TORCH = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the pickled magic number that torch.save wrote before 1.6
_OTHER_FILES: tuple[tuple[bytes, str], ...] = (
    (b"GGUF", "a GGUF file (quantised language or diffusion model)"),
    (b"\x89HDF\r\n", "a Keras or HDF5 file"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"%PDF", "a PDF document"),
)


def sniff_format(path: Path) -> ModelFormat:
    """The format of a model file, decided by its content.

    Raises:
        ModelFileError: a folder, an empty or truncated file, a web page, a git-lfs pointer, an archive, a picture,
            or anything else that is not one of the four formats.
    """
    if path.is_dir():
        raise ModelFileError(path, "it is a folder, not a model file", "name one file inside of it")
    size = path.stat().st_size
    if size == 0:
        raise ModelFileError(path, "the file is empty", f"the download did not run; {_AGAIN}")
    with path.open("rb") as stream:
        head = stream.read(2048)
    _refuse_text(path, head)
    for magic, kind in _OTHER_FILES:
        if head.startswith(magic):
            raise ModelFileError(path, f"it is {kind}, not a GPEN model", "give the .pth, .safetensors or .onnx file")
    if head.startswith(b"PK\x03\x04"):
        _check_torch_zip(path)
        return "torch-zip"
    if _is_safetensors(path, head, size):
        return "safetensors"
    if _LEGACY_TORCH in head[:64]:
        return "torch-legacy"
    if head.startswith(b"\x80"):
        raise refused_pickle(path)
    if head[257:262] == b"ustar":
        raise ModelFileError(
            path, "it is a tar archive", "a .pth from before PyTorch 0.4 must be saved again with a newer torch.save"
        )
    if looks_like_onnx(path):
        return "onnx"
    if path.suffix.lower() == ".onnx":
        raise ModelFileError(path, "it is not an ONNX file, whatever its name says", _AGAIN)
    raise ModelFileError(
        path,
        "it is neither a PyTorch, a safetensors nor an ONNX file",
        f"{_AGAIN}, or give the .pth, .pt, .safetensors or .onnx file",
    )


def _refuse_text(path: Path, head: bytes) -> None:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"version https://git-lfs"):
        raise ModelFileError(
            path,
            "it is a git-lfs pointer of a few lines, not the model itself",
            "run `git lfs pull` in its repository, or download the file itself",
        )
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml", b"<!--")) or b"<html" in text[:512]:
        raise ModelFileError(
            path,
            "it is a web page, not a model (a link to a page, a login or an error was saved under this name)",
            f"{_AGAIN} from the direct link",
        )
    if text.startswith((b'{"error', b'{"message', b'{"code')):
        raise ModelFileError(path, "it is a server's error message saved as a file, not a model", _AGAIN)
    if text and all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in head[:512]) and b"\0" not in head:
        start = head[:40].decode("ascii").strip().splitlines()[:1]
        raise ModelFileError(path, f"it is a text file (it starts with {start[0] if start else ''!r})", _AGAIN)


def _check_torch_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, EOFError) as error:
        raise ModelFileError(path, "the file is truncated (the end of its zip archive is missing)", _AGAIN) from error
    inner = {name.split("/", 1)[-1] for name in names}
    if "data.pkl" not in inner:
        listed = ", ".join(names[:3])
        raise ModelFileError(
            path, f"it is a zip archive without PyTorch weights (it holds {listed})", "unpack it and give a file of it"
        )
    if "constants.pkl" in inner and any(name.startswith("code/") for name in inner):
        raise ModelFileError(
            path,
            "it is a TorchScript program, not plain weights, and programs from files are not run",
            "save its state_dict() and give that",
        )


def _is_safetensors(path: Path, head: bytes, size: int) -> bool:
    """Whether it is a safetensors file: 8 bytes of header length (little endian), then JSON."""
    if len(head) < 10 or head[8:9] != b"{":
        return False
    length = int.from_bytes(head[:8], "little")
    if length > 100_000_000:  # the format's own limit
        return False
    if 8 + length > size:
        raise ModelFileError(path, "the file is truncated (its safetensors header is cut off)", _AGAIN)
    with path.open("rb") as stream:
        stream.seek(8)
        raw = stream.read(length)
    try:
        header = json.loads(raw)
    except ValueError:
        return False
    entries = [entry for entry in header.values() if isinstance(entry, dict)]
    try:
        ends = [int(entry["data_offsets"][1]) for entry in entries if "data_offsets" in entry]
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise ModelFileError(path, "its safetensors header is damaged (data_offsets)", _AGAIN) from error
    expected = 8 + length + max(ends, default=0)
    if size < expected:
        raise ModelFileError(path, f"the file is truncated ({size:,} of {expected:,} bytes)", _AGAIN)
    return True
