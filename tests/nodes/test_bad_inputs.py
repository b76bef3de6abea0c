"""Every socket of every node says what is wrong with what it got: one sentence that names it, before anything runs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

SOCKETS = [
    ("GPENFaceDetect", "image"),
    ("GPENFaceDetect", "mask"),
    ("GPENFaceDetect", "original_image"),
    ("GPENFaceRestore", "crops"),
    ("GPENFacePasteBack", "image"),
    ("GPENFacePasteBack", "restored"),
    ("GPENFacePasteBack", "mask"),
    ("GPENRestoreImage", "image"),
    ("GPENRestoreImage", "mask"),
    ("GPENRestoreImage", "original_image"),
    ("GPENRestoreImage", "upscaled_image"),
]
BROKEN = {
    "text": lambda good: "a string",
    "a latent": lambda good: {"samples": good},
    "a list": lambda good: [good],
    "whole numbers": lambda good: (good * 255).to(torch.uint8),
    "empty": lambda good: good[:0],
    "no rows": lambda good: good[:, :0],
    "one dimension short": lambda good: good[0, 0],
    "NaN": lambda good: torch.full_like(good, float("nan")),
    "one infinite value": lambda good: good.clone().index_fill_(1, torch.tensor([30]), float("inf")),
}


@pytest.fixture
def good(nodes: Any, model_file: str, picture: Any, run: Any, load: Any) -> dict[str, dict[str, Any]]:
    """Inputs that each node runs with, every optional one connected."""
    image, model = picture(2), load(nodes, model_file)
    crops, faces, *_ = run(nodes["GPENFaceDetect"], image=image)
    original = image * 0.5
    mask = torch.ones(2, 128, 160)
    return {
        "GPENFaceDetect": {"image": image, "mask": mask, "original_image": original},
        "GPENFaceRestore": {"gpen_model": model, "crops": crops},
        "GPENFacePasteBack": {"image": image, "faces": faces, "restored": crops, "mask": mask},
        "GPENRestoreImage": {
            "image": image, "gpen_model": model, "mask": mask, "original_image": original,
            "upscaled_image": image.repeat_interleave(2, 1).repeat_interleave(2, 2),
        },
    }  # fmt: skip


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize(("node", "socket"), SOCKETS)
def test_a_broken_value_is_named(
    nodes: Any, good: Any, run: Any, detector_calls: Any, node: str, socket: str, how: str
) -> None:
    given = good[node]
    run(nodes[node], **given)
    before = detector_calls()
    with pytest.raises((TypeError, ValueError)) as caught:
        run(nodes[node], **{**given, socket: BROKEN[how](given[socket])})
    assert detector_calls() == before, "the mistake was noticed after a frame had been looked at"
    sentence = str(caught.value)
    assert sentence.startswith(socket), f"the sentence does not name {socket}: {sentence}"
    assert "\n" not in sentence and len(sentence) > len(socket) + 20


@pytest.mark.parametrize("node", ["GPENFaceDetect", "GPENRestoreImage"])
@pytest.mark.parametrize(
    ("widget", "value"),
    [("select", "the tall one"), ("order", "sideways"), ("min_face_px", -1), ("threshold", 2), ("template", "ffhp")],
)
def test_a_wrong_setting_is_named(
    nodes: Any, good: Any, run: Any, detector_calls: Any, node: str, widget: str, value: Any
) -> None:
    before = detector_calls()
    with pytest.raises(ValueError, match=f"{widget}.*{value}"):
        run(nodes[node], **{**good[node], widget: value})
    assert detector_calls() == before


@pytest.mark.parametrize("node", ["GPENFaceDetect", "GPENRestoreImage"])
@pytest.mark.parametrize("socket", ["image", "original_image", "mask"])
def test_the_last_frame_is_looked_at_before_the_first_is_worked_on(
    nodes: Any, good: Any, run: Any, detector_calls: Any, node: str, socket: str
) -> None:
    given = {**good[node], socket: good[node][socket].clone()}
    given[socket][-1, 5] = float("nan")
    before = detector_calls()
    with pytest.raises(ValueError, match=f"^{socket}"):
        run(nodes[node], **given)
    assert detector_calls() == before


def test_the_broken_values_cover_every_socket(nodes: Any, model_file: str) -> None:
    tensors = {
        (name, socket)
        for name, node in nodes.items()
        for group in node.INPUT_TYPES().values()
        for socket, spec in group.items()
        if spec[0] in ("IMAGE", "MASK")
    }
    assert tensors == set(SOCKETS)
