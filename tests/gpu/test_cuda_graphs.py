"""An engine through CUDA graphs: equal results, one recording per shape, recorded anew when the weights move."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from gpen_pack.gpen_arch.fast import CudaGraphs, build_engine
from gpen_pack.tests.gpu.cases import CONFIGS, DTYPES, TOLERANCE, error, image, needs_cuda, random_net

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("precision", DTYPES)
def test_a_graph_equals_the_engine(precision: str, index: int) -> None:
    needs_cuda(index)
    device = torch.device("cuda", index)
    net = random_net(CONFIGS["concatenated"])
    engine = build_engine(net.state_dict(), dtype=DTYPES[precision]).to(device)
    graphs = CudaGraphs(engine)
    first, second = (image(net.config, 2).to(device) for _ in range(2))
    results = [graphs(x) for x in (first, second, first)]
    assert graphs.declined is None
    for x, result in zip((first, second, first), results, strict=True):
        assert error(result, net(x.cpu())) < TOLERANCE[precision]
    assert torch.equal(results[0], results[2])
    assert not torch.equal(results[0], results[1]), "a result is overwritten by the next replay"


def test_a_shape_is_recorded_once_and_again_after_a_move(cuda: torch.device) -> None:
    net = random_net(CONFIGS["concatenated"])
    engine = build_engine(net.state_dict()).to(cuda)
    calls: list[Any] = []
    engine.register_forward_hook(lambda *_: calls.append(None))
    graphs = CudaGraphs(engine)
    one, two = image(net.config).to(cuda), image(net.config, 2).to(cuda)
    expected = graphs(one)
    per_recording = len(calls)
    assert per_recording > 0
    graphs(one)
    assert len(calls) == per_recording, "a replay runs nothing of the engine in Python"
    graphs(two)
    assert len(calls) == 2 * per_recording
    engine.to("cpu")
    held = [torch.zeros(1 << 20, device=cuda) for _ in range(8)]  # the old addresses are taken
    engine.to(cuda)
    assert torch.allclose(graphs(one), expected, atol=1e-5)
    assert len(calls) == 3 * per_recording
    del held
