"""The pack under the alias ``gpen_pack``, whatever its folder is called, and the fixtures that all tests share."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"

runpy.run_path(str(ROOT / "load_pack.py"))["load_pack"]()


class RootIsAFolder:
    """Collect the repository root as a plain folder: its ``__init__.py`` belongs to ComfyUI, not to pytest."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collect_directory(self, path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        return pytest.Dir.from_parent(parent, path=path) if path == ROOT else None


def pytest_configure(config: pytest.Config) -> None:
    torch.set_num_threads(1)  # tests are small: on a busy machine more threads wait for each other, not for work
    # a conftest's own hook does not reach the folder above it; a registered plugin does
    config.pluginmanager.register(RootIsAFolder(), "gpen-root-is-a-folder")


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository root, that is, the custom-node folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of test data beside the checkout; a test that needs it skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared (golden data, detectors, photos), which is not beside this checkout")
    return SHARED


@pytest.fixture(scope="session")
def astronaut() -> torch.Tensor:
    """A real face that comes with scikit-image: (1, 512, 512, 3) float32 in [0, 1]."""
    data = pytest.importorskip("skimage.data")
    return torch.from_numpy(np.asarray(data.astronaut())[None].astype(np.float32) / 255)


@pytest.fixture
def portraits(tmp_path: Path) -> Path:
    """A folder to train on: eight smooth pictures of 60×72 with the same five points."""
    folder = tmp_path / "portraits"
    folder.mkdir()
    rng = np.random.default_rng(0)
    points = [[23.0, 30.0], [37.0, 30.0], [30.0, 38.0], [25.0, 46.0], [35.0, 46.0]]
    for i in range(8):
        small = Image.fromarray(rng.integers(0, 255, (9, 8, 3), dtype=np.uint8))
        small.resize((60, 72), Image.Resampling.BICUBIC).save(folder / f"p{i}.png")
    (folder / "landmarks.json").write_text(json.dumps({f"p{i}.png": points for i in range(8)}))
    return folder


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    torch.manual_seed(0)
