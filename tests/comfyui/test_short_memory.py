"""Memory runs out on a real server: what is tried next, what the report and the error say, what is let go of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gpen_pack.tests.comfyui.graphs import node, step_by_step

pytestmark = pytest.mark.comfyui


def short(photo: str, fits: int, precision: str, faces: int) -> dict[str, Any]:
    """Faces through Restore Faces with a network that only so many of them fit into; its report as text."""
    graph = step_by_step(photo)
    graph["2"]["inputs"]["precision"] = precision
    graph["8"] = node("TestShortOfMemory", gpen_model=["2", 0], fits=fits)
    graph["9"] = node("RepeatImageBatch", image=["3", 0], amount=faces)
    graph["6"]["inputs"].update(gpen_model=["8", 0], crops=["9", 0])
    graph["4"]["inputs"]["images"] = ["6", 0]
    graph["5"]["inputs"]["source"] = ["6", 1]
    del graph["7"]
    return graph


def test_fewer_faces_at_once(comfyui: Any, photo: str) -> None:
    whole = comfyui.run(short(photo, 16, "auto", 8))
    outputs = comfyui.run(short(photo, 2, "auto", 8))
    report = outputs["5"]["text"][0]
    assert "8 at once): went on 4 at once" in report and "4 at once): went on 2 at once" in report
    assert "cpu, fp32)" in report, "the precision was narrowed without need"
    assert "out of memory" not in whole["5"]["text"][0]
    first, second = ([comfyui.picture(image).astype(int) for image in told["4"]["images"]] for told in (whole, outputs))
    assert len(second) == 8 and np.abs(np.stack(first) - np.stack(second)).max() <= 1


def test_then_narrower_numbers(comfyui: Any, photo: str) -> None:
    outputs = comfyui.run(short(photo, 0, "auto", 2))
    report = outputs["5"]["text"][0]
    assert "2 at once): went on 1 at once" in report and "1 at once): went on in bf16" in report
    assert "cpu, bf16)" in report, "the report names what really ran"
    assert len(outputs["4"]["images"]) == 2


def test_the_floor_is_an_error_with_advice(comfyui: Any, photo: str) -> None:
    with pytest.raises(RuntimeError) as caught:
        comfyui.run(short(photo, 0, "fp32", 2))
    sentence = str(caught.value)
    assert "out of memory with one face of 64 px" in sentence and "CUDA out of memory" in sentence
    assert sentence.rstrip().endswith("To go on, free memory by unloading other models."), "what cannot help is offered"
