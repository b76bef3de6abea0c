"""The host waits for the device once per batch, and never within the engine."""

from __future__ import annotations

import warnings

import pytest
import torch
from gpen_pack.gpen_arch import build_engine
from gpen_pack.tests.gpu.cases import CONFIGS, DTYPES, HostReads, image, random_net, restorer_of, synchronisation


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("name", CONFIGS)
def test_the_engine_never_waits(name: str, precision: str, device: torch.device) -> None:
    net = random_net(CONFIGS[name])
    engine = build_engine(net.state_dict(), dtype=DTYPES[precision]).to(device)
    x = image(net.config, 2).to(device)
    engine(x)  # libraries start
    with synchronisation(device, "error"), HostReads() as reads:
        engine(x)
    assert reads.count == 0


@pytest.mark.parametrize("precision", DTYPES)
def test_a_restorer_waits_once_per_batch(precision: str, device: torch.device) -> None:
    restorer = restorer_of(random_net(CONFIGS["concatenated"], 0.1), precision, device)
    restorer.batch_size = 2
    crops = torch.rand(5, 100, 90, 3).to(device)
    restorer.restore(crops)
    with HostReads() as reads:
        restorer.restore(crops)
    assert reads.count == 3
    with warnings.catch_warnings(record=True) as caught, synchronisation(device, "warn"):
        warnings.simplefilter("always")
        restorer.restore(crops)
    waits = [warning for warning in caught if "synchronizing" in str(warning.message)]
    assert len(waits) == (3 if device.type == "cuda" else 0)
