"""Errors of model files, one sentence each: which file, what is wrong with it, what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def _one_line(text: str) -> str:
    """The text with control characters escaped: names of tensors and files may hold any."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


class ModelFileError(ValueError):
    """A file that cannot serve as a model.

    Args:
        path: the file.
        what: what it is or what is wrong with it, without a full stop ("it is a web page, not a model").
        remedy: what the user can do about it, without a full stop.
    """

    def __init__(self, path: Path | str, what: str, remedy: str = "") -> None:
        self.path = Path(path)
        self.what = what
        self.remedy = remedy
        super().__init__(_one_line(f"{path}: {what}" + (f"; {remedy}" if remedy else "") + "."))


class ModelNotFoundError(ModelFileError):
    """There is no such file, and no such name in any of the folders.

    Args:
        wanted: the path or name that was asked for.
        folders: where it was looked for.
        near: similar names, or all that is there.
        remedy: how to get it.
    """

    def __init__(
        self, wanted: Path | str, folders: Sequence[Path | str] = (), near: Sequence[str] = (), remedy: str = ""
    ) -> None:
        self.folders = tuple(Path(f) for f in folders)
        self.near = tuple(near)
        what = "no such model file"
        if folders:
            what += " here, nor a model of that name in " + ", ".join(str(f) for f in folders)
        hints = []
        if near:
            hints.append("there is " + ", ".join(near))
        if remedy:
            hints.append(remedy)
        super().__init__(wanted, what, "; ".join(hints))


class GraphNotUnderstoodError(ValueError):
    """GPEN's weights cannot be read from an ONNX graph; the message says why and names the node."""


class RestoreError(RuntimeError):
    """The network's output is not finite."""


class DownloadError(OSError):
    """A download failed; the message says how to fetch the file by hand."""
