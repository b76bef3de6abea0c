"""One detection a face, and nothing degenerate: geometry alone, no pixels."""

from __future__ import annotations

import numpy as np
import pytest
from gpen_pack.detectors.detector import Detections
from gpen_pack.detectors.merging import join, merge, moved, take, turned_back, usable
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

FACE = np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)])  # fractions of a box


def faces(*rows: tuple[float, float, float, float]) -> Detections:
    """Well-formed faces from rows of x, y, side, score."""
    boxes = np.array([[x, y, x + side, y + side] for x, y, side, _ in rows]).reshape(-1, 4)
    points = boxes[:, None, :2] + FACE * (boxes[:, 2:] - boxes[:, :2])[:, None]
    return Detections.of(boxes, points, [row[3] for row in rows])


def one(points: np.ndarray, box: tuple[float, float, float, float] = (100, 100, 200, 200)) -> bool:
    return bool(usable(Detections.of([box], [points], [0.9]))[0])


def at(unit: np.ndarray) -> np.ndarray:
    return 100 + 100 * unit


def test_a_face_is_usable_in_any_turn_and_size() -> None:
    centre = FACE.mean(0)
    for degrees in range(0, 360, 30):
        a = np.radians(degrees)
        turn = np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
        for side in (4.0, 100.0, 5000.0):
            points = (FACE - centre) @ turn * side + 300
            assert one(points, (300 - side / 2, 300 - side / 2, 300 + side / 2, 300 + side / 2)), (degrees, side)


def test_a_profile_is_usable() -> None:
    assert one(at(FACE * [0.2, 1] + [0.4, 0]))


@pytest.mark.parametrize(
    ("points", "box"),
    [
        (at(FACE * 0 + 0.5), (100, 100, 200, 200)),  # coincident
        (at(FACE * [1, 0] + [0, 0.5]), (100, 100, 200, 200)),  # on a level line
        (at(np.stack([FACE[:, 1], FACE[:, 1]], 1)), (100, 100, 200, 200)),  # on a slanting line
        (at(FACE[[1, 0, 2, 4, 3]]), (100, 100, 200, 200)),  # left and right swapped
        (at(FACE * [1, -1] + [0, 1]), (100, 100, 200, 200)),  # upside down without being turned: mirrored
        (at(FACE), (100, 100, 100, 200)),  # no width
        (at(FACE), (200, 100, 100, 200)),  # negative width
        (at(FACE) + 500, (100, 100, 200, 200)),  # landmarks elsewhere
        (np.where(FACE == 0.5, np.nan, at(FACE)), (100, 100, 200, 200)),
        (np.where(FACE == 0.5, np.inf, at(FACE)), (100, 100, 200, 200)),
        (at(FACE), (100, np.nan, 200, 200)),
        (at(FACE), (100, 100, np.inf, 200)),
        (at(FACE) * 1e300, (100, 100, 200, 200)),
    ],
)
def test_degenerate_detections_are_not_usable(points: np.ndarray, box: tuple[float, float, float, float]) -> None:
    assert not one(points, box)


def test_a_score_must_be_a_number() -> None:
    good = faces((0, 0, 100, 0.9))
    assert not usable(Detections(good.boxes, good.landmarks, np.array([np.nan]))).any()


ANY = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, 1.0, -1.0, 100.0, 1e-300, 1e300, np.nan, np.inf]),
)


@settings(max_examples=200, deadline=None)
@given(arrays(np.float64, (3, 15), elements=ANY))
def test_whatever_is_usable_has_finite_numbers_and_keeps_left_and_right(rows: np.ndarray) -> None:
    garbage = Detections(rows[:, :4], rows[:, 4:14].reshape(3, 5, 2), rows[:, 14])
    good = take(garbage, usable(garbage))
    assert np.isfinite(good.boxes).all() and np.isfinite(good.landmarks).all() and np.isfinite(good.scores).all()
    assert (good.boxes[:, 2:] > good.boxes[:, :2]).all()
    merge(good)


def test_doubles_become_the_surest() -> None:
    seen = faces((100, 100, 50, 0.7), (102, 99, 52, 0.9), (400, 100, 50, 0.8))
    assert merge(seen) == [1, 2]


def test_a_part_of_a_face_is_not_another_face() -> None:
    whole, eye, half = (100, 100, 200, 0.9), (140, 160, 40, 0.8), (100, 100, 110, 0.85)
    assert merge(faces(whole, eye, half)) == [0]


def test_neighbours_in_a_crowd_stay() -> None:
    rows = [(100.0 + 45 * i, 100.0 + 50 * j, 50.0, 0.9 - 0.01 * (5 * j + i)) for j in range(4) for i in range(5)]
    assert merge(faces(*rows)) == list(range(20))


def test_the_order_they_were_found_in_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    rows = [(*rng.uniform(0, 300, 2), rng.uniform(20, 120), rng.choice([0.7, 0.8, 0.9])) for _ in range(40)]
    seen = faces(*rows)
    kept = seen.boxes[merge(seen)]
    for _ in range(5):
        shuffled = take(seen, rng.permutation(40))
        np.testing.assert_array_equal(shuffled.boxes[merge(shuffled)], kept)


def test_nothing_merges_to_nothing() -> None:
    assert merge(Detections.empty()) == [] and len(join([])) == 0 and len(usable(Detections.empty())) == 0
    assert len(take(faces((0, 0, 9, 0.5)), [])) == 0


def test_from_a_view_to_the_photo() -> None:
    seen = moved(faces((30, 20, 10, 0.9)), np.array([10.0, 5.0]), np.array([2.0, 4.0]))
    np.testing.assert_allclose(seen.boxes, [[10, 3.75, 15, 6.25]])
    np.testing.assert_allclose(seen.landmarks[0, 0], [(33 - 10) / 2, (24 - 5) / 4])


@pytest.mark.parametrize("quarters", range(4))
def test_from_a_turned_picture_back(quarters: int) -> None:
    """A dot is painted, the picture turned with numpy, and the dot's place there leads back to where it was."""
    picture = np.zeros((40, 70))
    picture[8, 50] = 1
    (row,), (column,) = np.nonzero(np.rot90(picture, quarters))
    there = np.array([column + 0.5, row + 0.5])
    box = np.concatenate([there - np.array([1, 2]), there + np.array([1, 2])])
    back = turned_back(Detections.of([box], [[there] * 5], [1]), quarters, (70, 40))
    np.testing.assert_allclose(back.landmarks, np.broadcast_to([50.5, 8.5], (1, 5, 2)))
    half = [1, 2] if quarters % 2 == 0 else [2, 1]
    np.testing.assert_allclose(back.boxes, [[50.5 - half[0], 8.5 - half[1], 50.5 + half[0], 8.5 + half[1]]])


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="shapes"):
        Detections(np.zeros((2, 4)), np.zeros((2, 5, 2)), np.zeros(3))
