"""CUDA graphs around an engine: an option for many faces of one shape on a GPU where the weights stay in place."""

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
    """Calls an engine through one recorded graph per input shape, which saves launching some five hundred kernels.

    A graph holds addresses and the memory of its activations. So it is recorded anew after any weight has moved (as
    ComfyUI moves models), results are copied out of it, and calls from several threads take turns. Where a call cannot
    be recorded, the engine itself runs, and ``declined`` says why. A replay cannot be cancelled, so there is no
    ``check_cancel``.

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
        """[N,3,in,in] -> [N,3,out,out] float32, as the engine does."""
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
            with torch.cuda.device(x.device):
                recording.graph.replay()
            return recording.y.clone()

    def why_not(self, x: torch.Tensor) -> str | None:
        """Why a call with ``x`` cannot be recorded, or None."""
        config = self.engine.config
        if self.engine.declined is not None:
            return f"the fast engine declined: {self.engine.declined}"
        if config.out_size > config.in_size:
            return "the SR variant draws its noise on the CPU in every call, which a graph cannot record"
        devices = {x.device, *(tensor.device for tensor in self._tensors())}
        if len(devices) > 1 or x.device.type != "cuda":
            return f"expected the input and the weights on one CUDA device, got {sorted(map(str, devices))}"
        if len(x) == 0:
            return "the batch is empty"
        return None

    def forget_if_moved(self) -> None:
        """Drop all recordings if any parameter or buffer has moved since they were made."""
        addresses = tuple(tensor.data_ptr() for tensor in self._tensors())
        if addresses != self._addresses:
            self._recordings.clear()
            self._addresses = addresses

    def _record(self, x: torch.Tensor) -> _Recording:
        with torch.cuda.device(x.device):  # streams and graphs belong to the current device
            return self._record_here(x.detach().clone())

    def _record_here(self, static: torch.Tensor) -> _Recording:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # cuDNN selects its algorithms before the recording
            for _ in range(2):
                self.engine(static)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = self.engine(static)
        return _Recording(graph, static, y)

    def _tensors(self) -> list[torch.Tensor]:
        return [*self.engine.parameters(), *self.engine.buffers()]
