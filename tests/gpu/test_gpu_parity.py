"""On a GPU the engine and the restorer give what the reference gives on the CPU, in every precision."""

from __future__ import annotations

import pytest
import torch
from gpen_pack.gpen_arch import build_engine
from gpen_pack.tests.gpu.cases import CONFIGS, DTYPES, TOLERANCE, error, image, random_net, restorer_of


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("name", CONFIGS)
def test_an_engine_equals_the_reference(name: str, precision: str, device: torch.device) -> None:
    net = random_net(CONFIGS[name])
    x = image(net.config, 3)
    engine = build_engine(net.state_dict(), dtype=DTYPES[precision]).to(device)
    together = engine(x.to(device))
    assert together.device == device and together.dtype == torch.float32
    assert error(together, net(x)) < TOLERANCE[precision]
    single = torch.cat([engine(x[i : i + 1].to(device)) for i in range(3)])
    assert error(together, single) < TOLERANCE[precision]


def test_float32_is_true_float32_whatever_the_host_allows(device: torch.device) -> None:
    net = random_net(CONFIGS["concatenated"])
    x = image(net.config, 2)
    engine = build_engine(net.state_dict(), dtype=torch.float32).to(device)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        result = engine(x.to(device))
    finally:
        torch.set_float32_matmul_precision(before)
    assert error(result, net(x)) < TOLERANCE["fp32"]


@pytest.mark.gpu
def test_auto_runs_in_tf32_where_the_device_has_it(cuda: torch.device) -> None:
    net = random_net(CONFIGS["concatenated"])
    auto, exact = (restorer_of(net, precision, cuda) for precision in ("auto", "fp32"))
    has_it = torch.cuda.get_device_capability(cuda) >= (8, 0)
    assert (auto.precision, exact.precision) == ("tf32" if has_it else "fp32", "fp32")
    x = image(net.config).to(cuda)
    errors = [error(restorer.module(x), net(x.cpu())) for restorer in (auto, exact)]
    assert errors[1] < TOLERANCE["fp32"]
    assert (errors[0] > 3 * errors[1]) is has_it, f"auto {errors[0]:.1e}, fp32 {errors[1]:.1e}"


@pytest.mark.parametrize("precision", DTYPES)
def test_a_restorer_takes_crops_from_the_device_and_from_the_host(precision: str, device: torch.device) -> None:
    net = random_net(CONFIGS["concatenated"], 0.1)
    restorer = restorer_of(net, precision, device)
    restorer.batch_size = 2
    crops = torch.rand(3, 100, 90, 3)
    expected = restorer_of(net, "fp32", torch.device("cpu")).restore(crops)
    there = restorer.restore(crops.to(device))
    assert there.device == device
    assert error(there, expected) < TOLERANCE[precision]
    back = restorer.restore(crops)
    assert back.device.type == "cpu"
    assert error(back, there) < TOLERANCE[precision]


def test_an_engine_may_move_between_two_calls(device: torch.device) -> None:
    net = random_net(CONFIGS["SR"], 0.1)
    restorer = restorer_of(net, "fp32", device)
    crops = torch.rand(1, 16, 16, 3)
    first = restorer.restore(crops)
    restorer.module.to("cpu")
    assert restorer.device.type == "cpu"
    assert error(restorer.restore(crops.to(device)), first) < TOLERANCE["fp32"]
    restorer.module.to(device)
    assert error(restorer.restore(crops.to(device)), first) < TOLERANCE["fp32"]
