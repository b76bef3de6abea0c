"""The computed shapes are those of the network, and a file is checked without building one."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from gpen_pack.gpen_arch import GPEN, GPENConfig
from gpen_pack.gpen_arch.weight_shapes import expected_shapes

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = {
    "256": GPENConfig.standard(256, channel_multiplier=1, narrow=0.5),
    "512": GPENConfig.standard(512),
    "1024": GPENConfig.standard(1024),
    "2048": GPENConfig.standard(2048),
    "SR 512 to 2048": GPENConfig.standard(512, out_size=2048),
}


def held_by_the_network(config: GPENConfig) -> list[tuple[str, tuple[int, ...]]]:
    with torch.device("meta"):
        return [(key, tuple(value.shape)) for key, value in GPEN(config).state_dict().items()]


def random_config(seed: int) -> GPENConfig:
    draw = random.Random(seed)
    low = draw.randint(3, 6)
    high = draw.randint(low, 8)
    channels = tuple(draw.randint(1, 9) for _ in range(high - 1))
    return GPENConfig(2**low, 2**high, channels, draw.randint(1, 9), draw.randint(0, 5), draw.random() < 0.5)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_shapes(name: str) -> None:
    config = PUBLISHED[name]
    assert list(expected_shapes(config).items()) == held_by_the_network(config)


@pytest.mark.parametrize("seed", range(40))
def test_the_shapes_of_any_config(seed: int) -> None:
    """Concatenated and added, SR, from 8 px on, any channels, any mapping."""
    config = random_config(seed)
    assert list(expected_shapes(config).items()) == held_by_the_network(config)


def test_checking_a_file_imports_no_compiler() -> None:
    """A first load must not import sympy and PyTorch's compiler, as a network on the meta device does."""
    program = f"""
import importlib, importlib.machinery, importlib.util, sys, torch
spec = importlib.machinery.ModuleSpec("gpen_pack", None, is_package=True)
spec.submodule_search_locations = [{str(ROOT)!r}]
sys.modules["gpen_pack"] = importlib.util.module_from_spec(spec)
arch = importlib.import_module("gpen_pack.gpen_arch")
shapes = importlib.import_module("gpen_pack.gpen_arch.weight_shapes")
before = set(sys.modules)
config = arch.GPENConfig.standard(16, narrow=1 / 64, style_dim=8, mapping_layers=2)
state = {{key: torch.ones(shape) for key, shape in shapes.expected_shapes(config).items()}}
taps = torch.tensor([1.0, 3, 3, 1]) / 8
for key in state:
    if key.endswith(".kernel"):
        state[key] = torch.outer(taps, taps) * (1 if key.startswith("ecd") else 4)
engine = arch.build_engine(state)
assert engine.declined is None
new = {{name.split(".")[0] for name in set(sys.modules) - before}} | (set(sys.modules) - before)
assert not new & {{"sympy", "torch._dynamo", "torch._inductor"}}, sorted(new)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
