"""Mistakes through a real server: what the node's error says, and that nothing is handed on as if it were done."""

from __future__ import annotations

from typing import Any

import pytest
from gpen_pack.tests.comfyui.graphs import node, restore_graph, step_by_step

pytestmark = pytest.mark.comfyui


def said(comfyui: Any, graph: dict[str, Any], kind: str) -> str:
    """The sentence that the page shows on the failed node, which is of this kind; nothing may have been saved."""
    entry = comfyui.wait(comfyui.queue(graph))
    errors = [told for name, told in entry["status"]["messages"] if name == "execution_error"]
    assert [told["node_type"] for told in errors] == [kind], entry["status"]["messages"]
    assert "4" not in entry["outputs"], "a picture was saved all the same"
    assert errors[0]["exception_type"] in ("ValueError", "TypeError")
    return errors[0]["exception_message"].strip()


IMAGE = r"NaN or infinite"
EMPTY = r"the batch is empty"


@pytest.mark.parametrize(
    ("socket", "habit", "words"),
    [
        ("image", "nan", IMAGE),
        ("image", "empty", EMPTY),
        ("original_image", "nan", IMAGE),
        ("original_image", "empty", EMPTY),
        ("upscaled_image", "nan", IMAGE),
        ("upscaled_image", "empty", EMPTY),
        ("upscaled_image", "other aspect", r"expected the aspect of image \(512×512\), got 256×512"),
        ("upscaled_image", "two frames", r"expected 1 frames as in image, got 2"),
    ],
)
def test_restore_image(comfyui: Any, photo: str, socket: str, habit: str, words: str) -> None:
    graph = restore_graph(photo, **{socket: ["9", 0]})
    graph["9"] = node("TestBadImage", image=["1", 0], habit=habit)
    assert_sentence(said(comfyui, graph, "GPENRestoreImage"), socket, words)


@pytest.mark.parametrize(
    ("socket", "slot", "habit", "words"),
    [
        ("image", "7", "other aspect", r"aspect"),
        ("image", "7", "two frames", r"expected 1 frame\(s\)"),
        ("image", "7", "nan", IMAGE),
        ("image", "7", "empty", EMPTY),
        ("restored", "7", "two frames", r"expected 1 pictures, one per face in the order of the crops, got 2"),
        ("restored", "7", "empty", EMPTY),
        ("restored", "7", "nan", IMAGE),
        ("crops", "6", "empty", EMPTY),
        ("crops", "6", "nan", IMAGE),
        ("image", "3", "nan", IMAGE),
        ("image", "3", "empty", EMPTY),
    ],
)
def test_the_separate_nodes(comfyui: Any, photo: str, socket: str, slot: str, habit: str, words: str) -> None:
    graph = step_by_step(photo)
    graph["9"] = node("TestBadImage", image=graph[slot]["inputs"][socket], habit=habit)
    graph[slot]["inputs"][socket] = ["9", 0]
    sentence = said(comfyui, graph, graph[slot]["class_type"])
    assert_sentence(sentence, "" if words.startswith(("aspect", "expected 1 frame")) else socket, words)


@pytest.mark.parametrize("habit", ["nan", "two frames"])
def test_masks(comfyui: Any, photo: str, habit: str) -> None:
    graph = restore_graph(photo, mask=["10", 0])
    graph["9"] = node("TestBadImage", image=["1", 0], habit=habit)
    graph["10"] = node("ImageToMask", image=["9", 0], channel="red")
    words = {"nan": "not finite", "two frames": "expected 1 or 1, got 2"}[habit]
    assert_sentence(said(comfyui, graph, "GPENRestoreImage"), "mask", words)


@pytest.mark.parametrize(
    ("slot", "socket", "words"),
    [
        ("3", "image", "expected an image batch"),
        ("6", "crops", "expected an image batch"),
        ("6", "gpen_model", "expected what Load GPEN Model gives"),
        ("7", "faces", r"expected what Detect Faces \(GPEN\) gives"),
        ("7", "restored", "expected an image batch"),
        ("7", "mask", "must be a MASK"),
    ],
)
@pytest.mark.parametrize("what", ["text", "latent", "number"])
def test_what_a_wildcard_lets_through(comfyui: Any, photo: str, slot: str, socket: str, words: str, what: str) -> None:
    graph = step_by_step(photo)
    graph["9"] = node("TestAnything", what=what)
    graph[slot]["inputs"][socket] = ["9", 0]
    assert_sentence(said(comfyui, graph, graph[slot]["class_type"]), socket, words)


def assert_sentence(sentence: str, socket: str, words: str) -> None:
    import re

    assert sentence.startswith(socket), f"the sentence does not name {socket}: {sentence}"
    assert re.search(words, sentence), sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(
    ("which", "name", "value", "words"),
    [
        ("2", "model_name", "GPEN-BFR-512.pth", "huggingface.co/akhaliq/GPEN-BFR-512"),
        ("2", "precision", "int4", "not in"),
        ("3", "select", "first", "select must be all, or indexes"),
        ("3", "fidelity", 2.0, "bigger than max"),
        ("3", "min_face_px", 0, "smaller than min"),
        ("3", "threshold", "high", "could not convert"),
        ("3", "gpen_model", ["1", 0], "mismatch"),
    ],
)
def test_wrong_values_are_refused_before_anything_runs(
    comfyui: Any, refused: Any, photo: str, which: str, name: str, value: Any, words: str
) -> None:
    graph = restore_graph(photo)
    graph[which]["inputs"][name] = value
    with pytest.raises(refused) as caught:
        comfyui.queue(graph)
    assert words in str(caught.value)


def test_a_file_that_is_no_model_is_said(comfyui: Any, refused: Any, photo: str) -> None:
    (comfyui.base / "models/gpen/not-a-model.pth").write_bytes(b"<html>404</html>")
    graph = restore_graph(photo, "not-a-model.pth")
    with pytest.raises(refused) as caught:  # what is no GPEN is not in the list, and the page says why
        comfyui.queue(graph)
    assert "not-a-model.pth: it is a web page, not a model" in str(caught.value)
