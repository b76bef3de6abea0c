"""What the nodes show: progress, numbered faces, before and after."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch


def test_progress_shows_the_face_just_restored(
    host: Any, nodes: Any, model_file: str, picture: Any, run: Any, load: Any
) -> None:
    run(nodes["GPENRestoreImage"], image=picture(3), gpen_model=load(nodes, model_file))
    assert host.progress[-1][0] == host.progress[-1][1]
    done = [entry[0] for entry in host.progress]
    assert done == sorted(done)
    previews = [entry[2] for entry in host.progress if entry[2] is not None]
    assert len(previews) >= 1 and previews[0][0] == "JPEG" and previews[0][1].size == (64, 64)


def test_detect_shows_the_numbers_to_type(host: Any, nodes: Any, picture: Any, defaults: Any) -> None:
    from PIL import Image

    node = nodes["GPENFaceDetect"]
    shown = node().detect(**defaults(node, image=picture(6)))["ui"]["images"]
    assert len(shown) == 4, "a long batch shows its first frames only"
    assert all(set(entry) == {"filename", "subfolder", "type"} and entry["type"] == "temp" for entry in shown)
    with Image.open(Path(host.models_dir).parent / "temp" / shown[0]["filename"]) as drawn:
        assert drawn.size == (160, 128)
        assert (64, 224, 120) in {colour for _, colour in drawn.getcolors(1 << 20)}


def test_restore_ends_its_live_preview_with_the_pairs(
    host: Any, nodes: Any, model_file: str, defaults: Any, load: Any
) -> None:
    """One picture stands in the node at the end: the live preview, which a page keeps, or what the node returns."""
    model = load(nodes, model_file)
    model.restorer.batch_size = 1
    node = nodes["GPENFaceRestore"]
    shown = node().restore(**defaults(node, gpen_model=model, crops=torch.rand(3, 64, 64, 3)))["ui"]
    assert [entry[2] and entry[2][1].size for entry in host.progress] == [(64, 64), (64, 64), None, (3 * 256, 512)]
    assert shown == {"images": []}


def test_the_pairs_alone_show_where_all_faces_go_through_at_once(
    host: Any, nodes: Any, model_file: str, defaults: Any, load: Any
) -> None:
    node, crops = nodes["GPENFaceRestore"], torch.rand(1, 64, 64, 3)
    shown = node().restore(**defaults(node, gpen_model=load(nodes, model_file), crops=crops))["ui"]["images"]
    assert len(shown) == 1 and [entry[2] for entry in host.progress] == [None]


@pytest.mark.parametrize("frames", [1, 3])
def test_restore_image_shows_pairs(
    host: Any, nodes: Any, model_file: str, picture: Any, defaults: Any, load: Any, frames: int
) -> None:
    from PIL import Image

    node, model = nodes["GPENRestoreImage"], load(nodes, model_file)
    model.restorer.batch_size = 1
    shown = node().restore(**defaults(node, image=picture(frames), gpen_model=model))["ui"]["images"]
    live = [entry[2][1] for entry in host.progress if entry[2] is not None]
    assert bool(shown) != bool(live), "one picture stands in the node at the end"
    if shown:
        with Image.open(Path(host.models_dir).parent / "temp" / shown[0]["filename"]) as drawn:
            size = drawn.size
    else:
        size = live[-1].size
    assert size == ((512, 1024) if frames == 1 else (3 * 256, 512))


def test_no_face_shows_nothing(host: Any, nodes: Any, model_file: str, defaults: Any, load: Any) -> None:
    node = nodes["GPENRestoreImage"]
    grey = torch.full((1, 64, 64, 3), 0.5)
    assert node().restore(**defaults(node, image=grey, gpen_model=load(nodes, model_file)))["ui"] == {"images": []}
