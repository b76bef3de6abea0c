"""A GPEN run by ONNX Runtime."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...gpen_arch import CheckCancel, never_cancelled
from ..errors import ModelFileError, RestoreError
from .providers import CPU, import_onnxruntime, open_session, why_cpu
from .restorer import Sizes, check_crops, default_batch_size, from_network, to_network

_log = logging.getLogger(__name__)
_DTYPES = {"tensor(float)": torch.float32, "tensor(float16)": torch.float16}


class OnnxRestorer:
    """Restores faces with an ONNX Runtime session; names, shapes and types come from the session.

    Args:
        path: the .onnx file.
        config: its sizes, as `onnx_sizes` reads them from the graph.
        device: where it is wanted; what really runs is read back from the session, and said.
        dtype: asked for; a graph computes in what it was exported in, so another one gives a warning.
        name, template, warnings: as in `Restorer`.

    Raises:
        ModelFileError: onnxruntime is missing or cannot run the file.
    """

    module = None

    def __init__(
        self,
        path: Path,
        config: Sizes,
        device: torch.device,
        *,
        dtype: torch.dtype | None = None,
        name: str = "",
        template: str = "gpen",
        warnings: tuple[str, ...] = (),
    ) -> None:
        self.config = config
        self.name = name or path.stem
        self.path: Path | None = path
        self.template = template
        self._warnings = list(warnings)
        self._session, available = _open_session(path, device)
        self._input = self._session.get_inputs()[0]
        self._output = self._session.get_outputs()[0]
        self.dtype = _DTYPES[self._input.type]
        active = self._session.get_providers()[0]
        self.provider = f"onnxruntime {active}"
        self.device = torch.device("cpu") if active == CPU else device
        self.batch_size = default_batch_size(self.config.out_size, self.device)
        self._lock = threading.Lock()  # not every provider may run twice at once
        if active == CPU and device.type != "cpu":
            self._warnings.append(f"{path.name} runs on the CPU, not on {device.type}: {why_cpu(device, available)}")
        if dtype is not None and dtype != self.dtype:
            has, wanted = (str(d).removeprefix("torch.") for d in (self.dtype, dtype))
            self._warnings.append(f"{path.name} computes in {has}, as it was exported, not in {wanted}")
        for sentence in self._warnings[len(warnings) :]:
            _log.warning("%s", sentence)

    def __repr__(self) -> str:
        return f"<{self.name} {self.config.in_size}->{self.config.out_size} on {self.provider}>"

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences for the report."""
        return tuple(self._warnings)

    def restore(self, crops: torch.Tensor, check_cancel: CheckCancel = never_cancelled) -> torch.Tensor:
        """(N,H,W,3) floating point in [0,1] -> (N,S,S,3) float32 in [0,1] on the crops' device.

        Raises:
            TypeError, ValueError: no such tensor, or pixels that are not finite.
            RestoreError: the output is not finite.
        """
        check_crops(crops)
        size = self.config.out_size
        fixed = self._input.shape[0]
        step = fixed if isinstance(fixed, int) else max(1, self.batch_size)
        with torch.no_grad():
            result = torch.empty(len(crops), size, size, 3, dtype=torch.float32, device=crops.device)
            for start in range(0, len(crops), step):
                check_cancel()
                x = to_network(crops[start : start + step], self.config.in_size).to("cpu", self.dtype).numpy()
                result[start : start + step] = from_network(self._run(x, step), crops.device)
        return result

    def _run(self, x: np.ndarray, batch: int) -> torch.Tensor:
        count = len(x)
        if isinstance(self._input.shape[0], int) and count < batch:  # a fixed batch is filled up
            x = np.concatenate([x, np.repeat(x[-1:], batch - count, axis=0)])
        with self._lock:
            (y,) = self._session.run([self._output.name], {self._input.name: x})
        if not np.isfinite(y).all():
            raise RestoreError(
                f"{self.name}: the restored face is not finite (NaN or infinity) in {self.dtype} on {self.provider}; "
                "use a float32 export or the .pth file"
            )
        return torch.from_numpy(np.ascontiguousarray(y[:count]))


def _open_session(path: Path, device: torch.device) -> tuple[Any, list[str]]:
    try:
        return open_session(path, device)
    except ImportError as error:
        raise ModelFileError(path, str(error)) from error
    except Exception as error:  # onnxruntime's errors have no common class
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        what = f"onnxruntime {import_onnxruntime().__version__} cannot run it ({reason})"
        raise ModelFileError(path, what, "download it again, or update onnxruntime") from error
