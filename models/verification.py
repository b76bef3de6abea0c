"""A file held against the catalogue: for `models verify` and `doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .catalogue import CatalogueEntry, entry_of_sha256, find_entry
from .errors import ModelFileError
from .files.formats import sniff, unreadable
from .files.hashing import sha256_of
from .inspection import ModelInfo, inspect_model
from .loading import size_contradiction


@dataclass(frozen=True)
class Verdict:
    """The outcome of `verify_file`.

    Args:
        path: the file.
        sha256: its hash; empty where it could not be read.
        entry: the catalogue's entry of that hash, if any.
        info: what its weights say; None for a detector and for a file that is no GPEN.
        problem: why it cannot be used; empty if it can.
        contradiction: where name and content disagree; empty if they do not.
    """

    path: Path
    sha256: str
    entry: CatalogueEntry | None
    info: ModelInfo | None
    problem: str = ""
    contradiction: str = ""

    @property
    def usable(self) -> bool:
        """Whether the file can be used, as a GPEN or as a detector."""
        return not self.problem


def verify_file(path: Path | str) -> Verdict:
    """What a file is by its hash and by its weights, and whether its name agrees. Raises nothing for a bad file."""
    path = Path(path)
    try:
        sniff(path)
        sha256 = sha256_of(path)
    except ModelFileError as error:
        return Verdict(path, "", None, None, problem=str(error))
    except OSError as error:
        return Verdict(path, "", None, None, problem=str(unreadable(path, error)))
    entry = entry_of_sha256(sha256)
    promised = find_entry(path.name)
    contradiction = ""
    if entry is not None and entry.filename.casefold() != path.name.casefold() and promised not in (None, entry):
        contradiction = f"{path.name} has the bytes of {entry.filename}"
    elif entry is None and promised is not None and promised.sha256 is not None:
        contradiction = f"{path.name} is not the published file: its sha256 is not {promised.sha256}"
    if entry is not None and entry.kind == "detector":
        return Verdict(path, sha256, entry, None, contradiction=contradiction)
    try:
        info = inspect_model(path)
    except ModelFileError as error:
        return Verdict(path, sha256, entry, None, problem=str(error), contradiction=contradiction)
    size = size_contradiction(path, info)
    if not contradiction and size:
        contradiction = f"{path.name}: {size}"
    return Verdict(path, sha256, entry, info, contradiction=contradiction)
