"""ComfyUI's ways to keep memory small, each in a server of its own: the same picture comes out of all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpen_pack.tests.comfyui.graphs import restore_graph

pytestmark = pytest.mark.comfyui


@pytest.mark.parametrize("flag", ["--lowvram", "--novram", "--highvram"])
def test_a_server_with_another_way_to_keep_models(
    comfyui: Any, photo: str, flag: str, new_server: Any, tmp_path: Path
) -> None:
    graph = restore_graph(photo, fidelity=0.21)
    expected = comfyui.picture(comfyui.run(graph)["4"]["images"][0])
    other = new_server(tmp_path, flag)
    other.put(photo, comfyui.picture({"filename": photo, "type": "input"}))
    assert f"Set vram state to: {flag[2:-4].upper()}_VRAM" in other.text_log()
    assert np.array_equal(other.picture(other.run(graph)["4"]["images"][0]), expected)
    other.post("/free", {"unload_models": True, "free_memory": True})
    again = restore_graph(photo, fidelity=0.21, min_face_px=17)  # another number, lest ComfyUI answer from its cache
    assert np.array_equal(other.picture(other.run(again)["4"]["images"][0]), expected)
