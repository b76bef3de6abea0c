"""Out of memory: fewer faces at once, then narrower numbers, then the CPU, and every step is told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ..models import Restorer
from .callbacks import CheckCancel, FreeMemory, never_cancelled
from .report import Report

_log = logging.getLogger(__name__)
# values for every pixel of the output's side, once and for every face, and bytes of a value beside the activations':
# above what the fast engine holds at 256 to 2048 px on an accelerator, by a margin for the convolutions' own needs
_FIXED, _PER_FACE, _FLOAT32_SHARE = 272_000, 75_000, 0.3
_SMALLEST = 256  # px, of the published models
_SAID = (
    "out of memory",
    "can't allocate memory",
    "failed to allocate memory",
    "cannot allocate memory",
    "status_alloc_failed",  # cuBLAS, cuDNN, hipBLAS
    "not enough gpu video memory",  # DirectML
)


@dataclass(frozen=True)
class Rung:
    """Another way to run the same model, taken where the memory does not suffice for one face.

    Attributes:
        name: what the report calls it, "in bf16" or "on the CPU".
        make: builds the restorer; called once, and only when it is needed.
        free_memory: brings that restorer to its device, as the host's own does for the first one.
    """

    name: str
    make: Callable[[], Restorer]
    free_memory: FreeMemory | None = None


class OutOfMemoryError(RuntimeError):
    """Not even one face fits, in any of the ways that were allowed; the message says what to change."""


class Ladder:
    """Runs crops through a restorer and steps down for the rest of its life where the memory does not suffice.

    Args:
        restorer: the first choice; never changed, so the next run starts at the top again.
        report: gets a warning for each step taken.
        free_memory: asks the host to make room on the restorer's device and to bring the network there.
        rungs: what to try after a batch of one, in this order.
        check_cancel: asked by the restorer while it works.
    """

    def __init__(
        self,
        restorer: Restorer,
        report: Report,
        free_memory: FreeMemory | None = None,
        rungs: Sequence[Rung] = (),
        check_cancel: CheckCancel = never_cancelled,
    ) -> None:
        self.restorer = restorer
        self.batch_size = max(1, restorer.batch_size)
        self._report = report
        self._free_memory = free_memory
        self._check_cancel = check_cancel
        self._rungs = list(rungs)
        self._tried: list[str] = []
        self._ran: list[tuple[str, torch.dtype]] = []  # kind of device and precision of all that was tried
        self._said = ""

    def prepare(self, faces: int) -> None:
        """Let the host make room for as many of ``faces`` as go through at once."""
        if self._free_memory is not None:
            self._free_memory(working_bytes(self.restorer, min(faces, self.batch_size)))

    def restore(self, crops: torch.Tensor) -> torch.Tensor:
        """(N,H,W,3) float in 0…1 -> (N,S,S,3) float32 on the crops' device.

        Raises:
            OutOfMemoryError: the last rung failed on a single face.
        """
        parts: list[torch.Tensor] = []
        start = 0
        while start < len(crops):
            part = crops[start : start + self.batch_size]
            restored = self._attempt(part)
            if restored is None:  # outside of the except block, which would keep the failed tensors alive
                self._step_down(len(part))
                continue
            parts.append(restored)
            start += len(part)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _attempt(self, crops: torch.Tensor) -> torch.Tensor | None:
        try:
            return self.restorer.restore(crops, self._check_cancel)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self._said = (str(error).strip().splitlines() or [type(error).__name__])[0]
            return None

    def _step_down(self, faces: int) -> None:
        was = f"{self.restorer.provider}, {faces} at once"
        self._tried.append(was)
        self._ran.append((self.restorer.device.type, self.restorer.dtype))
        if faces > 1:
            self.batch_size = faces // 2
            self._tell(was, f"{self.batch_size} at once")
        elif self._rungs:
            rung = self._rungs.pop(0)
            self.restorer, self._free_memory = rung.make(), rung.free_memory
            self._tell(was, rung.name)
        else:
            raise OutOfMemoryError(self._advice())
        self.prepare(1)

    def _tell(self, was: str, step: str) -> None:
        sentence = f"out of memory ({was}): went on {step}"
        _log.warning("%s: %s", self.restorer.name, sentence)
        self._report.warn(sentence)

    def _advice(self) -> str:
        size, gigabytes = self.restorer.config.out_size, working_bytes(self.restorer) / 1e9
        return (
            f"{self.restorer.name}: out of memory with one face of {size} px, which needs about {gigabytes:.1f} GB "
            f"beside the weights (tried: {'; '.join(self._tried)}; {self._said}). To go on, {self._ways_out()}."
        )

    def _ways_out(self) -> str:
        """What has not been tried and would help."""
        ways = []
        accelerated = {dtype for device, dtype in self._ran if device != "cpu"}
        if accelerated == {torch.float32} and self.restorer.module is not None:
            ways.append("choose precision bf16")
        if self.restorer.config.out_size > _SMALLEST:
            ways.append("choose a smaller model")
        if all(device != "cpu" for device, _ in self._ran):
            ways.append("let the CPU do it (cpu_fallback, or --device cpu)")
        ways.append("free memory by unloading other models")
        return f"{', '.join(ways[:-1])} or {ways[-1]}" if len(ways) > 1 else ways[0]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of PyTorch, ONNX Runtime or Python says that memory ran out, on whatever device."""
    # the class moved from torch.cuda to torch in 2.5
    kinds = tuple(home.OutOfMemoryError for home in (torch, torch.cuda) if hasattr(home, "OutOfMemoryError"))
    if isinstance(error, (*kinds, MemoryError)):
        return True
    text = str(error).casefold()
    return any(words in text for words in _SAID)


def working_bytes(restorer: Restorer, faces: int = 1) -> int:
    """Memory that so many faces need on the restorer's device beside the weights, estimated from the output's size."""
    value = restorer.dtype.itemsize + _FLOAT32_SHARE
    return int(value * restorer.config.out_size * (_FIXED + _PER_FACE * faces))
