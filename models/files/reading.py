"""Weight files of any format: opened once, described by their headers, and mapped when the weights are asked for.

No code from a file is ever run, on any version of PyTorch: `pickle_machine` reads pickles without calling anything.
What reading may allocate is bounded before it is allocated, and whatever is wrong with a file is a `ModelFileError`.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ..errors import ModelFileError
from .formats import AGAIN, Format, sniff, unreadable
from .safetensors_files import read_safetensors
from .tensor_records import DamagedError, TensorRecord
from .torch_files import read_torch_legacy, read_torch_zip, refused_pickle
from .unwrapping import unwrap


@dataclass(frozen=True)
class WeightFile:
    """A weight file whose header has been read.

    Args:
        path, format: of the file.
        tensors: where its tensors lie, wrappers (`g_ema`, `params`, `module.`, …) taken off.
        metadata: the free text fields of a safetensors file; empty for other formats.
        data: the mapped file.
    """

    path: Path
    format: Format
    tensors: Mapping[str, TensorRecord]
    metadata: Mapping[str, str] = field(default_factory=dict)
    data: mmap.mmap | None = None

    def read(self) -> dict[str, torch.Tensor]:
        """The tensors on the CPU in the stored dtype, views of the mapped file where it aligns them."""
        assert self.data is not None
        return {name: record.read(self.data) for name, record in self.tensors.items()}

    def empty(self) -> dict[str, torch.Tensor]:
        """Meta tensors of the same shapes and dtypes: nothing of the weights is read."""
        return {name: record.empty() for name, record in self.tensors.items()}


def open_weights(path: Path | str, file_format: Format | None = None) -> WeightFile:
    """Open a .pth, .pt or .safetensors file of any network and read its header; the content decides what it is.

    Args:
        path: the file.
        file_format: what `sniff` said of it; None: it is asked.

    Raises:
        ModelNotFoundError: there is no such file.
        ModelFileError: the file is damaged, is no weight file, is an ONNX file, or would run code.
    """
    path = Path(path)
    file_format = file_format or sniff(path)
    if file_format == "onnx":
        raise ModelFileError(path, "it is an ONNX graph, not a state dict", "load it with load_gpen")
    try:
        with path.open("rb") as stream:
            # private: a write into a view never reaches the file
            data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
        return _described(path, file_format, data)
    except DamagedError as error:
        raise ModelFileError(path, f"the file is truncated or damaged ({error})", AGAIN) from error
    except OSError as error:
        raise unreadable(path, error) from error


def _described(path: Path, file_format: Format, data: mmap.mmap) -> WeightFile:
    metadata: dict[str, str] = {}
    if file_format == "safetensors":
        tensors, metadata = read_safetensors(data)
    elif file_format == "torch-zip":
        tensors = read_torch_zip(path, data)
    elif file_format == "torch-legacy":
        tensors = read_torch_legacy(path, data)
    else:
        raise refused_pickle(path, data)
    if not tensors:
        raise ModelFileError(path, "it holds no tensors", "give a file with the network's weights")
    tensors = unwrap(tensors)
    total = sum(record.nbytes for record in tensors.values())
    if total > 2 * len(data):
        raise DamagedError(f"its tensors overlap: they take {total:,} bytes, the file has {len(data):,}")
    return WeightFile(path, file_format, tensors, metadata, data)


def read_state_dict(path: Path | str) -> dict[str, torch.Tensor]:
    """The weights of any network from a .pth, .pt or .safetensors file.

    Wrappers are taken off: `g_ema` (preferred over `g`), `params_ema`, `params`, `state_dict`, `module.`, nested in any
    way.

    Returns:
        Tensors on the CPU in the stored dtype; they may be views of the mapped file: copy what is to outlive it.

    Raises:
        ModelNotFoundError, ModelFileError: as `open_weights`.
    """
    return open_weights(path).read()


def read_metadata(path: Path) -> dict[str, str]:
    """The free text fields of a safetensors file (license, template, …); empty for every other format.

    Raises:
        ModelNotFoundError, ModelFileError: as `open_weights`.
    """
    file_format = sniff(path)
    return dict(open_weights(path, file_format).metadata) if file_format == "safetensors" else {}


def check_weights_finite(path: Path, state_dict: Mapping[str, torch.Tensor]) -> None:
    """Refuse weights that are NaN, infinite or no floating-point numbers.

    A sum is not finite if any term is not: one pass per tensor, and the exact count only where the sum overflowed.

    Raises:
        ModelFileError: the tensor is named.
    """
    for key, tensor in state_dict.items():
        if not tensor.is_floating_point():
            what = f"{key} holds {str(tensor.dtype).removeprefix('torch.')} where floating-point weights belong"
            raise ModelFileError(path, what, "give the unquantised file")
        wide = torch.float64 if tensor.dtype == torch.float64 else torch.float32
        if not torch.isfinite(tensor.sum(dtype=wide)):
            bad = tensor.numel() - int(torch.isfinite(tensor.to(wide)).sum())
            if bad:
                what = f"{key} holds {bad:,} of {tensor.numel():,} weights that are NaN or infinite"
                raise ModelFileError(path, what, f"the file is damaged or its training diverged; {AGAIN}")
