"""A GPEN run by PyTorch."""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import torch
from torch import nn

from ...gpen_arch import CheckCancel, FastGPEN, never_cancelled
from ..errors import RestoreError
from .restorer import Sizes, check_crops, default_batch_size, from_network, to_network

_log = logging.getLogger(__name__)
_HALF = (torch.float16, torch.bfloat16)


class TorchRestorer:
    """Restores faces with an nn.Module of GPEN's interface: [N,3,in,in] in [-1,1] -> [N,3,out,out].

    The module may be moved to another device between two calls (ComfyUI does that); every call looks where it is.
    Calls from several threads are safe as long as nobody moves the module meanwhile.

    Args:
        module: the network; it is switched to evaluation, without gradients. One with a `dtype` of its own takes
            float32 and narrows it where that is safe; any other gets its input in `dtype`.
        config: its sizes.
        dtype: what it computes in.
        widen: makes the same network in float32, for a face that overflows; by default from the narrow weights.
        name, path, template, warnings: as in `Restorer`.

    Attributes:
        widened: a host that counts memory puts its own way here to have the network in float32: called with the number
            of faces, it gives a context with the network on the module's device. None: a copy is kept there.
    """

    def __init__(
        self,
        module: nn.Module,
        config: Sizes,
        *,
        dtype: torch.dtype = torch.float32,
        widen: Callable[[], nn.Module] | None = None,
        name: str = "GPEN",
        path: Path | None = None,
        template: str = "gpen",
        warnings: tuple[str, ...] = (),
    ) -> None:
        self.module = module.eval().requires_grad_(False)
        self.config = config
        self.dtype = dtype
        self.name = name
        self.path = path
        self.template = template
        self.batch_size = default_batch_size(config.out_size, self.device)
        self._warnings = list(warnings)
        self._widen = widen
        self._lock = threading.Lock()
        self._wide: nn.Module | None = None
        self.widened: Callable[[int], AbstractContextManager[nn.Module]] | None = None

    def __repr__(self) -> str:
        sizes = f"{self.config.in_size}->{self.config.out_size}"
        return f"<{self.name} {sizes} {str(self.dtype).removeprefix('torch.')} on {self.provider}>"

    @property
    def device(self) -> torch.device:
        """Where the weights are now."""
        return next(self.module.parameters()).device

    @property
    def provider(self) -> str:
        """`torch cpu`, `torch cuda (NVIDIA …)`."""
        device = self.device
        if device.type == "cuda":
            return f"torch cuda ({torch.cuda.get_device_name(device)})"
        return f"torch {device.type}"

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences for the report."""
        return tuple(self._warnings)

    def restore(self, crops: torch.Tensor, check_cancel: CheckCancel = never_cancelled) -> torch.Tensor:
        """Restore aligned faces.

        Args:
            crops: (N,H,W,3) floating point RGB in [0,1], any H and W, on any device; never written to.
            check_cancel: asked before every batch and, by the fast engine, many times within a face.

        Returns:
            (N,S,S,3) float32 RGB in [0,1] on the crops' device, S the model's output size.

        Raises:
            TypeError, ValueError: no such tensor, or pixels that are not finite.
            RestoreError: the output is not finite, in float32 either.
        """
        check_crops(crops)
        size = self.config.out_size
        # no_grad, not inference_mode: the caller may keep the result and train with it or write into it
        with torch.no_grad():
            result = torch.empty(len(crops), size, size, 3, dtype=torch.float32, device=crops.device)
            step = max(1, self.batch_size)
            for start in range(0, len(crops), step):
                check_cancel()
                x = to_network(crops[start : start + step], self.config.in_size).to(self.device)
                result[start : start + step] = from_network(self._run(x, check_cancel), crops.device)
        return result

    def _run(self, x: torch.Tensor, check_cancel: CheckCancel) -> torch.Tensor:
        y = _call(self.module, x if hasattr(self.module, "dtype") else x.to(self.dtype), check_cancel)
        if torch.isfinite(y).all():
            return y
        if self.dtype in _HALF:
            with (self.widened or self._kept_wide)(len(x)) as wide:
                y = _call(wide, x, check_cancel)
            if torch.isfinite(y).all():
                self._warn(
                    f"{self.name}: {str(self.dtype).removeprefix('torch.')} overflowed on a face, "
                    "which was repeated in float32; choose precision fp32 or bf16 to spare the second pass"
                )
                return y
        raise RestoreError(
            f"{self.name}: the restored face is not finite (NaN or infinity) in {self.dtype}; "
            "the crop is fine, so the weights do not suit this precision or are damaged: "
            "use precision fp32, or run `models verify` on the file"
        )

    @contextmanager
    def _kept_wide(self, faces: int) -> Iterator[nn.Module]:
        """The same network in float32, made when first needed and kept where the module is."""
        del faces  # nobody counts memory here
        with self._lock, torch.inference_mode(False):
            wide = self._wide
            if wide is None:
                wide = self._widen() if self._widen else copy.deepcopy(self.module).to(torch.float32)
            self._wide = wide = wide.eval().requires_grad_(False).to(self.device)
        yield wide

    def _warn(self, sentence: str) -> None:
        with self._lock:
            if sentence not in self._warnings:
                self._warnings.append(sentence)
                _log.warning("%s", sentence)


def _call(module: nn.Module, x: torch.Tensor, check_cancel: CheckCancel) -> torch.Tensor:
    return module(x, check_cancel) if isinstance(module, FastGPEN) else module(x)
