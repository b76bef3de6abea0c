"""A small fake of ComfyUI around the five nodes, and ways to call them as ComfyUI does."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gpen_pack.detectors import Detections
from gpen_pack.gpen_arch import GPEN, GPENConfig

TINY = GPENConfig.standard(64, narrow=1 / 32, style_dim=32, mapping_layers=2)


class Cancelled(BaseException):
    """What new versions of ComfyUI raise: no Exception, so a broad except would not stop it."""


class FakeHost:
    """The few functions of ComfyUI that the pack calls, with a record of the calls."""

    def __init__(self, base: Path) -> None:
        self.models_dir = str(base / "models")
        self.folder_names_and_paths: dict[str, tuple[list[str], set[str]]] = {}
        self.loaded: list[tuple[Any, int]] = []
        self.progress: list[tuple[int, int, Any]] = []
        self.cancelled = False
        self.bf16 = True
        self.intermediate_dtype: torch.dtype | None = None

    def modules(self) -> dict[str, types.ModuleType]:
        def module(name: str, **names: Any) -> types.ModuleType:
            made = types.ModuleType(name)
            made.__dict__.update(names)
            return made

        class ModelPatcher:
            def __init__(self, model: Any, load_device: Any, offload_device: Any) -> None:
                self.model, self.load_device, self.offload_device = model, load_device, offload_device

        def load_models_gpu(models: list[Any], memory_required: int = 0, force_full_load: bool = False) -> None:
            assert force_full_load
            self.loaded += [(model, memory_required) for model in models]

        def throw() -> None:
            if self.cancelled:
                raise Cancelled

        host = self

        class ProgressBar:
            def __init__(self, total: int) -> None:
                self.total = total

            def update_absolute(self, value: int, total: int | None = None, preview: Any = None) -> None:
                host.progress.append((value, total or self.total, preview))

        def add_model_folder_path(name: str, path: str, is_default: bool = False) -> None:
            self.folder_names_and_paths.setdefault(name, ([], set()))[0].append(path)

        management = module(
            "comfy.model_management",
            get_torch_device=lambda: torch.device("cpu"),
            unet_offload_device=lambda: torch.device("cpu"),
            intermediate_device=lambda: torch.device("cpu"),
            load_models_gpu=load_models_gpu,
            soft_empty_cache=lambda: None,
            should_use_bf16=lambda device=None: self.bf16,
            throw_exception_if_processing_interrupted=throw,
        )
        if self.intermediate_dtype is not None:
            management.__dict__["intermediate_dtype"] = lambda: self.intermediate_dtype
        patcher = module("comfy.model_patcher", ModelPatcher=ModelPatcher)
        utils = module("comfy.utils", ProgressBar=ProgressBar)
        comfy = module("comfy", model_management=management, model_patcher=patcher, utils=utils, __path__=[])
        paths = module(
            "folder_paths",
            models_dir=self.models_dir,
            folder_names_and_paths=self.folder_names_and_paths,
            add_model_folder_path=add_model_folder_path,
            get_temp_directory=lambda: str(Path(self.models_dir).parent / "temp"),
            get_folder_paths=lambda name: self.folder_names_and_paths[name][0][:],
        )
        made = [comfy, management, patcher, utils, paths]
        return {entry.__name__: entry for entry in made}


class SquareDetector:
    """Finds bright blue squares and calls them faces, with landmarks where the template has them."""

    name = "squares"
    provider = "test"
    calls = 0  # of all of them together

    def detect(self, image: np.ndarray, threshold: float) -> Detections:
        SquareDetector.calls += 1
        from gpen_pack.faces import TEMPLATES

        blue = (image[..., 2] > 200) & (image[..., 0] < 60)
        if blue.sum() < 16:
            return Detections.of([], [], [])
        rows, columns = np.nonzero(blue)
        box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], np.float64)
        points = TEMPLATES["gpen"].numpy() * (box[2:] - box[:2]) + box[:2]
        return Detections(box[None], points[None], np.array([0.9]))


def picture(frames: int = 1, channels: int = 3) -> torch.Tensor:
    """Noise with one blue square of 60 px at column 40, row 20."""
    image = torch.rand(frames, 128, 160, channels) * 0.2 + 0.3
    image[:, 20:80, 40:100, 0] = 0.1
    image[:, 20:80, 40:100, 2] = 0.9
    return image


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHost]:
    fake = FakeHost(tmp_path)
    for name, module in fake.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    from gpen_pack.nodes import detector_sessions
    from gpen_pack.nodes import host as real

    real.register_folder()
    detector_sessions._sessions.clear()
    monkeypatch.setattr(detector_sessions, "load_session", lambda name, folders, device: SquareDetector())
    yield fake


@pytest.fixture
def nodes(host: FakeHost) -> dict[str, Any]:
    from gpen_pack.nodes import NODE_CLASS_MAPPINGS

    return NODE_CLASS_MAPPINGS


@pytest.fixture
def model_file(host: FakeHost) -> str:
    folder = Path(host.models_dir) / "gpen"
    folder.mkdir(parents=True)
    torch.save(GPEN(TINY).state_dict(), folder / "tiny.pth")
    return "tiny.pth"


def defaults(node: Any, **given: Any) -> dict[str, Any]:
    """The widgets' values as a fresh node in a graph has them."""
    values = {}
    for name, spec in node.INPUT_TYPES()["required"].items():
        if isinstance(spec[0], list) or "default" in spec[1]:
            values[name] = spec[1]["default"]
    return {**values, **given}


def run(node: Any, **given: Any) -> tuple[Any, ...]:
    """Call a node as ComfyUI does: a fresh instance, keyword arguments, inference mode."""
    with torch.inference_mode():
        result = getattr(node(), node.FUNCTION)(**defaults(node, **given))
    return result["result"] if isinstance(result, dict) else result


def load(nodes: dict[str, Any], name: str) -> Any:
    return run(nodes["GPENModelLoader"], model_name=name)[0]


@pytest.fixture(name="picture")
def _picture() -> Any:
    return picture


@pytest.fixture
def detector_calls() -> Callable[[], int]:
    """How often a detector has run so far."""
    return lambda: SquareDetector.calls


@pytest.fixture(name="defaults")
def _defaults() -> Any:
    return defaults


@pytest.fixture(name="run")
def _run() -> Any:
    return run


@pytest.fixture(name="load")
def _load() -> Any:
    return load


@pytest.fixture
def tiny() -> GPENConfig:
    """The configuration of the model file's network."""
    return TINY


@pytest.fixture
def cancelled() -> type[BaseException]:
    """What the fake host raises where the user pressed Cancel."""
    return Cancelled
