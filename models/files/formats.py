"""What kind of file this is, by its content; the extension is not consulted.

Only the first bytes are read (of an ONNX file also the headers of its top-level fields), so that a web page, a git-lfs
pointer or a picture gets its own sentence before a reader meets it.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import BinaryIO, Literal

from ..errors import ModelFileError, ModelNotFoundError
from ..onnx.wire import looks_like_onnx
from .safetensors_files import looks_like_safetensors
from .torch_files import LEGACY_MAGIC

ModelFormat = Literal["torch-zip", "torch-legacy", "safetensors", "onnx"]
Format = Literal["torch-zip", "torch-legacy", "safetensors", "onnx", "pickle"]

AGAIN = "download it again"
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
    """The format of a model file.

    Raises:
        ModelNotFoundError: there is no such file.
        ModelFileError: a folder, a device, an empty file, a web page, a git-lfs pointer, an archive, a picture, a plain
            pickle, or anything else that is not one of the four formats.
    """
    found = sniff(path)
    if found == "pickle":
        raise ModelFileError(path, "it is a pickle that no PyTorch wrote", "give a .pth or .safetensors file")
    return found


def sniff(path: Path) -> Format:
    """As `sniff_format`, but plain pickles are a format, too: a reader says what they would run.

    Raises:
        ModelNotFoundError, ModelFileError: as `sniff_format`.
    """
    try:
        facts = path.stat()
        if stat.S_ISREG(facts.st_mode):
            with path.open("rb") as stream:
                return _by_content(path, stream, facts.st_size)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelNotFoundError(path) from error
    except OSError as error:
        raise unreadable(path, error) from error
    if stat.S_ISDIR(facts.st_mode):
        raise ModelFileError(path, "it is a folder, not a model file", "name one file inside of it")
    raise ModelFileError(path, "it is a device or a pipe, not a model file", "give a file")


def unreadable(path: Path, error: OSError) -> ModelFileError:
    """The sentence for a file that the system does not let us read."""
    reason = error.strerror or type(error).__name__
    return ModelFileError(path, f"it cannot be read ({reason})", "check its permissions and the disk")


def _by_content(path: Path, stream: BinaryIO, size: int) -> Format:
    if size == 0:
        raise ModelFileError(path, "the file is empty", f"the download did not run; {AGAIN}")
    head = stream.read(2048)
    _refuse_text(path, head)
    for magic, kind in _OTHER_FILES:
        if head.startswith(magic):
            raise ModelFileError(path, f"it is {kind}, not a GPEN model", "give the .pth, .safetensors or .onnx file")
    if head.startswith(b"PK\x03\x04"):
        return "torch-zip"
    if looks_like_safetensors(head):
        return "safetensors"
    if LEGACY_MAGIC in head[:64]:
        return "torch-legacy"
    if head.startswith(b"\x80"):
        return "pickle"
    if head[257:262] == b"ustar":
        raise ModelFileError(
            path, "it is a tar archive", "a .pth from before PyTorch 0.4 must be saved again with a newer torch.save"
        )
    if looks_like_onnx(path):
        return "onnx"
    if path.suffix.lower() == ".onnx":
        raise ModelFileError(path, "it is not an ONNX file, whatever its name says", AGAIN)
    raise ModelFileError(
        path,
        "it is neither a PyTorch, a safetensors nor an ONNX file",
        f"{AGAIN}, or give the .pth, .pt, .safetensors or .onnx file",
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
            f"{AGAIN} from the direct link",
        )
    if text.startswith((b'{"error', b'{"message', b'{"code')):
        raise ModelFileError(path, "it is a server's error message saved as a file, not a model", AGAIN)
    if text and all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in head[:512]):
        raise ModelFileError(path, "it is a text file, not a model", AGAIN)
