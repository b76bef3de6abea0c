"""What can go wrong with a model, in one sentence each: which file, what it is, what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


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
        super().__init__(f"{path}: {what}" + (f"; {remedy}" if remedy else "") + ".")


class ModelNotFoundError(ModelFileError):
    """No such file, and no such name in any of the folders.

    Args:
        wanted: the path or name that was asked for.
        folders: where it was looked for.
        near: names that come close, or all that is there.
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
    """An ONNX graph that no GPEN's weights can be read from; the message says why, and names the node."""


class RestoreError(RuntimeError):
    """The network ran and its output cannot be used (it is not finite)."""


class DownloadError(OSError):
    """A download did not come to its end; the message says how to fetch the file by hand."""
