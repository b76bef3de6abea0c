"""Widgets whose values come from elsewhere or are seldom set, through a real server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.comfyui

TEMPLATE = sorted((Path(__file__).parents[2] / "example_workflows").glob("*.json"))[0]


@pytest.fixture
def graph(graph_of: Any) -> dict[str, Any]:
    """Load Image -> Restore Image -> Save, as its template has it."""
    return graph_of(json.loads(TEMPLATE.read_text(encoding="utf-8")))


def inputs(graph: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(entry["inputs"] for entry in graph.values() if entry["class_type"] == kind)


def report(comfyui: Any, graph: dict[str, Any]) -> str:
    return next(told["text"][0] for told in comfyui.run(graph).values() if "text" in told)


def test_select_through_a_noodle(comfyui: Any, graph: dict[str, Any]) -> None:
    inputs(graph, "GPENRestoreImage")["select"] = ["90", 0]
    graph["90"] = {"class_type": "PrimitiveString", "inputs": {"value": "0"}}
    assert "1 restored" in report(comfyui, graph)
    graph["90"]["inputs"]["value"] = "first"
    with pytest.raises(RuntimeError, match="select must be all, or indexes"):
        comfyui.run(graph)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_the_report_names_the_precision_that_ran(comfyui: Any, graph: dict[str, Any], precision: str) -> None:
    inputs(graph, "GPENModelLoader")["precision"] = precision
    assert f"cpu, {precision})" in report(comfyui, graph)


def test_models_in_extra_model_paths_are_listed_and_run(
    comfyui: Any, info: dict[str, Any], graph: dict[str, Any]
) -> None:
    names = info["GPENModelLoader"]["input"]["required"]["model_name"][0]
    ours = ("kept-elsewhere.safetensors", "gpen_of_reactor.safetensors")
    assert set(ours) < set(names) and "codeformer.pth" not in names
    for name in ours:
        inputs(graph, "GPENModelLoader")["model_name"] = name
        assert f"model: {Path(name).stem}" in report(comfyui, graph)


def test_everything_set_at_once(comfyui: Any, graph: dict[str, Any]) -> None:
    inputs(graph, "GPENModelLoader").update(device="cpu", cpu_fallback=True)
    inputs(graph, "GPENRestoreImage").update(
        scale=2.5, mask_shape="box", blend_mode="detail", color_match="wavelet", template="ffhq", fidelity=0.0
    )
    outputs = comfyui.run(graph)
    image = next(i for told in outputs.values() for i in told.get("images", []) if i["type"] == "output")
    assert comfyui.picture(image).shape == (1280, 1280, 3)
