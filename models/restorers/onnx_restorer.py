"""A GPEN run by ONNX Runtime."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...gpen_arch import CheckCancel, never_cancelled
from ...gpen_arch.autocast import no_autocast
from ...gpen_arch.tf32 import runs_tf32
from ..errors import ModelFileError, RestoreError
from .finiteness import both_finite, check_crop_values, faces_not_finite
from .providers import CPU, import_onnxruntime, open_session, why_cpu
from .restorer import OnNotice, Sizes, check_crops, default_batch_size, from_network, to_network

_log = logging.getLogger(__name__)
_DTYPES = {"tensor(float)": torch.float32, "tensor(float16)": torch.float16}


class OnnxRestorer:
    """Restores faces with an ONNX Runtime session; names, shapes and types are read from the session.

    Args:
        path: the .onnx file.
        config: its sizes, as `onnx_sizes` reads them.
        device: where it is to run; what runs is read back from the session, and differences give a warning.
        dtype: what was asked for; a graph computes in what it was exported in, so another one gives a warning.
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
        self._session, available = _open_session(path, device)
        self._input = self._session.get_inputs()[0]
        self._output = self._session.get_outputs()[0]
        self.dtype = _DTYPES[self._input.type]
        active = self._session.get_providers()[0]
        self.provider = f"onnxruntime {active}"
        self.device = torch.device("cpu") if active == CPU else device
        self.batch_size = default_batch_size(self.config.out_size, self.device)
        self._lock = threading.Lock()  # not every provider supports concurrent runs
        added: list[str] = []
        if active == CPU and device.type != "cpu":
            added.append(f"{path.name} runs on the CPU, not on {device.type}: {why_cpu(device, available)}")
        if dtype is not None and dtype != self.dtype:
            has, wanted = (str(d).removeprefix("torch.") for d in (self.dtype, dtype))
            added.append(f"{path.name} computes in {has}, as it was exported, not in {wanted}")
        for sentence in added:
            _log.warning("%s", sentence)
        self.warnings = (*warnings, *added)

    def __repr__(self) -> str:
        return f"<{self.name} {self.config.in_size}->{self.config.out_size} on {self.provider}>"

    @property
    def precision(self) -> str:
        """What the graph was exported in, "fp32" or "fp16"; "tf32" where the CUDA provider runs float32 as that."""
        if self.dtype == torch.float16:
            return "fp16"
        options = self._session.get_provider_options().get("CUDAExecutionProvider", {})
        return "tf32" if options.get("use_tf32") == "1" and runs_tf32(self.device) else "fp32"

    def restore(
        self,
        crops: torch.Tensor,
        check_cancel: CheckCancel = never_cancelled,
        on_notice: OnNotice | None = None,
    ) -> torch.Tensor:
        """(N,H,W,3) floating point in [0,1] -> (N,S,S,3) float32 in [0,1] on the crops' device.

        Args:
            check_cancel: called before every batch.
            on_notice: never called: a session does nothing that a report has to tell.

        Raises:
            TypeError, ValueError: not a batch of crops, or pixels that are not finite.
            RestoreError: the output is not finite.
        """
        del on_notice
        check_crops(crops)
        size = self.config.out_size
        fixed = self._input.shape[0]
        step = fixed if isinstance(fixed, int) else max(1, self.batch_size)
        with torch.no_grad(), no_autocast(crops.device):
            result = torch.empty(len(crops), size, size, 3, dtype=torch.float32, device=crops.device)
            for start in range(0, len(crops), step):
                check_cancel()
                part = crops[start : start + step]
                x = to_network(part, self.config.in_size).to("cpu", self.dtype)
                y = torch.from_numpy(np.ascontiguousarray(self._run(x.numpy(), step)))
                if not both_finite(part, y):
                    check_crop_values(part, start, len(crops))
                    self._check_faces(y)
                result[start : start + step] = from_network(y, crops.device)
        return result

    def _run(self, x: np.ndarray, batch: int) -> np.ndarray:
        count = len(x)
        if isinstance(self._input.shape[0], int) and count < batch:  # fill up a fixed batch
            x = np.concatenate([x, np.repeat(x[-1:], batch - count, axis=0)])
        with self._lock:
            (y,) = self._session.run([self._output.name], {self._input.name: x})
        return y[:count]

    def _check_faces(self, y: torch.Tensor) -> None:
        if len(faces_not_finite(y)):
            raise RestoreError(
                f"{self.name}: the restored face is not finite (NaN or infinity) in {self.dtype} on {self.provider}; "
                "use a float32 export or the .pth file"
            )


def _open_session(path: Path, device: torch.device) -> tuple[Any, list[str]]:
    try:
        return open_session(path, device)
    except ImportError as error:
        raise ModelFileError(path, str(error)) from error
    except Exception as error:  # onnxruntime's errors have no common class
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        what = f"onnxruntime {import_onnxruntime().__version__} cannot run it ({reason})"
        raise ModelFileError(path, what, "download it again, or update onnxruntime") from error
