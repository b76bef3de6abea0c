"""The value of a GPEN_MODEL socket: a network that ComfyUI manages, and its fallbacks when memory is short."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ..models import Restorer, load_gpen
from ..models.restorers.restorer import default_batch_size
from ..models.restorers.torch_restorer import TorchRestorer
from ..restoration import FallbackStep
from ..restoration.running.memory import working_bytes
from . import host

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class GpenModel:
    """A restorer and the patcher by which ComfyUI moves its weights.

    Args:
        path: the file; read again where another precision or device is needed.
        restorer: the network, still on the CPU.
        patcher: comfy.model_patcher.ModelPatcher; None where ONNX Runtime holds the weights.
        precision: what was asked for; only "auto" may be narrowed.
        cpu_fallback: whether to continue on the CPU if the GPU's memory is too small.
    """

    def __init__(
        self, path: Path, restorer: Restorer, patcher: Any, precision: str = "fp32", cpu_fallback: bool = False
    ) -> None:
        self.path = path
        self.restorer = restorer
        self.patcher = patcher
        self.precision = precision
        self.cpu_fallback = cpu_fallback
        self._others: dict[str, GpenModel] = {}

    @property
    def load_device(self) -> torch.device:
        """Where it runs once ComfyUI has loaded it."""
        return self.restorer.device if self.patcher is None else self.patcher.load_device

    def bring_to_device(self, working_bytes: int) -> None:
        """Let ComfyUI free memory and load the whole network."""
        if self.patcher is not None:
            host.bring_to_device(self.patcher, working_bytes)

    def fallbacks(self) -> list[FallbackStep]:
        """Fallbacks for a face that does not fit into memory, mildest first; built when needed, kept for later runs."""
        steps: list[FallbackStep] = []
        if self.load_device.type == "cpu":  # bf16 saves little there, and is slow on a processor without it
            return steps
        narrows = self.precision == "auto" and self.patcher is not None and self.restorer.dtype == torch.float32
        if narrows and host.has_bf16(self.load_device):
            steps.append(self._step("in bf16", lambda: read_model(self.path, "bf16")))
        if self.cpu_fallback:
            steps.append(self._step("on the CPU", lambda: read_model(self.path, "auto", on_cpu=True)))
        return steps

    def _step(self, name: str, read: Callable[[], GpenModel]) -> FallbackStep:
        def other() -> GpenModel:
            if name not in self._others:
                self._others[name] = read()
            return self._others[name]

        return FallbackStep(name, lambda: other().restorer, lambda needed: other().bring_to_device(needed))


class WideCopy:
    """The network in float32 for faces that overflow: loaded, counted and offloaded by ComfyUI as any other model.

    Args:
        path: the file, read again when the first face overflows.
        narrow: the patcher of the network that it stands in for; brought back when the face is done, for ComfyUI may
            have had to make room.
    """

    def __init__(self, path: Path, narrow: Any, *, on_cpu: bool) -> None:
        self._path, self._narrow, self._on_cpu = path, narrow, on_cpu
        self._wide: GpenModel | None = None

    @contextmanager
    def __call__(self, faces: int) -> Iterator[torch.nn.Module]:
        """The network on ComfyUI's device, with room for so many faces."""
        if self._wide is None:
            self._wide = read_model(self._path, "fp32", on_cpu=self._on_cpu)
        wide = self._wide.restorer
        assert wide.module is not None  # a file that PyTorch has run once runs in PyTorch again
        self._wide.bring_to_device(working_bytes(wide, faces))
        yield wide.module
        host.bring_to_device(self._narrow, 0)


def read_model(path: Path, precision: str, *, on_cpu: bool = False, cpu_fallback: bool = False) -> GpenModel:
    """Read the file and wrap its network for ComfyUI's memory manager.

    Raises:
        ModelFileError: the file is no GPEN.
    """
    target = torch.device("cpu") if on_cpu else host.torch_device()
    # weights wait on the CPU until they are needed
    restorer = load_gpen(path, device="cpu", dtype=DTYPES.get(precision), runs_on=target)
    restorer.batch_size = default_batch_size(restorer.config.out_size, target)
    patcher = None if restorer.module is None else host.patcher(restorer.module, target, on_cpu=on_cpu)
    if isinstance(restorer, TorchRestorer) and restorer.dtype != torch.float32:
        restorer.widened = WideCopy(path, patcher, on_cpu=on_cpu)
    return GpenModel(path, restorer, patcher, precision, cpu_fallback)
