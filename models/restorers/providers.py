"""Which ONNX Runtime provider runs, and why it is not the one that was asked for."""

from __future__ import annotations

import importlib.metadata
from types import ModuleType

import torch

CPU = "CPUExecutionProvider"
# per kind of device, the best first; TensorRT is left out: it compiles for minutes
_BY_DEVICE = {
    "cuda": ("CUDAExecutionProvider", "MIGraphXExecutionProvider", "ROCMExecutionProvider", "DmlExecutionProvider"),
    "mps": ("CoreMLExecutionProvider",),
    "xpu": ("OpenVINOExecutionProvider", "DmlExecutionProvider"),
    "privateuseone": ("DmlExecutionProvider",),
}
_PACKAGES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-rocm")


def import_onnxruntime() -> ModuleType:
    """The package onnxruntime. Raises ImportError with what to install."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(
            "running a graph that is not understood needs the package onnxruntime, which is missing or broken; "
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


def providers_for(device: torch.device, available: list[str]) -> list[str | tuple[str, dict[str, str]]]:
    """What to ask a session for: the provider for this device, where there is one, and the CPU behind it."""
    wanted: list[str | tuple[str, dict[str, str]]] = []
    for name in _BY_DEVICE.get(device.type, ()):
        if name in available:
            indexed = device.index is not None and name != "CoreMLExecutionProvider"
            wanted.append((name, {"device_id": str(device.index)}) if indexed else name)
            break
    return [*wanted, CPU]


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
