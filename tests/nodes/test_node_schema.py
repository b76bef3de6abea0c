"""Ids, inputs, words and choices, and what is refused before a graph runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from gpen_pack.gpen_arch import GPEN, GPENConfig


def test_schema_is_the_frozen_inventory(nodes: Any, model_file: str) -> None:
    """Ids, input names, types, defaults and order: saved workflows hold values by position."""
    inventory = json.loads((Path(__file__).parents[1] / "node_inventory.json").read_text(encoding="utf-8"))
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


def test_every_input_and_output_has_words(nodes: Any, model_file: str) -> None:
    for name, node in nodes.items():
        assert node.DESCRIPTION and node.CATEGORY == "GPEN" and node.SEARCH_ALIASES, name
        assert len(node.OUTPUT_TOOLTIPS) == len(node.RETURN_TYPES)
        for widgets in node.INPUT_TYPES().values():
            for widget, spec in widgets.items():
                assert spec[1].get("tooltip"), f"{name}.{widget}"


def test_choices_are_those_of_the_core(nodes: Any) -> None:
    from gpen_pack import faces
    from gpen_pack.nodes import inputs

    assert set(inputs.ORDERS) == set(faces.ORDERS)
    assert set(inputs.TEMPLATES) == set(faces.TEMPLATES)
    assert tuple(inputs.BLEND_MODES) == tuple(faces.BLEND_MODES)
    assert tuple(inputs.COLOR_MATCHES) == tuple(faces.COLOR_MATCHES)
    assert set(inputs.MASK_SHAPES) == set(faces.MASK_SHAPES)


def test_loader_lists_reactors_files_by_gpen_in_the_name(host: Any, nodes: Any, model_file: str) -> None:
    reactor = Path(host.models_dir) / "facerestore_models"
    reactor.mkdir()
    model = (Path(host.models_dir) / "gpen" / model_file).read_bytes()
    for name in ("GPEN-BFR-512.pt", "codeformer-v0.1.0.pth", "gpen_bfr_1024.pth", "readme.txt"):
        (reactor / name).write_bytes(model)
    names = nodes["GPENModelLoader"].INPUT_TYPES()["required"]["model_name"][0]
    assert {"tiny.pth", "GPEN-BFR-512.pt", "gpen_bfr_1024.pth"} <= set(names)
    assert not {"codeformer-v0.1.0.pth", "readme.txt"} & set(names)
    assert "facerestore_models" not in host.folder_names_and_paths, "another pack's key is left alone"


def test_missing_model_is_worded_before_the_graph_runs(nodes: Any, model_file: str) -> None:
    loader = nodes["GPENModelLoader"]
    assert loader.VALIDATE_INPUTS(model_file) is True
    sentence = loader.VALIDATE_INPUTS("GPEN-BFR-2048.pth")
    assert isinstance(sentence, str) and "GPEN-BFR-2048.pth" in sentence and "gpen" in sentence


def test_a_replaced_file_changes_the_loader(host: Any, nodes: Any, model_file: str) -> None:
    loader = nodes["GPENModelLoader"]
    before = loader.IS_CHANGED(model_name=model_file, precision="auto")
    assert before == loader.IS_CHANGED(model_name=model_file, precision="auto")
    path = Path(host.models_dir) / "gpen" / model_file
    torch.save(GPEN(GPENConfig.standard(32, narrow=1 / 32, style_dim=32, mapping_layers=2)).state_dict(), path)
    assert loader.IS_CHANGED(model_name=model_file, precision="auto") != before


def test_select_is_checked_before_the_graph_runs(nodes: Any) -> None:
    for name in ("GPENFaceDetect", "GPENRestoreImage"):
        check = nodes[name].VALIDATE_INPUTS
        assert check(select="0, 2-3") is True
        assert check() is True, "a linked value is left out"
        assert "select must be all" in check(select="first")


def test_a_linked_model_name_is_checked_when_it_runs(nodes: Any, model_file: str, load: Any) -> None:
    assert nodes["GPENModelLoader"].VALIDATE_INPUTS() is True
    with pytest.raises(FileNotFoundError, match=r"GPEN-BFR-512\.pth.*huggingface"):
        load(nodes, "GPEN-BFR-512.pth")


def test_only_what_is_a_gpen_by_its_header_is_offered(
    host: Any, nodes: Any, model_file: str, shared: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a YuNet is called; other networks and damaged files are named once in the log, and when they are asked
    for."""
    folder = Path(host.models_dir) / "gpen"
    detector = next((shared / "detectors").glob("*yunet*.onnx")).read_bytes()
    for name in ("face_detection_yunet_2023mar.onnx", "GPEN-BFR-256.onnx", "a.onnx"):
        (folder / name).write_bytes(detector)
    torch.save({"params": {"position_emb": torch.ones(1), "ft_layers.0.norm1.weight": torch.ones(1)}}, folder / "b.pth")
    (folder / "c.pth").write_bytes((folder / model_file).read_bytes()[:-50])
    (folder / "d.safetensors").write_text("root:hunter2")
    loader = nodes["GPENModelLoader"]
    names = loader.INPUT_TYPES()["required"]["model_name"][0]
    assert names[0] == model_file and len(names) == 2, "and the built-in one"
    assert all(word in caplog.text for word in ("CodeFormer", "truncated", "text file"))
    caplog.clear()
    loader.INPUT_TYPES()
    assert caplog.text == ""
    assert "CodeFormer" in loader.VALIDATE_INPUTS("b.pth")
    assert "truncated" in loader.VALIDATE_INPUTS("c.pth")
    assert "hunter2" not in loader.VALIDATE_INPUTS("d.safetensors")


def test_headers_are_read_once_until_a_file_changes(
    host: Any, nodes: Any, model_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpen_pack.models import inspection

    opened: list[Path] = []
    real = inspection.open_gpen
    monkeypatch.setattr(inspection, "open_gpen", lambda path, *args: (opened.append(path), real(path, *args))[1])
    for _ in range(3):
        nodes["GPENModelLoader"].INPUT_TYPES()
    assert len(opened) == 1
    (Path(host.models_dir) / "gpen" / model_file).touch()
    nodes["GPENModelLoader"].INPUT_TYPES()
    assert len(opened) == 2


def test_only_names_of_the_list_are_opened(
    host: Any, nodes: Any, model_file: str, load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a path, not a home folder, not a path out of the folder: the server hands on whatever a client sends."""
    outside = tmp_path / "home" / "secret.pth"
    outside.parent.mkdir()
    outside.write_bytes((Path(host.models_dir) / "gpen" / model_file).read_bytes())
    monkeypatch.setenv("HOME", str(outside.parent))
    monkeypatch.setenv("USERPROFILE", str(outside.parent))
    inside = Path(host.models_dir) / "gpen" / model_file
    for name in (str(outside), "~/secret.pth", "../../home/secret.pth", str(inside), "builtin", "tiny", "", "TINY.pth"):
        sentence = nodes["GPENModelLoader"].VALIDATE_INPUTS(name)
        assert isinstance(sentence, str) and "in the list" in sentence, name
        with pytest.raises(FileNotFoundError, match="in the list"):
            load(nodes, name)


def test_the_list_is_made_without_network_and_without_new_folders(
    host: Any, nodes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("INPUT_TYPES reached for the network")

    monkeypatch.setattr(socket, "socket", refuse)
    for node in nodes.values():
        node.INPUT_TYPES()
    assert not Path(host.models_dir).exists(), "a folder was made"


def test_folders_of_extra_model_paths_are_kept_and_listed(host: Any, nodes: Any, tmp_path: Path) -> None:
    from gpen_pack.nodes import host as real

    extra = tmp_path / "elsewhere"
    extra.mkdir()
    torch.save(GPEN(GPENConfig.standard(8, narrow=1 / 64, style_dim=8)).state_dict(), extra / "mine.safetensors")
    host.folder_names_and_paths["gpen"] = ([str(extra)], {".custom"})
    host.folder_names_and_paths["facerestore_models"] = ([str(tmp_path / "reactor")], {".pth"})
    real.register_folder()
    paths, extensions = host.folder_names_and_paths["gpen"]
    assert str(extra) in paths and {".custom", ".onnx", ".safetensors", ".pth", ".pt"} <= extensions
    assert host.folder_names_and_paths["facerestore_models"] == ([str(tmp_path / "reactor")], {".pth"})
    assert "mine.safetensors" in nodes["GPENModelLoader"].INPUT_TYPES()["required"]["model_name"][0]
