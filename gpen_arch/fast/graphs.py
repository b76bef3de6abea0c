"""CUDA graphs around an engine: an option for whoever runs many faces of one shape on a GPU that nothing else moves."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import torch

from .engine import FastGPEN, ReferenceEngine


@dataclass
class _Recording:
    graph: torch.cuda.CUDAGraph
    x: torch.Tensor
    y: torch.Tensor


class CudaGraphs:
    """Calls an engine through a recorded graph a shape, which spares the launch of some five hundred small kernels.

    A graph holds addresses and the memory of its activations. So it is recorded anew when any weight has moved (as
    ComfyUI moves models), results are copied out of it, and calls from several threads take turns. Where a call can't
    be recorded the engine itself answers, and ``declined`` says why. A replay runs on the device to its end: nobody can
    be asked inside whether it is still wanted, so this has no ``check_cancel``.

    Args:
        engine: from :func:`build_engine`.
    """

    def __init__(self, engine: FastGPEN | ReferenceEngine) -> None:
        self.engine = engine
        self.declined: str | None = None
        self._recordings: dict[tuple[torch.Size, torch.dtype], _Recording] = {}
        self._addresses: tuple[int, ...] = ()
        self._lock = threading.Lock()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """[N,3,in,in] -> [N,3,out,out] float32, as the engine."""
        self.declined = self.why_not(x)
        if self.declined is not None:
            return self.engine(x)
        with self._lock, torch.inference_mode(False), torch.no_grad():
            self.forget_if_moved()
            key = (x.shape, x.dtype)
            if key not in self._recordings:
                self._recordings[key] = self._record(x)
            recording = self._recordings[key]
            recording.x.copy_(x)
            recording.graph.replay()
            return recording.y.clone()

    def why_not(self, x: torch.Tensor) -> str | None:
        """Why a call with ``x`` is not recorded, or None."""
        config = self.engine.config
        if self.engine.declined is not None:
            return f"the fast engine declined: {self.engine.declined}"
        if config.out_size > config.in_size:
            return "the SR variant draws its noise on the CPU at every call, which no graph can hold"
        devices = {x.device, *(tensor.device for tensor in self._tensors())}
        if len(devices) > 1 or x.device.type != "cuda":
            return f"the input and the weights are not all on one CUDA device but on {sorted(map(str, devices))}"
        if len(x) == 0:
            return "there is no face"
        return None

    def forget_if_moved(self) -> None:
        """Drop all recordings when any parameter or buffer lies elsewhere than when they were made."""
        addresses = tuple(tensor.data_ptr() for tensor in self._tensors())
        if addresses != self._addresses:
            self._recordings.clear()
            self._addresses = addresses

    def _record(self, x: torch.Tensor) -> _Recording:
        static = x.detach().clone()
        stream = torch.cuda.Stream(x.device)
        stream.wait_stream(torch.cuda.current_stream(x.device))
        with torch.cuda.stream(stream):  # cuDNN chooses its algorithms before the recording
            for _ in range(2):
                self.engine(static)
        torch.cuda.current_stream(x.device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = self.engine(static)
        return _Recording(graph, static, y)

    def _tensors(self) -> list[torch.Tensor]:
        return [*self.engine.parameters(), *self.engine.buffers()]
