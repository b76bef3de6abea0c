"""What a file really is, whatever it is called: for `models verify`, for `doctor`, and after a download."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from .catalogue import CatalogueEntry, entry_of_sha256, find_entry
from .errors import GraphNotUnderstoodError, ModelFileError, ModelNotFoundError
from .files.formats import ModelFormat, sniff_format
from .files.hashing import sha256_of
from .loading import name_warnings, read_gpen, size_contradiction, why_onnxruntime
from .onnx.graph import read_onnx_graph
from .onnx.recognition import onnx_sizes
from .onnx.weights import RecoveredWeights


@dataclass(frozen=True)
class ModelInfo:
    """What a GPEN file holds.

    Args:
        format: "torch-zip", "torch-legacy", "safetensors" or "onnx".
        in_size, out_size: sides in pixels.
        parameters: how many weights; None for an ONNX file whose graph is not understood.
        dtype: what they are stored in.
        warnings: what is odd about the file.
    """

    format: ModelFormat
    in_size: int
    out_size: int
    parameters: int | None
    dtype: str
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        sizes = f"{self.out_size} px" if self.in_size == self.out_size else f"{self.in_size} -> {self.out_size} px"
        count = f", {self.parameters / 1e6:.1f} M parameters" if self.parameters else ""
        return f"GPEN {sizes}{count}, {self.dtype} ({self.format})"


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


def inspect_model(path: Path | str) -> ModelInfo:
    """Read a model file as `load_gpen` would, without building the network.

    Raises:
        ModelFileError: as `load_gpen`.
    """
    path = Path(path)
    if not path.exists():
        raise ModelNotFoundError(path)
    file_format = sniff_format(path)
    try:
        state_dict, config = read_gpen(path)
    except GraphNotUnderstoodError as error:
        graph = read_onnx_graph(path)
        sizes, warnings = onnx_sizes(path, graph)
        warnings = (*name_warnings(path, sizes), why_onnxruntime(path, error), *warnings)
        return ModelInfo(file_format, sizes.in_size, sizes.out_size, None, graph.inputs[0].dtype, warnings)
    if isinstance(state_dict, RecoveredWeights):
        state_dict = state_dict.stored()
    parameters = sum(value.numel() for key, value in state_dict.items() if not key.endswith(".kernel"))
    dtypes: Counter[str] = Counter()
    for value in state_dict.values():
        dtypes[str(value.dtype).removeprefix("torch.")] += value.numel()
    dtype = dtypes.most_common(1)[0][0]
    warnings = name_warnings(path, config)
    return ModelInfo(file_format, config.in_size, config.out_size, parameters, dtype, warnings)


def verify_file(path: Path | str) -> Verdict:
    """Hold a file against the catalogue's hashes and look at what its weights say. Raises nothing for a bad file."""
    path = Path(path)
    try:
        if not path.exists():
            raise ModelNotFoundError(path)
        sniff_format(path)
        sha256 = sha256_of(path)
    except (ModelFileError, OSError) as error:
        return Verdict(path, "", None, None, problem=str(error))
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
    except (ModelFileError, OSError) as error:
        return Verdict(path, sha256, entry, None, problem=str(error), contradiction=contradiction)
    size = size_contradiction(path, info)
    if not contradiction and size:
        contradiction = f"{path.name}: {size}"
    return Verdict(path, sha256, entry, info, contradiction=contradiction)
