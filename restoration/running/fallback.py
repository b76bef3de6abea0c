"""Out of memory: fewer faces per call, then other ways to run the model, and the report tells every step."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ...models import RestoreError, Restorer
from ..callbacks import CancelWatch, FreeMemory, never_cancelled
from .memory import is_out_of_memory, working_bytes
from .restorer_traits import OnNotice, batch_size_of, call, device_of, dtype_of, name_of, provider_of

_log = logging.getLogger(__name__)
_SMALLEST = 256  # px, of the published models
_CPU = torch.device("cpu")
_NOT_OF_THE_WAY = (TypeError, ValueError, RestoreError)


@dataclass(frozen=True)
class FallbackStep:
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


class MemoryFallback:
    """Loads and runs a restorer, and steps down for the rest of its life where the memory does not suffice.

    Loading, building the next restorer and running are covered alike. A fresh object starts with the first choice.

    Args:
        restorer: the first choice; never changed.
        free_memory: asks the host to make room on the restorer's device and to bring the network there.
        steps: what to try after a batch of one, in this order.
        check_cancel: asked by the restorer while it works; what it raises is never taken for a failure.
    """

    def __init__(
        self,
        restorer: Restorer,
        free_memory: FreeMemory | None = None,
        steps: Sequence[FallbackStep] = (),
        check_cancel: CancelWatch | None = None,
    ) -> None:
        self.restorer: Any = restorer
        self.batch_size = batch_size_of(restorer)
        self._free_memory = free_memory
        self._steps = list(steps)
        self._check_cancel = check_cancel or CancelWatch(never_cancelled)
        self._way = ""  # of the steps; empty for the first choice
        self._ready = False
        self._beside = 0
        self._tried: list[str] = []
        self._ran: list[tuple[str, torch.dtype]] = []  # kind of device and precision of all that was tried
        self._said = ""
        self._failed: Exception | None = None

    def prepare(self, faces: int, on_notice: OnNotice, beside: int = 0) -> None:
        """Let the host make room for as many of ``faces`` as go through at once and load the network, once.

        Args:
            beside: bytes that frames need on the device beside the network.

        Raises:
            OutOfMemoryError: it fits in none of the ways.
        """
        self._beside = beside
        while not self._ready:
            at_once = min(faces, self.batch_size)
            if self._attempt(lambda at_once=at_once: self._load(at_once)) is None:
                self._step_down(at_once, 1, on_notice)  # weights that do not fit do not care for half a batch

    def restore(self, crops: torch.Tensor, on_notice: OnNotice) -> torch.Tensor:
        """(N,H,W,3) float in 0…1 -> (N,S,S,3) float32 on the crops' device.

        Raises:
            OutOfMemoryError: the last way failed on a single face.
        """
        parts: list[torch.Tensor] = []
        start = 0
        while start < len(crops):
            self.prepare(len(crops) - start, on_notice, self._beside)
            part = crops[start : start + self.batch_size]
            restored = self._attempt(lambda part=part: call(self.restorer, part, self._check_cancel, on_notice))
            if restored is None:  # outside of the except block, which would keep the failed tensors alive
                self._step_down(len(part), len(part) // 2, on_notice)
                continue
            parts.append(restored)
            start += len(part)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _load(self, at_once: int) -> bool:
        if self._free_memory is not None:
            self._free_memory(working_bytes(self.restorer, at_once) + self._beside)
        self._ready = True
        return True

    def _attempt(self, work: Callable[[], Any]) -> Any:
        """The result of ``work``, or None where memory ran out, or where a later way of running does not work."""
        try:
            return work()
        except Exception as error:
            self._check_cancel.pass_on(error)
            self._failed = None if is_out_of_memory(error) else error
            # the first choice's own errors, and what is wrong with the face, are for the caller
            if self._failed is not None and (not self._way or isinstance(error, _NOT_OF_THE_WAY)):
                raise
            self._said = _first_line(error)
            return None

    def _step_down(self, faces: int, fewer: int, on_notice: OnNotice) -> None:
        """From ``faces`` at once to ``fewer``, or from one at once to the next way."""
        failed, name = self._failed, name_of(self.restorer)
        was = f"{provider_of(self.restorer)}, {faces} at once"
        self._tried.append(was if failed is None else f"{self._way}: {self._said}")
        self._ran.append((device_of(self.restorer, _CPU).type, dtype_of(self.restorer)))
        self._ready = False
        if failed is not None:
            on_notice("step_failed", {"step": self._way, "error": self._said})
            if not self._steps:
                raise RuntimeError(
                    f"{name} {self._way}: {self._said} (before that, out of memory: {'; '.join(self._tried[:-1])})"
                ) from failed
            self._next_restorer(on_notice)
            return
        if faces > 1:
            self.batch_size = fewer
            step = f"{fewer} at once"
        else:
            step = self._next_restorer(on_notice)
        _log.warning("%s: out of memory (%s): went on %s", name, was, step)
        on_notice("out_of_memory", {"was": was, "step": step})

    def _next_restorer(self, on_notice: OnNotice) -> str:
        """Build the next restorer that can be built; its name."""
        while self._steps:
            step = self._steps.pop(0)
            try:
                self.restorer = step.make()
            except Exception as error:
                self._check_cancel.pass_on(error)
                if is_out_of_memory(error):
                    self._said = _first_line(error)
                self._tried.append(f"{step.name}: {_first_line(error)}")
                _log.warning("%s %s failed: %s", name_of(self.restorer), step.name, error)
                on_notice("step_failed", {"step": step.name, "error": _first_line(error)})
                continue
            self._free_memory, self._way = step.free_memory, step.name
            return step.name
        raise OutOfMemoryError(self._advice())

    def _advice(self) -> str:
        size, gigabytes = self.restorer.config.out_size, working_bytes(self.restorer) / 1e9
        return (
            f"{name_of(self.restorer)}: out of memory with one face of {size} px, which needs about {gigabytes:.1f} GB "
            f"beside the weights (tried: {'; '.join(self._tried)}; {self._said}). To go on, {self._ways_out()}."
        )

    def _ways_out(self) -> str:
        """What has not been tried and would help."""
        ways = []
        accelerated = {dtype for device, dtype in self._ran if device != "cpu"}
        if accelerated == {torch.float32} and getattr(self.restorer, "module", None) is not None:
            ways.append("choose precision bf16")
        if self.restorer.config.out_size > _SMALLEST:
            ways.append("choose a smaller model")
        if all(device != "cpu" for device, _ in self._ran):
            ways.append("let the CPU do it (cpu_fallback, or --device cpu)")
        ways.append("free memory by unloading other models")
        return f"{', '.join(ways[:-1])} or {ways[-1]}" if len(ways) > 1 else ways[0]


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
