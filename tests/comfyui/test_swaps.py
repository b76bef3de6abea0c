"""Behind a ReActor swap, played by a stand-in with its sockets and habits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpen_pack.tests.comfyui.graphs import node, restore_graph

pytestmark = pytest.mark.comfyui

TEMPLATE = sorted((Path(__file__).parents[2] / "example_workflows").glob("3*.json"))[0]


def test_only_the_swapped_face_is_restored(comfyui: Any, photo: str, info: dict[str, Any]) -> None:
    """The photo twice, one above the other; the swap takes the upper face."""
    once = comfyui.picture({"filename": photo, "type": "input"})
    twice = np.concatenate((once, once))
    graph = restore_graph(comfyui.put("twice.png", twice), image=["8", 0], original_image=["8", 2])
    widgets = info["ReActorFaceSwap"]["input"]["required"]
    chosen = {
        name: spec[0][0] if isinstance(spec[0], list) else spec[1]["default"]
        for name, spec in widgets.items()
        if name != "input_image"
    }
    graph["8"] = node("ReActorFaceSwap", **chosen, input_image=["1", 0], source_image=["1", 0])
    graph["6"] = node("SaveImage", images=["8", 0], filename_prefix="swapped")
    outputs = comfyui.run(graph)
    report = outputs["5"]["text"][0]
    assert "2 faces found, 1 restored" in report and "not changed by the swap" in report
    after, swapped_only = (comfyui.picture(outputs[key]["images"][0]) for key in ("4", "6"))
    assert np.array_equal(after[512:], swapped_only[512:]), "the other face was touched"
    assert np.abs(after[60:180, 180:270].astype(int) - swapped_only[60:180, 180:270]).mean() > 1


def swapped(photo: str, habit: str, frames: int) -> dict[str, Any]:
    graph = restore_graph(photo, image=["8", 0], original_image=["8", 2])
    graph["7"] = node("TestMovingFrames", image=["1", 0], frames=frames)
    graph["8"] = node("TestReActorHabits", input_image=["7", 0], habit=habit)
    return graph


def test_a_swap_that_dropped_a_frame(comfyui: Any, photo: str) -> None:
    outputs = comfyui.run(swapped(photo, "drops first frame", 3))
    assert len(outputs["4"]["images"]) == 2
    assert "2 restored" in outputs["5"]["text"][0]


def test_a_swap_that_answers_black(comfyui: Any, photo: str) -> None:
    outputs = comfyui.run(swapped(photo, "black 512", 2))
    assert not comfyui.picture(outputs["4"]["images"][0]).any()
    assert "no face found" in outputs["5"]["text"][0]


def test_a_swap_that_is_switched_off(comfyui: Any, info: dict[str, Any], graph_of: Any) -> None:
    graph = graph_of(json.loads(TEMPLATE.read_text(encoding="utf-8")))
    next(entry for entry in graph.values() if entry["class_type"] == "ReActorFaceSwap")["inputs"]["enabled"] = False
    entry = comfyui.wait(comfyui.queue(graph))
    for kind, told in entry["status"]["messages"]:
        if kind == "execution_error" and told["node_type"] == "ReActorFaceSwap":
            pytest.skip("this ComfyUI itself refuses a node that returns fewer values than it has outputs")
    texts = [text for told in entry["outputs"].values() for text in told.get("text", [])]
    assert any("1 restored" in text for text in texts)
