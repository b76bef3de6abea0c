"""Selection: filters first, then the order, then indexes within each frame; whatever is left out says why."""

from __future__ import annotations

import pytest
import torch
from gpen_pack.faces.collection import Faces
from gpen_pack.faces.geometry.templates import TEMPLATES
from gpen_pack.faces.selection import ORDERS, frame_mask, masked_in, parse_select, select_faces
from torch import Tensor

WIDTH, HEIGHT = 400, 200


def faces_at(
    squares: list[tuple[int, float, float, float]],
    scores: list[float] | None = None,
    frame_count: int = 1,
) -> Faces:
    """Upright faces from (frame, centre x, centre y, size), in the order given."""
    template = TEMPLATES["gpen"]
    landmarks = torch.zeros(len(squares), 5, 2, dtype=torch.float64)
    for index, (_, x, y, size) in enumerate(squares):
        landmarks[index] = (template - 0.5) * size + torch.tensor([x, y], dtype=torch.float64)
    return Faces.from_landmarks(
        landmarks,
        torch.tensor([frame for frame, *_ in squares], dtype=torch.int64),
        (HEIGHT, WIDTH),
        scores=None if scores is None else torch.tensor(scores, dtype=torch.float64),
        frame_count=frame_count,
    )


def centres(faces: Faces) -> list[tuple[int, int, int]]:
    """(frame, x, y) of every face, rounded."""
    rounded = faces.centers.round().long().tolist()
    return [(frame, x, y) for frame, (x, y) in zip(faces.frame_indices.tolist(), rounded, strict=True)]


def xs(faces: Faces) -> list[int]:
    return [x for _, x, _ in centres(faces)]


THREE = [(0, 200.0, 40.0, 30.0), (0, 50.0, 120.0, 60.0), (0, 350.0, 90.0, 45.0)]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("large-small", [50, 350, 200]),
        ("small-large", [200, 350, 50]),
        ("left-right", [50, 200, 350]),
        ("right-left", [350, 200, 50]),
        ("top-bottom", [200, 350, 50]),
        ("bottom-top", [50, 350, 200]),
        ("confidence", [350, 200, 50]),
    ],
)
def test_every_order(order: str, expected: list[int]) -> None:
    faces, skipped = select_faces(faces_at(THREE, [0.7, 0.6, 0.9]), order=order)
    assert xs(faces) == expected
    assert skipped == ()
    assert order in ORDERS and len(ORDERS) == 7


@pytest.mark.parametrize("order", ORDERS)
def test_equal_faces_stay_in_the_order_they_were_found(order: str) -> None:
    same = [(0, 100.0, 50.0, 40.0)] * 4
    faces = faces_at(same, [0.5] * 4)
    marked = torch.arange(4, dtype=torch.float64)
    faces = Faces.from_landmarks(
        faces.landmarks, faces.frame_indices, (HEIGHT, WIDTH), scores=faces.scores, boxes=marked[:, None].expand(4, 4)
    )
    selected, _ = select_faces(faces, order=order)
    assert selected.boxes[:, 0].tolist() == [0, 1, 2, 3]


def test_an_unknown_score_comes_last() -> None:
    faces, _ = select_faces(faces_at(THREE, [float("nan"), 0.2, 0.9]), order="confidence")
    assert xs(faces) == [350, 50, 200]


def test_frames_are_ordered_each_by_itself() -> None:
    squares = [(2, 300.0, 50.0, 40.0), (0, 200.0, 50.0, 30.0), (2, 100.0, 50.0, 50.0), (0, 90.0, 50.0, 80.0)]
    faces, skipped = select_faces(faces_at(squares, frame_count=3), order="left-right")
    assert centres(faces) == [(0, 90, 50), (0, 200, 50), (2, 100, 50), (2, 300, 50)]
    faces, skipped = select_faces(faces_at(squares, frame_count=3), "1", "left-right")
    assert centres(faces) == [(0, 200, 50), (2, 300, 50)]
    assert [entry.frame for entry in skipped] == [0, 2]
    assert faces.frame_count == 3 and faces.image_size == (HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("all", None),
        (" ALL ", None),
        ("0", [0]),
        ("0,2", [0, 2]),
        (" 0 , 2 ,", [0, 2]),
        (",1", [1]),
        ("0 2", [0, 2]),
        ("0-2", [0, 1, 2]),
        ("0 - 2, 5", [0, 1, 2, 5]),
        ("3-3", [3]),
        ("007", [7]),
        ("0,,1", [0, 1]),
        ("2,0", [2, 0]),
    ],
)
def test_select_is_read(text: str, expected: list[int] | None) -> None:
    ranges = parse_select(text)
    assert (None if ranges is None else [index for r in ranges for index in r]) == expected


def test_a_huge_range_costs_nothing() -> None:
    faces, skipped = select_faces(faces_at(THREE), "1-999999999")
    assert len(faces) == 2
    assert "3-999999999" in skipped[-1].reason


BAD = ["", " ", ",", "-", "-1", "1-", "a", "0;2", "0.5", "1,x", "all,0", "2-0", "0-1-2", "\u0663", "0x1"]


@pytest.mark.parametrize("text", BAD)
def test_a_bad_select_says_what_is_accepted(text: str) -> None:
    with pytest.raises(ValueError, match="select must be all, or indexes counted from 0"):
        select_faces(faces_at(THREE), text)


def test_select_counts_after_the_filters() -> None:
    mask = torch.ones(1, HEIGHT, WIDTH)
    mask[:, :, :100] = 0  # the largest face is out
    faces, skipped = select_faces(faces_at(THREE), "0", min_face_px=16, mask=mask)
    assert xs(faces) == [350]
    reasons = {round(entry.box[0] + entry.box[2]) // 2: entry.reason for entry in skipped if entry.box}
    assert len(skipped) == 2
    assert any("outside the mask" in reason for reason in reasons.values())
    assert any("not among select 0" in reason for reason in reasons.values())


def test_indexes_come_in_the_chosen_order_and_once() -> None:
    faces, _ = select_faces(faces_at(THREE), "2,0,0,0-0", "left-right")
    assert xs(faces) == [50, 350]


def test_an_index_beyond_the_faces_is_said_and_no_error() -> None:
    faces, skipped = select_faces(faces_at(THREE), "1,3-5,7", "left-right")
    assert xs(faces) == [200]
    remark = [entry for entry in skipped if entry.box is None]
    assert len(remark) == 1 and remark[0].frame == 0 and remark[0].size is None
    assert remark[0].reason == "select asks for face 3-5, 7, but its faces are 0 to 2"
    faces, skipped = select_faces(faces_at(THREE), "0", min_face_px=500)
    assert len(faces) == 0
    assert "none is left after the filters" in skipped[-1].reason


def test_min_face_px_is_the_side_of_the_aligned_square() -> None:
    faces, skipped = select_faces(faces_at(THREE), min_face_px=45)
    assert sorted(xs(faces)) == [50, 350]  # 45 px is not below 45, up to the rounding of the fit
    assert len(skipped) == 1
    assert skipped[0].size == pytest.approx(30)
    assert skipped[0].reason == "its size of 30.0 px is below min_face_px 45"
    assert len(select_faces(faces_at(THREE), min_face_px=0)[0]) == 3


@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (20, 40), (1000, 2000), (7, 13)])
def test_a_mask_of_any_size_covers_the_frame(size: tuple[int, int]) -> None:
    mask = torch.zeros(1, *size)
    mask[:, :, size[1] // 2 + 1 :] = 1  # the right half; no face's centre is near the middle but 200, on the left of it
    faces, skipped = select_faces(faces_at([(0, 180.0, 50.0, 30.0), *THREE[1:]]), mask=mask)
    assert xs(faces) == [350]
    assert [entry.reason for entry in skipped] == ["its centre lies outside the mask"] * 2


def test_the_mask_is_read_x_across_and_y_down() -> None:
    mask = torch.zeros(HEIGHT, WIDTH)  # (H, W) does too
    mask[120, 50] = 1  # row, column: the one pixel under the centre
    faces = faces_at([(0, 50.5, 120.5, 60.0), (0, 120.5, 50.5, 60.0)])
    assert xs(select_faces(faces, mask=mask)[0]) == [50]


def test_one_half_is_not_above_one_half() -> None:
    assert len(select_faces(faces_at(THREE), mask=torch.full((1, 10, 10), 0.5))[0]) == 0
    assert len(select_faces(faces_at(THREE), mask=torch.full((1, 10, 10), 0.51, dtype=torch.float16))[0]) == 3


def test_a_mask_for_every_frame() -> None:
    squares = [(frame, 100.0, 100.0, 50.0) for frame in range(3)]
    mask = torch.zeros(3, 20, 40)
    mask[1] = 1
    faces, _ = select_faces(faces_at(squares, frame_count=3), mask=mask)
    assert faces.frame_indices.tolist() == [1]
    with pytest.raises(ValueError, match="expected 1 or 3, got 2"):
        select_faces(faces_at(squares, frame_count=3), mask=mask[:2])


def test_load_images_empty_mask_is_no_mask() -> None:
    for empty in (torch.zeros(1, 64, 64), torch.zeros(64, 64), torch.zeros(5, 64, 64)):
        assert len(select_faces(faces_at(THREE), mask=empty)[0]) == 3
        assert frame_mask(empty, 1) is None
    one = torch.zeros(1, 64, 64)
    one[0, 0, 0] = 1
    assert len(select_faces(faces_at(THREE), mask=one)[0]) == 0
    assert len(select_faces(faces_at(THREE), mask=torch.zeros(1, 65, 64))[0]) == 0


@pytest.mark.parametrize("shape", [(5,), (1, 1, 64, 64), (1, 0, 5)])
def test_what_is_no_mask_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="mask must be a MASK"):
        select_faces(faces_at(THREE), mask=torch.ones(shape))


def test_a_face_whose_centre_is_beyond_the_frame_takes_the_nearest_value() -> None:
    faces = faces_at([(0, -20.0, 100.0, 90.0), (0, 410.0, 230.0, 90.0)])
    assert len(select_faces(faces, mask=torch.ones(1, 50, 50))[0]) == 2
    mask = torch.zeros(1, 50, 50)
    mask[:, :, 0] = 1
    assert masked_in(faces, mask).tolist() == [True, False]


def test_nothing_found_is_nothing_selected() -> None:
    empty = Faces.empty((HEIGHT, WIDTH), 4, "gpen")
    for select in ("all", "0,2"):
        faces, skipped = select_faces(empty, select, mask=torch.ones(4, 8, 8))
        assert len(faces) == 0 and skipped == () and faces.frame_count == 4


def test_every_face_is_either_kept_or_named() -> None:
    generator = torch.Generator().manual_seed(3)
    numbers = torch.rand(60, 4, generator=generator, dtype=torch.float64)
    squares = [(int(a * 5), b * WIDTH, c * HEIGHT, 8 + d * 40) for a, b, c, d in numbers.tolist()]
    faces = faces_at(squares, frame_count=5)
    mask: Tensor = (torch.rand(5, 6, 6, generator=generator) > 0.3).float()
    selected, skipped = select_faces(faces, "0-2,4", "top-bottom", 16, mask)
    named = [entry for entry in skipped if entry.box is not None]
    assert len(selected) + len(named) == 60
    assert 0 < len(selected) < 60
    assert all(entry.reason for entry in skipped)
    assert [entry.frame for entry in skipped] == sorted(entry.frame for entry in skipped)


def test_mistakes_are_sentences() -> None:
    with pytest.raises(ValueError, match="order must be one of large-small, small-large"):
        select_faces(faces_at(THREE), order="biggest")
    for bad in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="min_face_px must be 0 or more pixels"):
            select_faces(faces_at(THREE), min_face_px=bad)
