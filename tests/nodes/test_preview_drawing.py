"""The pictures that the nodes show: plates, landmarks and pairs at every size and number of faces."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from gpen_pack.faces import TEMPLATES, Faces, Skipped
from gpen_pack.nodes import preview
from gpen_pack.nodes.pairs import before_after, crop_pairs, photo_pairs
from gpen_pack.nodes.preview import DARK, GREEN, marks, numbered_faces, to_picture
from gpen_pack.restoration import FaceNote, Report


class Left(NamedTuple):
    frame: int
    box: preview.Box | None
    number: int | None


def faces_at(
    squares: list[tuple[float, float, float]], size: tuple[int, int], frames: list[int] | None = None
) -> Faces:
    """Faces whose aligned squares have these left and top edges and sides."""
    points = [TEMPLATES["gpen"] * side + torch.tensor([x, y]) for x, y, side in squares]
    return Faces.from_landmarks(torch.stack(points), frames or [0] * len(squares), size)


def grid(count: int, side: float, columns: int) -> list[tuple[float, float, float]]:
    return [(index % columns * side, index // columns * side, side) for index in range(count)]


def plates_of(faces: Faces, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """(text, corner, px) of every plate that is drawn on a picture of (height, width)."""
    drawn: list[tuple[Any, ...]] = []
    draw_plate = preview.text_plate

    def record(draw: Any, text: str, corner: Any, colour: Any, px: int) -> None:
        drawn.append((text, corner, px))
        draw_plate(draw, text, corner, colour, px)

    monkeypatch.setattr(preview, "text_plate", record)
    numbered_faces(torch.zeros(1, *size, 3), faces, Report())
    return drawn


def test_numbers_are_those_that_select_counts() -> None:
    chosen = faces_at([(0, 0, 40), (80, 0, 60)], (200, 200))
    left = [Left(0, (50, 5, 70, 25), 1), Left(0, (150, 2, 160, 9), None), Left(0, None, None), Left(1, (0, 0, 9, 9), 0)]
    found = [(mark.number, mark.chosen, mark.box) for mark in marks(chosen, left, 0)]
    boxes = [tuple(box) for box in chosen.boxes.tolist()]
    assert found == [(1, False, left[0].box), (None, False, left[1].box), (0, True, boxes[0]), (2, True, boxes[1])]


def test_a_report_s_own_notes_are_enough() -> None:
    left = Skipped("not_selected", 0, box=(1, 1, 5, 5), size=9.0, number=0)
    assert [mark.number for mark in marks(faces_at([(0, 0, 40)], (60, 60)), [left], 0)] == [0, 1]


def test_plates_scale_with_the_face(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = plates_of(faces_at([(0, 100, 400), (500, 100, 100)], (600, 1000)), (600, 1000), monkeypatch)
    assert drawn[0][2] > 1.5 * drawn[1][2] >= 1.5 * 12


def test_29_plates_hide_no_face_and_no_other_plate(monkeypatch: pytest.MonkeyPatch) -> None:
    size = (568, 1328)
    faces = faces_at(grid(29, 110, 10), size)
    drawn = plates_of(faces, size, monkeypatch)
    assert sorted(int(text) for text, _, _ in drawn) == list(range(29))
    picture = numbered_faces(torch.zeros(1, *size, 3), faces, Report())[0]
    for box in (faces.boxes * (picture.width / size[1])).tolist():
        inner = picture.crop([round(value + edge) for value, edge in zip(box, (6, 6, -6, -6), strict=True)])  # type: ignore[arg-type]
        green = sum(count for count, colour in inner.getcolors(1 << 20) or [] if colour == GREEN)
        assert green < 0.08 * inner.width * inner.height, "only landmarks lie on a face"
    corners = {corner for _, corner, _ in drawn}
    assert len(corners) == 29
    assert all(px >= 20 for _, _, px in drawn), "legible where a node shows the photo 400 pixels wide"


@pytest.mark.parametrize(("side", "has_landmarks"), [(40.0, False), (300.0, True)])
def test_landmarks_only_where_they_fit(side: float, has_landmarks: bool) -> None:
    faces = faces_at([(20, 60, side)], (400, 400))
    picture = numbered_faces(torch.full((1, 400, 400, 3), 0.5), faces, Report())[0]
    x, y = faces.landmarks[0, 2].tolist()
    assert (picture.getpixel((int(x), int(y))) == GREEN) is has_landmarks


def test_tiny_faces_of_a_large_photo_get_a_larger_preview() -> None:
    few, many = faces_at([(0, 0, 2000)], (3000, 4000)), faces_at(grid(40, 200, 20), (3000, 4000))
    shapes = [numbered_faces(torch.zeros(1, 3000, 4000, 3), faces, Report())[0].size for faces in (few, many)]
    assert shapes[0] == (1024, 768) and 1024 < shapes[1][0] <= 2048


def test_plates_stay_within_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    size = (100, 120)
    for text, (x, y), px in plates_of(faces_at([(-20, -20, 160)], size), size, monkeypatch):
        assert x >= 0 and y >= 0 and x + px * len(text) / 2 <= size[1] and y + px <= size[0]


def test_a_preview_is_bounded() -> None:
    assert max(to_picture(torch.rand(3000, 1500, 3), 1024).size) <= 1024
    assert to_picture(torch.rand(20, 10, 4), 1024).size == (10, 20)


@pytest.mark.parametrize(
    ("count", "size"), [(1, (512, 1024)), (2, (1024, 1024)), (3, (768, 512)), (4, (1024, 512)), (8, (1024, 1024))]
)
def test_pairs_stand_four_in_a_row(count: int, size: tuple[int, int]) -> None:
    pairs = crop_pairs(torch.rand(count, 8, 8, 3), torch.rand(count, 64, 64, 3))
    assert [pair.label for pair in pairs] == [str(index) for index in range(count)]
    assert before_after(pairs, count)[0].size == size


def test_pairs_say_how_many_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    from gpen_pack.nodes import pairs as module

    said: list[str] = []
    monkeypatch.setattr(module, "text_plate", lambda draw, text, *rest: said.append(text))
    sheet = before_after(crop_pairs(torch.rand(29, 8, 8, 3), torch.rand(29, 16, 16, 3)), 29)[0]
    assert said == [*map(str, range(8)), "8 of 29 faces"]
    assert sheet.size == (1024, 1024 + 80)
    assert before_after([], 0) == []


def test_before_stands_above_after() -> None:
    crops, restored = torch.zeros(1, 64, 64, 3), torch.ones(1, 64, 64, 3)
    sheet = before_after(crop_pairs(crops, restored), 1)[0]
    assert sheet.getpixel((400, 300)) == DARK and sheet.getpixel((400, 800)) == (255, 255, 255)


def test_photo_pairs_show_the_face_at_its_place_in_an_enlarged_result() -> None:
    image, result = torch.zeros(2, 100, 200, 3), torch.zeros(2, 200, 400, 3)
    image[1, 40:60, 90:110] = 0.5
    result[1, 80:120, 180:220] = 1.0
    notes = [
        FaceNote(1, 20.0, (92, 41, 108, 59), 0.9, "restored"),
        FaceNote(1, 20.0, (-15, 90, 5, 110), 0.9, "restored"),
    ]
    left = [Skipped("not_selected", 1, box=(0, 0, 5, 5), size=5.0, number=0)]
    pairs = photo_pairs(image, result, Report(faces=notes, skipped=left))
    assert [pair.label for pair in pairs] == ["1:1", "1:2"]
    assert pairs[0].before.shape == (20, 20, 3) and bool((pairs[0].before == 0.5).all())
    assert pairs[0].after.shape == (40, 40, 3) and bool((pairs[0].after == 1).all())
    assert before_after(pairs, 2)[0].size == (1024, 1024), "a face that reaches out of the photo"
