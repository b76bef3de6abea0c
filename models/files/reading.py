"""Safe reading of weight files: no code from a file is ever run, and what cannot be read is said in one sentence."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..errors import ModelFileError, ModelNotFoundError
from .formats import ModelFormat, sniff_format
from .pickles import refused_pickle
from .unwrapping import flatten, unwrap

_AGAIN = "download it again"


def read_state_dict(path: Path | str) -> dict[str, torch.Tensor]:
    """Read the weights of any network from a .pth, .pt or .safetensors file; the content decides, not the extension.

    Pickles are read with ``weights_only`` alone, so one that would run code is refused, not run. Wrappers are taken
    off (`g_ema`, preferred over `g`, `params_ema`, `params`, `state_dict`, `module.`, nested in any way).

    Returns:
        Tensors on the CPU in the stored dtype; they may be views of the mapped file: copy what is to outlive it.

    Raises:
        ModelNotFoundError: there is no such file.
        ModelFileError: the file is damaged, is no weight file, is an ONNX file, or would run code.
    """
    path = Path(path)
    if not path.exists():
        raise ModelNotFoundError(path)
    file_format = sniff_format(path)
    if file_format == "onnx":
        raise ModelFileError(path, "it is an ONNX graph, not a state dict", "load it with load_gpen")
    if file_format == "safetensors":
        flat = _read_safetensors(path)
    else:
        flat = flatten(_read_torch(path, file_format))
    if not flat:
        raise ModelFileError(path, "it holds no tensors", "give a file with the network's weights")
    return unwrap(flat)


def read_metadata(path: Path) -> dict[str, str]:
    """The free text fields of a safetensors file (license, template, …); empty for every other format."""
    if sniff_format(path) != "safetensors":
        return {}
    with _safetensors(path).safe_open(str(path), framework="pt") as file:
        return dict(file.metadata() or {})


def check_finite(path: Path, state_dict: Mapping[str, torch.Tensor]) -> None:
    """Refuse weights that are not numbers.

    A sum is not finite if any term is not: one pass a tensor, and the exact look only where the sum overflowed.

    Raises:
        ModelFileError: a tensor holds NaN or infinity, or no floating-point numbers; it is named.
    """
    for key, tensor in state_dict.items():
        if not tensor.is_floating_point():
            what = f"{key} holds {_name(tensor.dtype)} where floating-point weights belong"
            raise ModelFileError(path, what, "give the unquantised file")
        wide = torch.float64 if tensor.dtype == torch.float64 else torch.float32
        if not torch.isfinite(tensor.sum(dtype=wide)):
            bad = tensor.numel() - int(torch.isfinite(tensor.to(wide)).sum())
            if bad:
                raise ModelFileError(
                    path,
                    f"{key} holds {bad:,} of {tensor.numel():,} weights that are NaN or infinite",
                    f"the file is damaged or its training diverged; {_AGAIN}",
                )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _read_torch(path: Path, file_format: ModelFormat) -> object:
    try:
        # a memory map reads nothing twice; files from before PyTorch 1.6 cannot be mapped
        return torch.load(path, map_location="cpu", weights_only=True, mmap=file_format == "torch-zip")
    except pickle.UnpicklingError as error:
        raise refused_pickle(path) from error
    except (EOFError, RuntimeError, ValueError, OSError, KeyError, IndexError, AttributeError, TypeError) as error:
        raise ModelFileError(path, f"the file is truncated or damaged ({_first_line(error)})", _AGAIN) from error


def _safetensors(path: Path) -> Any:  # the module; Any because its stubs lack safe_open's context manager
    try:
        import safetensors
        import safetensors.torch
    except ImportError as error:
        raise ModelFileError(
            path, "reading it needs the package safetensors, which is missing", "run `pip install safetensors`"
        ) from error
    return safetensors


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    package = _safetensors(path)
    try:
        return package.torch.load_file(str(path), device="cpu")
    except (package.SafetensorError, OSError, ValueError, KeyError) as error:
        raise ModelFileError(path, f"the file is truncated or damaged ({_first_line(error)})", _AGAIN) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160].rstrip(".")
