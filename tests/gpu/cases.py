"""Networks, inputs and measures that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from gpen_pack.gpen_arch import GPEN, GPENConfig, build_engine
from gpen_pack.models.restorers.torch_restorer import TorchRestorer
from torch.utils._python_dispatch import TorchDispatchMode

CONFIGS = {
    "concatenated": GPENConfig.standard(64, narrow=1 / 16, style_dim=32, mapping_layers=2),
    "added": GPENConfig.standard(64, narrow=1 / 16, style_dim=32, mapping_layers=2, concat=False),
    "SR": GPENConfig.standard(16, out_size=64, narrow=1 / 16, style_dim=32, mapping_layers=2),
}
# relative error to the float32 reference on the CPU, on random weights; auto may run in TF32
DTYPES = {"auto": None, "fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
TOLERANCE = {"auto": 5e-3, "fp32": 5e-5, "bf16": 3e-2, "fp16": 5e-3}


def needs_cuda(index: int = 0) -> None:
    """Skip unless there is a CUDA device of this index."""
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device; PyTorch sees none here")
    if torch.cuda.device_count() <= index:
        pytest.skip(f"needs CUDA device {index}; there are {torch.cuda.device_count()}")


def random_net(config: GPENConfig, spread: float = 0.3) -> GPEN:
    """A GPEN on the CPU with every tensor random, including those that start at zero."""
    torch.manual_seed(0)
    net = GPEN(config).eval().requires_grad_(False)
    for parameter in net.parameters():
        parameter.add_(torch.randn_like(parameter) * spread)
    return net


def image(config: GPENConfig, batch: int = 1) -> torch.Tensor:
    """[N,3,in,in] in [-1,1], on the CPU."""
    return torch.rand(batch, 3, config.in_size, config.in_size) * 2 - 1


def error(result: torch.Tensor, expected: torch.Tensor) -> float:
    """2-norm of the difference relative to that of ``expected``."""
    result, expected = result.cpu().double(), expected.cpu().double()
    return float((result - expected).norm() / expected.norm())


def restorer_of(net: GPEN, precision: str, device: torch.device) -> TorchRestorer:
    """A restorer with the weights of ``net`` on ``device``."""
    dtype = DTYPES[precision]
    module = build_engine(net.state_dict(), net.config, dtype).to(device)
    return TorchRestorer(module, net.config, dtype=dtype or torch.float32)


@contextmanager
def synchronisation(device: torch.device, mode: str) -> Iterator[None]:
    """PyTorch's check for host synchronisation: "warn" or "error" on CUDA, nothing elsewhere."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.synchronize(device)
    torch.cuda.set_sync_debug_mode(mode)
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


class HostReads(TorchDispatchMode):
    """Counts operators whose result the host has to wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func.overloadpacket.__name__ in ("_local_scalar_dense", "nonzero", "equal", "is_nonzero")
        return func(*args, **(kwargs or {}))
