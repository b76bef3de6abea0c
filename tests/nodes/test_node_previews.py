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


def test_preview_numbers_are_those_that_select_counts() -> None:
    from gpen_pack.faces import TEMPLATES, Faces, select_faces
    from gpen_pack.nodes.preview import marks
    from gpen_pack.restoration import Report

    squares = [(0, 40), (50, 20), (80, 60), (150, 10)]  # left edge and side
    landmarks = torch.stack([TEMPLATES["gpen"] * side + left for left, side in squares])
    faces = Faces.from_landmarks(landmarks, [0] * 4, (200, 200))
    chosen, skipped = select_faces(faces, "0,2", "left-right", 15)
    report = Report(skipped=list(skipped))
    found = {mark.number: mark for mark in marks(chosen, report.skipped, 0)}
    assert {number: mark.chosen for number, mark in found.items()} == {0: True, 1: False, 2: True, None: False}
    for number, index in ((0, 0), (1, 1), (2, 2), (None, 3)):
        assert found[number].box == pytest.approx(faces.boxes[index].tolist())


def test_a_preview_is_bounded() -> None:
    from gpen_pack.nodes.preview import before_after, to_picture

    assert max(to_picture(torch.rand(3000, 1500, 3), 1024).size) <= 1024
    assert to_picture(torch.rand(20, 10, 4), 1024).size == (10, 20)
    assert before_after(torch.rand(20, 8, 8, 3), torch.rand(20, 64, 64, 3)).size == (8 * 256, 512)


def test_restore_ends_its_live_preview_with_the_strip(
    host: Any, nodes: Any, model_file: str, run: Any, load: Any
) -> None:
    model = load(nodes, model_file)
    model.restorer.batch_size = 1
    run(nodes["GPENFaceRestore"], gpen_model=model, crops=torch.rand(3, 64, 64, 3))
    sizes = [entry[2] and entry[2][1].size for entry in host.progress]
    assert sizes == [(64, 64), (64, 64), None, (3 * 256, 512)]


def test_the_strip_alone_shows_where_all_faces_go_through_at_once(
    host: Any, nodes: Any, model_file: str, defaults: Any, load: Any
) -> None:
    """A live preview would be left standing below it on newer pages."""
    node, crops = nodes["GPENFaceRestore"], torch.rand(1, 64, 64, 3)
    shown = node().restore(**defaults(node, gpen_model=load(nodes, model_file), crops=crops))["ui"]["images"]
    assert len(shown) == 1 and [entry[2] for entry in host.progress] == [None]
