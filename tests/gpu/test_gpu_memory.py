"""Memory of the device: given back after use, within what is asked for, and an engine survives running out of it."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import torch
from gpen_pack.gpen_arch import GPENConfig, tf32
from gpen_pack.restoration.running.memory import is_out_of_memory, working_bytes
from gpen_pack.tests.gpu.cases import CONFIGS, DTYPES, random_net, restorer_of


def allocated(device: torch.device) -> int:
    gc.collect()
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    return torch.cuda.memory_allocated(device)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", DTYPES)
def test_memory_is_given_back(precision: str, cuda: torch.device) -> None:
    net = random_net(GPENConfig.standard(256, channel_multiplier=1, narrow=0.5), 0.1)
    crops = torch.rand(4, 256, 256, 3)
    restorer_of(net, precision, cuda).restore(crops)  # the workspaces of the libraries stay
    before = allocated(cuda)
    restorer = restorer_of(net, precision, cuda)
    loaded = allocated(cuda)
    assert loaded > before
    restorer.restore(crops)
    assert allocated(cuda) == loaded, "a call keeps memory"
    del restorer
    assert allocated(cuda) == before, "a restorer that is gone keeps memory"


@pytest.mark.gpu
@pytest.mark.parametrize("precision", DTYPES)
def test_the_estimate_covers_the_peak(precision: str, cuda: torch.device) -> None:
    net = random_net(GPENConfig.standard(512), 0.1)
    restorer = restorer_of(net, precision, cuda)
    crops = torch.rand(1, 512, 512, 3, device=cuda)
    restorer.restore(crops)
    before = allocated(cuda)
    torch.cuda.reset_peak_memory_stats(cuda)
    restorer.restore(crops)
    taken = torch.cuda.max_memory_allocated(cuda) - before
    assert taken < working_bytes(restorer), f"{taken / 1e6:.0f} MB taken"


@pytest.mark.gpu
def test_out_of_memory_on_the_device_leaves_the_restorer_usable(cuda: torch.device) -> None:
    net = random_net(GPENConfig.standard(256, channel_multiplier=1, narrow=0.5), 0.1)
    restorer = restorer_of(net, "fp32", cuda)
    crops = torch.rand(1, 256, 256, 3, device=cuda)
    expected = restorer.restore(crops)
    before = allocated(cuda)
    total = torch.cuda.get_device_properties(cuda).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved(cuda) + (4 << 20)) / total, cuda)
    try:
        with pytest.raises(torch.cuda.OutOfMemoryError) as caught:
            restorer.restore(crops.expand(8, -1, -1, -1))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, cuda)
    assert is_out_of_memory(caught.value)
    del caught
    assert allocated(cuda) == before, "the failed call keeps memory"
    assert torch.allclose(restorer.restore(crops), expected, atol=1e-6)


@pytest.mark.parametrize("convolution", [0, 3, 11])
def test_out_of_memory_in_any_convolution_passes_through(
    convolution: int, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    restorer = restorer_of(random_net(CONFIGS["concatenated"], 0.1), "fp32", device)
    crops = torch.rand(2, 64, 64, 3, device=device)
    expected = restorer.restore(crops)
    original, calls = tf32._convolution, 0

    def failing(*args: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls > convolution:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return original(*args)

    monkeypatch.setattr(tf32, "_convolution", failing)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        restorer.restore(crops)
    assert calls == convolution + 1, "the error passes through, nothing is repeated"
    monkeypatch.setattr(tf32, "_convolution", original)
    assert torch.allclose(restorer.restore(crops), expected, atol=1e-6)
