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

from ...gpen_arch import CheckCancel, never_cancelled
from ...gpen_arch.autocast import no_autocast
from ...gpen_arch.tf32 import runs_tf32
from ..errors import RestoreError
from .finiteness import both_finite, check_crop_values, faces_not_finite
from .restorer import OnNotice, Sizes, check_crops, default_batch_size, from_network, to_network

_log = logging.getLogger(__name__)
_HALF = {torch.bfloat16: "bf16", torch.float16: "fp16"}


class TorchRestorer:
    """Restores faces with an engine, as :func:`build_engine` makes it.

    The engine may be moved to another device between two calls (ComfyUI does that); every call looks where it is.
    Calls from several threads are safe as long as nobody moves the engine meanwhile.

    Args:
        module: the engine: ``module(x, check_cancel)`` takes [N,3,in,in] float32 in [-1,1] and gives [N,3,out,out] of
            any floating dtype. Its ``tf32`` says whether it allows TF32; without one, PyTorch's default is assumed.
        config: its sizes.
        dtype: what it computes in.
        widen: makes the same engine in float32, for faces that overflow; by default from the narrow weights.
        name, path, template, warnings: as in `Restorer`.

    Attributes:
        widened: a host that counts memory sets this to provide the float32 engine itself: called with the number of
            faces, it returns a context with the engine on the module's device. None: a copy is kept on that device.
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
        self.warnings = warnings
        self.batch_size = default_batch_size(config.out_size, self.device)
        self._widen = widen
        self._lock = threading.Lock()
        self._wide: nn.Module | None = None
        self.widened: Callable[[int], AbstractContextManager[nn.Module]] | None = None

    def __repr__(self) -> str:
        return f"<{self.name} {self.config.in_size}->{self.config.out_size} {self.precision} on {self.provider}>"

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
    def precision(self) -> str:
        """What it computes in on its current device: "fp32", "tf32" (convolutions only), "bf16" or "fp16"."""
        if self.dtype in _HALF:
            return _HALF[self.dtype]
        return "tf32" if getattr(self.module, "tf32", True) and runs_tf32(self.device) else "fp32"

    def restore(
        self,
        crops: torch.Tensor,
        check_cancel: CheckCancel = never_cancelled,
        on_notice: OnNotice | None = None,
    ) -> torch.Tensor:
        """Restored faces, for aligned crops.

        The host waits for one value per batch, whether crops and faces are finite. What the host's program set as
        default dtype, default device and autocast has no effect.

        Args:
            crops: (N,H,W,3) floating point RGB in [0,1], any H and W, on any device; never written to.
            check_cancel: called before every batch and by the engine many times within a face.
            on_notice: gets "widened" for faces that overflowed and were repeated in float32; None: that is logged.

        Returns:
            (N,S,S,3) float32 RGB in [0,1] on the crops' device, S the model's output size.

        Raises:
            TypeError, ValueError: not a batch of crops, or pixels that are not finite.
            RestoreError: the output is not finite, in float32 either.
        """
        check_crops(crops)
        size, device = self.config.out_size, self.device
        # no_grad, not inference_mode: the caller may keep the result and train with it or write into it
        with torch.no_grad(), no_autocast(crops.device, device):
            result = torch.empty(len(crops), size, size, 3, dtype=torch.float32, device=crops.device)
            step = max(1, self.batch_size)
            for start in range(0, len(crops), step):
                check_cancel()
                part = crops[start : start + step]
                x = to_network(part, self.config.in_size).to(device)
                y = self.module(x, check_cancel)
                if not both_finite(part, y):
                    check_crop_values(part, start, len(crops))
                    y = self._repeat_overflowed(x, y, check_cancel, on_notice)
                result[start : start + step] = from_network(y, crops.device)
        return result

    def _repeat_overflowed(
        self, x: torch.Tensor, y: torch.Tensor, check_cancel: CheckCancel, on_notice: OnNotice | None
    ) -> torch.Tensor:
        """``y`` with its faces that are not finite computed again in float32; the other faces stay as they are."""
        bad = faces_not_finite(y)
        if len(bad) == 0:
            return y
        if self.dtype in _HALF:
            with (self.widened or self._kept_wide)(len(bad)) as wide:
                repeated = wide(x[bad], check_cancel)
            if len(faces_not_finite(repeated)) == 0:
                self._notify(len(bad), on_notice)
                return y.to(torch.float32).index_copy(0, bad, repeated.to(torch.float32))
        raise RestoreError(
            f"{self.name}: the restored face is not finite (NaN or infinity) in {self.dtype}; "
            "the crop is fine, so the weights do not suit this precision or are damaged: "
            "use precision fp32, or run `models verify` on the file"
        )

    def _notify(self, faces: int, on_notice: OnNotice | None) -> None:
        dtype = str(self.dtype).removeprefix("torch.")
        if on_notice is not None:
            on_notice("widened", {"model": self.name, "dtype": dtype, "faces": faces})
            return
        _log.warning("%s: %s overflowed on %d face(s), which were repeated in float32", self.name, dtype, faces)

    @contextmanager
    def _kept_wide(self, faces: int) -> Iterator[nn.Module]:
        """The same engine in float32, made on first use and kept on the device of the module."""
        del faces  # only a host that counts memory needs it
        with self._lock, torch.inference_mode(False):
            wide = self._wide
            if wide is None:
                wide = self._widen() if self._widen else copy.deepcopy(self.module).to(torch.float32)
            self._wide = wide = wide.eval().requires_grad_(False).to(self.device)
        yield wide
