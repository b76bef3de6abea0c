"""The fast engine computes what the readable reference computes, on random weights and inputs."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from gpen_pack.gpen_arch import GPEN, ConfigError, GPENConfig
from gpen_pack.gpen_arch.fast import CudaGraphs, FastGPEN, ReferenceEngine, build_engine, resampling

rows = importlib.import_module("gpen_pack.gpen_arch.fast.rows")

CONFIGS = {
    "8 px, the smallest": GPENConfig(8, 8, (3, 5), style_dim=7, mapping_layers=1),
    "64 px narrow": GPENConfig.standard(64, narrow=1 / 32, style_dim=32, mapping_layers=2),
    "truncated channels": GPENConfig.standard(128, narrow=0.013, style_dim=9, mapping_layers=3),
    "no mapping": GPENConfig.standard(32, narrow=1 / 64, style_dim=16, mapping_layers=0),
    "multiplier 1": GPENConfig.standard(256, channel_multiplier=1, narrow=1 / 32, style_dim=32, mapping_layers=2),
    "added": GPENConfig.standard(64, narrow=1 / 32, style_dim=32, mapping_layers=2, concat=False),
    "SR": GPENConfig.standard(16, out_size=128, narrow=1 / 32, style_dim=24, mapping_layers=2),
    "SR, added": GPENConfig.standard(8, out_size=16, narrow=1 / 64, style_dim=8, mapping_layers=2, concat=False),
    "unequal levels": GPENConfig(64, 64, (4, 6, 3, 7, 2), style_dim=11, mapping_layers=2),
    "widths of the published models": GPENConfig(32, 32, (128, 96, 64, 24), style_dim=48, mapping_layers=8),
    "512 px": GPENConfig.standard(512, narrow=1 / 32, style_dim=16, mapping_layers=1),
}
# relative error (2-norm) to the float32 reference; random weights are harder than trained ones
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 3e-2, torch.float16: 5e-3}


def random_net(config: GPENConfig, seed: int = 0) -> GPEN:
    """A GPEN with every tensor random, including the biases and feature weights that start at zero."""
    torch.manual_seed(seed)
    net = GPEN(config).eval().requires_grad_(False)
    for parameter in net.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.3)
    return net


def image(config: GPENConfig, batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, 3, config.in_size, config.in_size) * 2 - 1


def error(result: torch.Tensor, expected: torch.Tensor) -> float:
    return float((result.double() - expected.double()).norm() / expected.double().norm())


def strips_of(monkeypatch: pytest.MonkeyPatch, elements: int) -> None:
    monkeypatch.setattr(rows, "_STRIP_ELEMENTS", {"cpu": elements})
    monkeypatch.setattr(rows, "_WHOLE_ELEMENTS", {"cpu": elements})


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", CONFIGS)
def test_equals_the_reference(name: str, dtype: torch.dtype) -> None:
    config = CONFIGS[name]
    if dtype == torch.float16 and config.in_size > 64:
        pytest.skip("float16 convolutions are slow on CPUs; the small configurations cover the code")
    net = random_net(config)
    x = image(config, 2)
    engine = build_engine(net.state_dict(), dtype=dtype)
    assert isinstance(engine, FastGPEN)
    assert engine.declined is None
    assert engine.config == config
    result = engine(x)
    assert result.dtype == torch.float32
    assert result.shape == (2, 3, config.out_size, config.out_size)
    assert error(result, net(x)) < TOLERANCE[dtype]


@pytest.mark.parametrize("elements", [1, 1 << 9, 1 << 11, 1 << 13])
@pytest.mark.parametrize("name", CONFIGS)
def test_strips_change_nothing(name: str, elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few rows are computed at once, the result is the reference's, at borders and seams too."""
    strips_of(monkeypatch, elements)
    config = CONFIGS[name]
    net = random_net(config, seed=1)
    x = image(config)
    expected = net(x)
    worst = (build_engine(net.state_dict())(x) - expected).abs().amax() / expected.std()
    assert worst < 5e-5


@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-5), (torch.bfloat16, 5e-3)], ids=["fp32", "bf16"])
@pytest.mark.parametrize("name", ["64 px narrow", "added", "SR", "widths of the published models"])
def test_a_batch_equals_its_entries_one_by_one(
    name: str, dtype: torch.dtype, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CONFIGS[name]
    engine = build_engine(random_net(config).state_dict(), dtype=dtype)
    x = image(config, 5)
    single = torch.cat([engine(x[i : i + 1]) for i in range(5)])
    for i in range(4):
        assert error(single[i], single[i + 1]) > 5 * most, "the faces must differ, or mixing them up would not be seen"
    assert error(engine(x), single) < most
    strips_of(monkeypatch, 1 << 11)  # a CPU then splits the batch
    assert error(engine(x), single) < most


@pytest.mark.parametrize("seed", range(4))
def test_random_configs(seed: int) -> None:
    """Random channels, widths and depths."""
    pick = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (1,), generator=pick))

    low, high = sorted((draw(3, 6), draw(3, 7)))
    channels = tuple(draw(1, 40) for _ in range(high - 1))
    config = GPENConfig(2**low, 2**high, channels, draw(1, 40), draw(0, 3), concat=bool(draw(0, 1)))
    net = random_net(config, seed)
    x = image(config, 2)
    assert error(build_engine(net.state_dict())(x), net(x)) < 2e-5, config


@pytest.mark.parametrize("elements", [1 << 9, 1 << 26])
@pytest.mark.parametrize("name", CONFIGS)
def test_the_accelerators_code_path_equals_the_reference(
    name: str, elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code path of CUDA, with blurs merged into the convolutions, on the CPU."""
    monkeypatch.setattr(resampling, "merges_blurs", lambda device: True)
    monkeypatch.setattr(resampling, "alternates_rows", lambda device: False)
    strips_of(monkeypatch, elements)
    config = CONFIGS[name]
    net = random_net(config, seed=2)
    x = image(config, 2)
    assert error(build_engine(net.state_dict())(x), net(x)) < 1e-5


def test_both_ways_of_modulating_are_used() -> None:
    """Activations are scaled at small levels and weights at large ones; the tests above must cover both."""
    engine = build_engine(random_net(CONFIGS["64 px narrow"]).state_dict())
    assert isinstance(engine, FastGPEN)
    ways = [level.scale_weights for level in engine.synthesis.levels]
    assert ways == sorted(ways)
    assert set(ways) == {False, True}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_results_do_not_depend_on_what_ran_before(dtype: torch.dtype) -> None:
    config = CONFIGS["SR"]
    engine = build_engine(random_net(config).state_dict(), dtype=dtype)
    x = image(config)
    first = engine(x)
    engine(image(config, 3) * 50)
    assert torch.equal(engine(x), first)


def test_an_engine_can_be_widened_and_narrowed() -> None:
    """As a restorer widens it on overflow; a host that casts all weights still gets a result."""
    net = random_net(CONFIGS["64 px narrow"])
    x = image(net.config)
    engine = build_engine(net.state_dict(), dtype=torch.bfloat16)
    wide = copy.deepcopy(engine).float()
    assert (engine.dtype, wide.dtype) == (torch.bfloat16, torch.float32)
    assert error(wide(x), net(x)) < 3e-2  # of bfloat16 weights
    narrow = build_engine(net.state_dict()).to(torch.bfloat16)
    result = narrow(x)
    assert result.dtype == torch.float32
    assert error(result, net(x)) < 5e-2


def test_no_face_at_all() -> None:
    assert build_engine(random_net(CONFIGS["SR"]).state_dict())(torch.zeros(0, 3, 16, 16)).shape == (0, 3, 128, 128)


def test_threads_may_share_an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    strips_of(monkeypatch, 1 << 10)
    config = CONFIGS["64 px narrow"]
    engine = build_engine(random_net(config).state_dict())
    inputs = [image(config) for _ in range(4)]
    expected = [engine(x) for x in inputs]
    results: dict[int, torch.Tensor] = {}

    def work(index: int) -> None:
        for _ in range(5):
            results[index] = engine(inputs[index])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, value in enumerate(expected):
        assert torch.allclose(results[index], value, atol=1e-5), index


def test_inference_mode_leaves_no_trace() -> None:
    """Built and first run inside inference mode, as ComfyUI's nodes do, then run outside of it."""
    config = CONFIGS["64 px narrow"]
    net = random_net(config)
    x = image(config)
    with torch.inference_mode():
        state = {key: value * 1 for key, value in net.state_dict().items()}  # inference tensors
        engine = build_engine(state)
        inside = engine(x)
    assert not any(tensor.is_inference() for tensor in engine.state_dict().values())
    assert not any(parameter.requires_grad for parameter in engine.parameters())
    outside = engine(x)
    assert not outside.is_inference()
    assert torch.equal(outside, inside)
    assert not engine(x.requires_grad_()).requires_grad


def test_an_engine_keeps_no_tensor_that_moving_would_miss() -> None:
    """ComfyUI moves parameters and buffers; a tensor held elsewhere would stay on the old device."""
    engine = build_engine(random_net(CONFIGS["SR"]).state_dict())
    engine(image(CONFIGS["SR"]))
    for name, module in engine.named_modules():
        own = {**module._parameters, **module._buffers, **module._modules}
        held = [key for key, value in vars(module).items() if isinstance(value, torch.Tensor) and key not in own]
        assert not held, f"{name}: {held}"
    on_meta = copy.deepcopy(engine).to("meta")
    assert {tensor.device.type for tensor in on_meta.state_dict().values()} == {"meta"}


def test_the_callers_weights_are_neither_changed_nor_shared() -> None:
    net = random_net(CONFIGS["64 px narrow"])
    state = net.state_dict()
    before = {key: value.clone() for key, value in state.items()}
    engine = build_engine(state)
    x = image(net.config)
    expected = engine(x)
    assert all(torch.equal(state[key], before[key]) for key in before)
    for value in state.values():
        value.zero_()
    assert torch.equal(engine(x), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_inputs_and_state_dicts_of_other_types(dtype: torch.dtype) -> None:
    net = random_net(CONFIGS["no mapping"])
    x = image(net.config)
    engine = build_engine({key: value.to(dtype) for key, value in net.state_dict().items()})
    result = engine(x.to(dtype))
    assert result.dtype == torch.float32
    assert error(result, net(x)) < 5e-2


@pytest.mark.parametrize(
    "key", ["ecd1.0.0.kernel", "generator.convs.2.conv.blur.kernel", "generator.to_rgbs.0.upsample.kernel"]
)
def test_another_blur_is_declined_and_still_computed(key: str) -> None:
    """The reference runs instead, with the checkpoint's own kernel, and says why."""
    net = random_net(CONFIGS["64 px narrow"])
    state = dict(net.state_dict())
    state[key] = state[key].clone()
    state[key][0] += 0.02
    net.load_state_dict(state)
    engine = build_engine(state)
    assert isinstance(engine, ReferenceEngine)
    assert engine.declined is not None
    assert key in engine.declined
    x = image(net.config)
    assert torch.equal(engine(x), net(x))
    with pytest.raises(ValueError, match="expected"):
        engine(x[:, :, :-1])


def test_mistakes_are_explained() -> None:
    state = random_net(CONFIGS["64 px narrow"]).state_dict()
    with pytest.raises(ValueError, match=r"x: expected \[N,3,64,64\], got \[1, 3, 32, 32\]"):
        build_engine(state)(torch.zeros(1, 3, 32, 32))
    with pytest.raises(ValueError, match=r"float32, bfloat16 or float16, got torch\.int8"):
        build_engine(state, dtype=torch.int8)
    with pytest.raises(ConfigError):
        build_engine({"conv.weight": torch.zeros(3, 3)})


def test_cuda_graphs_say_why_they_decline_and_run_the_engine() -> None:
    net = random_net(CONFIGS["64 px narrow"])
    engine = build_engine(net.state_dict())
    graphs = CudaGraphs(engine)
    x = image(net.config)
    assert torch.equal(graphs(x), engine(x))
    assert graphs.declined is not None
    assert "cpu" in graphs.declined
    sr = CudaGraphs(build_engine(random_net(CONFIGS["SR"]).state_dict()))
    assert "SR" in str(sr.why_not(image(CONFIGS["SR"])))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_equals_the_authors_own_output(shared: Path, dtype: torch.dtype, tolerance: float) -> None:
    """The published 256 px shape at full width, against the golden output of the authors' code."""
    spec = importlib.util.spec_from_file_location("golden_synthetic", shared / "golden" / "synthetic.py")
    assert spec is not None
    assert spec.loader is not None
    synthetic = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(synthetic)
    golden = np.load(shared / "golden" / "gpen-256-cm1-narrow0.5.npz")
    size, seed = int(golden["size"]), int(golden["seed"])
    net = GPEN(GPENConfig.standard(size, channel_multiplier=1, narrow=0.5))
    state = {
        key: value if key.endswith("kernel") else torch.from_numpy(synthetic.tensor(key, tuple(value.shape), seed))
        for key, value in net.state_dict().items()
    }
    result = build_engine(state, dtype=dtype)(torch.from_numpy(synthetic.face_like(size, seed)))[0]
    row, column = golden["idx"]
    assert error(result[:, row, column], torch.from_numpy(golden["values"])) < tolerance
