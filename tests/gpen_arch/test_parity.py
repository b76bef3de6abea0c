"""The reference against outputs of the authors' code: a tiny golden file here, full-width ones in ../shared."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gpen_pack.gpen_arch import GPEN, GPENConfig

TINY = Path(__file__).parents[1] / "golden" / "tiny.npz"
CASES = {
    "plain": GPENConfig(64, 64, (16,) * 5, style_dim=32, mapping_layers=2),
    "added": GPENConfig(16, 16, (8,) * 3, style_dim=32, mapping_layers=2, concat=False),
    "sr": GPENConfig(16, 64, (8,) * 5, style_dim=32, mapping_layers=2),
}


def assert_close(got: torch.Tensor, expected: np.ndarray, what: str, tolerance: float = 1e-4) -> None:
    difference = np.abs(got.detach().numpy() - expected)
    error = np.linalg.norm(difference) / np.linalg.norm(expected)
    histogram = np.histogram(difference, bins=5)
    assert error < tolerance, (
        f"{what}: relative error {error:.2e}, max {difference.max():.2e}, mean {difference.mean():.2e}, "
        f"counts {histogram[0].tolist()} between {[f'{edge:.1e}' for edge in histogram[1]]}"
    )


def load_case(name: str) -> tuple[GPEN, dict[str, np.ndarray]]:
    """The reference with the authors' weights of this case, and the other arrays of the case."""
    with np.load(TINY) as archive:
        fields = {key.split("/", 1)[1]: archive[key] for key in archive.files if key.startswith(name + "/")}
    state = {key.removeprefix("weight/"): torch.from_numpy(v) for key, v in fields.items() if key.startswith("weight/")}
    net = GPEN(CASES[name])
    kernels = {key: value for key, value in net.state_dict().items() if key.endswith("kernel")}
    state |= kernels
    assert GPENConfig.from_state_dict(state) == CASES[name]
    net.load_state_dict(state)
    return net.eval(), fields


@pytest.mark.parametrize("name", CASES)
def test_equals_the_authors_code_on_a_tiny_model(name: str) -> None:
    """Concatenated, added, and SR (whose golden output was made with our level noise)."""
    net, fields = load_case(name)
    with torch.no_grad():
        output = net(torch.from_numpy(fields["input"]))
    assert_close(output, fields["output"], name, tolerance=2e-6)


def test_every_stage_equals_the_authors_code() -> None:
    """Intermediate outputs: the first stage that differs is the broken one."""
    net, fields = load_case("plain")
    stages: dict[str, torch.nn.Module] = {
        "ecd1": net.get_submodule("ecd1"),
        "z": net.final_linear,
        "w": net.generator.style,
        "conv1": net.generator.conv1,
        **{f"rgb{i}": net.generator.to_rgbs[i] for i in range(3)},
    }
    taps: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Any:
        return lambda _module, _inputs, output: taps.__setitem__(name, output)

    for name, module in stages.items():
        module.register_forward_hook(keep(name))
    with torch.no_grad():
        net(torch.from_numpy(fields["input"]))
    for name in stages:
        assert_close(taps[name][:1], fields[f"tap/{name}"], name, tolerance=2e-6)


@pytest.mark.parametrize("file", ["gpen-256-cm1-narrow0.5.npz", "gpen-512-cm2-narrow1.npz"])
def test_equals_the_authors_code_at_full_width(shared: Path, file: str) -> None:
    spec = importlib.util.spec_from_file_location("golden_synthetic", shared / "golden" / "synthetic.py")
    assert spec and spec.loader
    synthetic = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(synthetic)
    golden = np.load(shared / "golden" / file)
    size, seed = int(golden["size"]), int(golden["seed"])
    multiplier, narrow = (1, 0.5) if size == 256 else (2, 1)
    net = GPEN(GPENConfig.standard(size, channel_multiplier=multiplier, narrow=narrow))
    state = {
        key: value if key.endswith("kernel") else torch.from_numpy(synthetic.tensor(key, tuple(value.shape), seed))
        for key, value in net.state_dict().items()
    }
    assert GPENConfig.from_state_dict(state) == net.config
    net.load_state_dict(state)
    with torch.no_grad():
        output = net(torch.from_numpy(synthetic.face_like(size, seed)))
    rows, columns = golden["idx"]
    assert_close(output[0][:, rows, columns], golden["values"], file)
    assert_close(output[0].mean(dim=(1, 2)), golden["mean"], f"{file} mean")
    assert_close(output[0].std(dim=(1, 2), correction=0), golden["std"], f"{file} std", tolerance=1e-3)


@pytest.mark.parametrize(
    ("size", "multiplier", "narrow", "parameters", "keys"),
    [
        (256, 1, 0.5, 18_879_010, 144),
        (512, 2, 1, 71_005_223, 163),
        (1024, 2, 1, 71_210_540, 182),
        (2048, 2, 1, 71_294_769, 201),
    ],
)
def test_has_the_published_parameter_and_key_counts(
    size: int, multiplier: float, narrow: float, parameters: int, keys: int
) -> None:
    with torch.device("meta"):
        net = GPEN(GPENConfig.standard(size, channel_multiplier=multiplier, narrow=narrow))
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert len(net.state_dict()) == keys
