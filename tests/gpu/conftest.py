"""Where the tests of this folder run: on CUDA devices, and as a rehearsal of the same code path on the CPU.

``python -m pytest -m gpu`` runs what needs CUDA and skips it, with the reason, where there is none. The rehearsals run
with all other tests.
"""

from __future__ import annotations

import pytest
import torch
from gpen_pack.gpen_arch import tf32
from gpen_pack.gpen_arch.fast import resampling
from gpen_pack.tests.gpu.cases import needs_cuda


@pytest.fixture(
    params=[
        pytest.param("cuda:0", marks=pytest.mark.gpu),
        pytest.param("cuda:1", marks=pytest.mark.gpu),
        pytest.param("rehearsal"),
    ]
)
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """Every CUDA device; in the rehearsal the CPU, taking the code path of CUDA."""
    if request.param != "rehearsal":
        device = torch.device(request.param)
        needs_cuda(device.index or 0)
        return device
    monkeypatch.setattr(tf32, "_may_be_tf32", lambda x: x.dtype == torch.float32)
    monkeypatch.setattr(resampling, "merges_blurs", lambda device: True)
    monkeypatch.setattr(resampling, "alternates_rows", lambda device: False)
    return torch.device("cpu")


@pytest.fixture
def cuda() -> torch.device:
    """The first CUDA device, for what has no rehearsal."""
    needs_cuda()
    return torch.device("cuda:0")
