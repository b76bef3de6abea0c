"""The five nodes against a small fake host: schema, sockets, memory manager, progress, cancel, missing models."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gpen_pack.faces import Detections
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

    def detect(self, image: np.ndarray, threshold: float) -> Detections:
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
    monkeypatch.setattr(detector_sessions, "load_session", lambda name, folders: SquareDetector())
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


def test_schema_is_the_frozen_inventory(nodes: dict[str, Any], model_file: str) -> None:
    """Ids, input names, types, defaults and order: saved workflows hold values by position."""
    inventory = json.loads((Path(__file__).parent / "node_inventory.json").read_text(encoding="utf-8"))
    found: dict[str, Any] = {}
    for name, node in nodes.items():
        types_ = node.INPUT_TYPES()
        entry: dict[str, Any] = {"inputs": [], "optional": [], "outputs": []}
        for kind, key in (("required", "inputs"), ("optional", "optional")):
            for widget, spec in types_.get(kind, {}).items():
                choices = "COMBO" if isinstance(spec[0], list) else spec[0]
                values = spec[0] if isinstance(spec[0], list) and widget != "model_name" else None
                default = None if widget == "model_name" else spec[1].get("default")
                entry[key].append([widget, choices, default, values])
        entry["outputs"] = [list(pair) for pair in zip(node.RETURN_NAMES, node.RETURN_TYPES, strict=True)]
        found[name] = entry
    assert found == inventory


def test_every_input_and_output_has_words(nodes: dict[str, Any], model_file: str) -> None:
    for name, node in nodes.items():
        assert node.DESCRIPTION and node.CATEGORY == "GPEN" and node.SEARCH_ALIASES, name
        assert len(node.OUTPUT_TOOLTIPS) == len(node.RETURN_TYPES)
        for widgets in node.INPUT_TYPES().values():
            for widget, spec in widgets.items():
                assert spec[1].get("tooltip"), f"{name}.{widget}"


def test_choices_are_those_of_the_core(nodes: dict[str, Any]) -> None:
    from gpen_pack import faces
    from gpen_pack.nodes import inputs

    assert set(inputs.ORDERS) == set(faces.ORDERS)
    assert set(inputs.TEMPLATES) == set(faces.TEMPLATES)
    assert tuple(inputs.BLEND_MODES) == tuple(faces.BLEND_MODES)
    assert tuple(inputs.COLOR_MATCHES) == tuple(faces.COLOR_MATCHES)
    assert set(inputs.MASK_SHAPES) == set(faces.MASK_SHAPES)


def test_loader_wraps_the_network_for_the_memory_manager(
    host: FakeHost, nodes: dict[str, Any], model_file: str
) -> None:
    model = load(nodes, model_file)
    assert model.restorer.config == TINY
    assert model.patcher.model is model.restorer.module
    assert not any(parameter.is_inference() for parameter in model.restorer.module.parameters())
    run(nodes["GPENFaceRestore"], gpen_model=model, crops=torch.rand(1, 64, 64, 3))
    assert host.loaded and host.loaded[0][0] is model.patcher and host.loaded[0][1] > 0


def test_loader_lists_reactors_files_by_gpen_in_the_name(
    host: FakeHost, nodes: dict[str, Any], model_file: str
) -> None:
    reactor = Path(host.models_dir) / "facerestore_models"
    reactor.mkdir()
    for name in ("GPEN-BFR-512.onnx", "codeformer-v0.1.0.pth", "gpen_bfr_1024.pth", "readme.txt"):
        (reactor / name).write_bytes(b"x")
    names = nodes["GPENModelLoader"].INPUT_TYPES()["required"]["model_name"][0]
    assert {"tiny.pth", "GPEN-BFR-512.onnx", "gpen_bfr_1024.pth"} <= set(names)
    assert not {"codeformer-v0.1.0.pth", "readme.txt"} & set(names)
    assert "facerestore_models" not in host.folder_names_and_paths, "another pack's key is left alone"


def test_missing_model_is_worded_before_the_graph_runs(nodes: dict[str, Any], model_file: str) -> None:
    loader = nodes["GPENModelLoader"]
    assert loader.VALIDATE_INPUTS(model_file) is True
    sentence = loader.VALIDATE_INPUTS("GPEN-BFR-2048.pth")
    assert isinstance(sentence, str) and "GPEN-BFR-2048.pth" in sentence and "gpen" in sentence


def test_a_replaced_file_changes_the_loader(host: FakeHost, nodes: dict[str, Any], model_file: str) -> None:
    loader = nodes["GPENModelLoader"]
    before = loader.IS_CHANGED(model_name=model_file, precision="auto")
    assert before == loader.IS_CHANGED(model_name=model_file, precision="auto")
    path = Path(host.models_dir) / "gpen" / model_file
    torch.save(GPEN(GPENConfig.standard(32, narrow=1 / 32, style_dim=32, mapping_layers=2)).state_dict(), path)
    assert loader.IS_CHANGED(model_name=model_file, precision="auto") != before


def test_four_nodes_do_what_the_one_does(nodes: dict[str, Any], model_file: str) -> None:
    model, image = load(nodes, model_file), picture(2)
    crops, faces, face_mask, count, _ = run(nodes["GPENFaceDetect"], image=image)
    assert (count, crops.shape[0], len(faces), face_mask.shape) == (2, 2, 2, (2, 128, 160))
    restored, _ = run(nodes["GPENFaceRestore"], gpen_model=model, crops=crops, fidelity=0.0)
    assert restored.shape == (2, 64, 64, 3)
    pasted, mask, _ = run(nodes["GPENFacePasteBack"], image=image, faces=faces, restored=restored)
    once, once_mask, report = run(nodes["GPENRestoreImage"], image=image, gpen_model=model, fidelity=0.0)
    assert torch.allclose(mask, once_mask)
    assert (pasted - once).abs().max() < 0.15  # crops of 256 px against crops of the model's own 64
    assert torch.equal(once[mask == 0], image[mask == 0]), "untouched pixels changed"
    assert (once - image).abs().amax() > 0.05, "nothing was pasted"
    assert "2 faces found" in report and "torch" in report


def test_no_face_passes_through(nodes: dict[str, Any], model_file: str) -> None:
    model, image = load(nodes, model_file), torch.full((1, 64, 64, 3), 0.5)
    crops, faces, face_mask, count, report = run(nodes["GPENFaceDetect"], image=image)
    assert count == 0 and len(faces) == 0 and crops.shape[0] == 1 and not crops.any() and not face_mask.any()
    assert "no face" in report
    restored, _ = run(nodes["GPENFaceRestore"], gpen_model=model, crops=crops)
    pasted, mask, _ = run(nodes["GPENFacePasteBack"], image=image, faces=faces, restored=restored)
    assert torch.equal(pasted, image) and not mask.any()
    once, mask, report = run(nodes["GPENRestoreImage"], image=image, gpen_model=model)
    assert torch.equal(once, image) and not mask.any() and "no face" in report


def test_progress_shows_the_face_just_restored(host: FakeHost, nodes: dict[str, Any], model_file: str) -> None:
    run(nodes["GPENRestoreImage"], image=picture(3), gpen_model=load(nodes, model_file))
    assert host.progress[-1][0] == host.progress[-1][1]
    done = [entry[0] for entry in host.progress]
    assert done == sorted(done)
    previews = [entry[2] for entry in host.progress if entry[2] is not None]
    assert len(previews) >= 1 and previews[0][0] == "JPEG" and previews[0][1].size == (64, 64)


def test_cancel_raises_the_hosts_own_exception(host: FakeHost, nodes: dict[str, Any], model_file: str) -> None:
    model = load(nodes, model_file)
    host.cancelled = True
    with pytest.raises(Cancelled):
        run(nodes["GPENRestoreImage"], image=picture(), gpen_model=model)
    with pytest.raises(Cancelled):
        run(nodes["GPENFaceRestore"], gpen_model=model, crops=torch.rand(2, 64, 64, 3))


def test_inputs_are_never_written_into(nodes: dict[str, Any], model_file: str) -> None:
    model = load(nodes, model_file)
    for image in (picture(1, 4), picture(2).half(), picture(1).permute(0, 2, 1, 3)):
        before = image.clone()
        result = run(nodes["GPENRestoreImage"], image=image, gpen_model=model)[0]
        assert torch.equal(image, before)
        assert result.shape == image.shape


def test_alpha_is_kept(nodes: dict[str, Any], model_file: str) -> None:
    image = picture(1, 4)
    result = run(nodes["GPENRestoreImage"], image=image, gpen_model=load(nodes, model_file))[0]
    assert torch.equal(result[..., 3], image[..., 3])


def test_load_images_empty_mask_counts_as_absent(nodes: dict[str, Any], model_file: str) -> None:
    image, model = picture(), load(nodes, model_file)
    plain = run(nodes["GPENRestoreImage"], image=image, gpen_model=model)
    empty = run(nodes["GPENRestoreImage"], image=image, gpen_model=model, mask=torch.zeros(1, 64, 64))
    assert torch.equal(plain[0], empty[0]) and plain[1].any()


def test_detector_sessions_are_shared_and_let_go(host: FakeHost, nodes: dict[str, Any]) -> None:
    import gc

    from gpen_pack.nodes import detector_sessions as real

    first, second = nodes["GPENFaceDetect"](), nodes["GPENRestoreImage"]()
    detector = real.load_detector("auto", keeper=first)
    assert real.load_detector("auto", keeper=second) is detector
    assert len(real._sessions) == 1
    del detector, first, second
    gc.collect()
    assert len(real._sessions) == 0


def test_mistakes_are_said(nodes: dict[str, Any], model_file: str) -> None:
    model, image = load(nodes, model_file), picture()
    _, faces, *_ = run(nodes["GPENFaceDetect"], image=image)
    with pytest.raises(ValueError, match="expected"):
        run(nodes["GPENFacePasteBack"], image=image, faces=faces, restored=torch.rand(3, 64, 64, 3))
    with pytest.raises(ValueError, match="expected"):
        run(nodes["GPENFacePasteBack"], image=torch.rand(1, 160, 160, 3), faces=faces, restored=torch.rand(1, 8, 8, 3))
    with pytest.raises(ValueError, match="NaN"):
        run(nodes["GPENRestoreImage"], image=image * float("nan"), gpen_model=model)
    with pytest.raises(ValueError, match="empty"):
        run(nodes["GPENRestoreImage"], image=image[:0], gpen_model=model)
    with pytest.raises(ValueError, match="select"):
        run(nodes["GPENRestoreImage"], image=image, gpen_model=model, select="first")
    with pytest.raises(TypeError, match="faces"):
        run(nodes["GPENFacePasteBack"], image=image, faces=image, restored=image)
