"""ONNX Runtime sessions: the one place for provider lists, their options and the session options of all our graphs."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import logging
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

CPU = "CPUExecutionProvider"
# per kind of device, the best first; TensorRT is left out: it compiles for minutes
_BY_DEVICE = {
    "cuda": ("CUDAExecutionProvider", "MIGraphXExecutionProvider", "ROCMExecutionProvider", "DmlExecutionProvider"),
    "mps": ("CoreMLExecutionProvider",),
    "xpu": ("OpenVINOExecutionProvider", "DmlExecutionProvider"),
    "privateuseone": ("DmlExecutionProvider",),
}
_COMPILES = ("CoreMLExecutionProvider", "OpenVINOExecutionProvider")  # anew for every input shape
# the exhaustive search of cuDNN's algorithms takes seconds per input shape, and the arena would double at each growth
_CUDA = {"cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"}
_PACKAGES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-rocm")
_INDEXED = ("CUDAExecutionProvider", "MIGraphXExecutionProvider", "ROCMExecutionProvider", "DmlExecutionProvider")

Provider = str | tuple[str, dict[str, str]]

_log = logging.getLogger(__name__)


def import_onnxruntime() -> ModuleType:
    """The package onnxruntime.

    Raises:
        ImportError: missing or broken; says what to install.
    """
    try:
        import onnxruntime
    except (ImportError, OSError, ValueError) as error:  # a library that does not load; compiled for another numpy
        raise ImportError(
            f"the package onnxruntime is missing or broken ({error}); "
            "run `pip install onnxruntime-gpu` (NVIDIA) or `pip install onnxruntime`"
        ) from error
    return onnxruntime


def installed_packages() -> tuple[str, ...]:
    """The ONNX Runtime distributions that are installed; more than one write into the same folder."""
    found = []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return tuple(found)


def providers_for(device: torch.device, available: list[str], *, varied_shapes: bool = False) -> list[Provider]:
    """What to ask a session for: the provider of this device, if there is one, and the CPU behind it.

    Args:
        device: where the graph is to run.
        available: ``onnxruntime.get_available_providers()``.
        varied_shapes: the graph is run with many input shapes, so providers that compile per shape are left out.
    """
    for name in _BY_DEVICE.get(device.type, ()):
        if name in available and not (varied_shapes and name in _COMPILES):
            options = _options(name, device)
            return [(name, options) if options else name, CPU]
    return [CPU]


def _options(name: str, device: torch.device) -> dict[str, str]:
    options = dict(_CUDA) if name == "CUDAExecutionProvider" else {}
    if name in _INDEXED and device.index is not None:
        options["device_id"] = str(device.index)
    if name == "OpenVINOExecutionProvider":  # by default it runs on the CPU
        options["device_type"] = "GPU" if device.index is None else f"GPU.{device.index}"
    return options


def open_session(path: Path, device: torch.device, *, varied_shapes: bool = False) -> tuple[Any, list[str]]:
    """An ``onnxruntime.InferenceSession`` of a file, and the providers that were available.

    Its threads do not spin while they wait: beside another busy process spinning makes every run many times slower.
    A provider that does not start is left out with a warning in the log; what runs is ``session.get_providers()[0]``.

    Raises:
        ImportError: no onnxruntime; says what to install.
        Exception: onnxruntime cannot run the file; its errors have no common class.
    """
    runtime = import_onnxruntime()
    available = runtime.get_available_providers()
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors; a fallback is reported by us
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    providers = providers_for(device, available, varied_shapes=varied_shapes)
    if providers != [CPU] and "CUDA" in providers[0][0] and hasattr(runtime, "preload_dlls"):
        with contextlib.redirect_stdout(io.StringIO()):  # it prints warnings; what does not start is reported below
            runtime.preload_dlls()  # CUDA and cuDNN as pip installed them
    try:  # onnxruntime's own fallback prints
        session = runtime.InferenceSession(str(path), options, providers=providers, enable_fallback=0)
    except Exception as error:  # no common class
        if providers == [CPU]:
            raise
        _log.warning("%s: %s did not start (%s)", path.name, providers[0], " ".join(str(error).split())[:200])
        session = runtime.InferenceSession(str(path), options, providers=[CPU], enable_fallback=0)
    return session, available


def why_cpu(device: torch.device, available: list[str]) -> str:
    """Why a session that was wanted on ``device`` runs on the CPU, and what mends it, in one sentence."""
    accelerators = [name for name in _BY_DEVICE.get(device.type, ()) if name in available]
    if accelerators:
        return (
            f"{accelerators[0]} is installed but did not start (its CUDA, cuDNN or driver libraries are missing or of "
            "another version; the log of onnxruntime names them)"
        )
    packages = installed_packages()
    names = {package.split()[0] for package in packages}
    if "onnxruntime" in names and len(names) > 1:
        other = next(package for package in packages if not package.startswith("onnxruntime "))
        return (
            f"the CPU package onnxruntime hides {other} (both write into one folder): "
            f"run `pip uninstall -y onnxruntime {other.split()[0]}`, then `pip install {other.split()[0]}`"
        )
    has = packages[0] if packages else "this onnxruntime"
    mend = {"cuda": "onnxruntime-gpu", "privateuseone": "onnxruntime-directml", "xpu": "onnxruntime-openvino"}
    package = mend.get(device.type)
    return f"{has} has no provider for {device.type}" + (
        f": run `pip uninstall -y onnxruntime`, then `pip install {package}`" if package else ""
    )
