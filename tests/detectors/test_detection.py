"""Finding faces at any size, place and turn, with a painted detector that needs no file."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from gpen_pack.detectors import detect_faces, detect_frame
from gpen_pack.detectors.detector import Detections
from gpen_pack.detectors.merging import join
from gpen_pack.detectors.views import CANVAS, level_scales, views
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

POINTS = np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)])  # fractions of a painted face's box


class Painted:
    """A network's stand-in: red squares with a blue brow on top are faces, where 12 to 330 pixels wide and upright."""

    name, provider, canvas = "painted", "numpy", CANVAS

    def __init__(self) -> None:
        self.passes = 0

    def detect(self, image: np.ndarray, threshold: float) -> Detections:
        import cv2

        assert image.dtype == np.uint8 and image.flags.c_contiguous and max(image.shape[:2]) <= CANVAS
        self.passes += 1
        painted = image[..., 1] < 70
        blue, red = painted & (image[..., 2] > image[..., 0]), painted & (image[..., 2] <= image[..., 0])
        count, _, stats, _ = cv2.connectedComponentsWithStats(painted.astype(np.uint8))
        boxes = []
        for x, y, width, height, area in stats[1:count]:
            face = np.s_[y : y + height, x : x + width]
            whole = area > 0.8 * width * height and 0.4 < width / height < 2.5
            if whole and 12 <= max(width, height) <= 330 and blue[face].any() and red[face].any():
                brow, cheeks = (np.argwhere(part[face]).mean(0) for part in (blue, red))
                if cheeks[0] - brow[0] > abs(cheeks[1] - brow[1]):
                    boxes.append([x, y, x + width, y + height])
        corners = np.array(boxes, dtype=np.float64).reshape(-1, 4)
        points = corners[:, None, :2] + POINTS * (corners[:, 2:] - corners[:, :2])[:, None]
        return Detections.of(corners, points, np.full(len(boxes), 0.9))


def picture(height: int, width: int, *faces: tuple[int, int, int]) -> torch.Tensor:
    """A grey frame (1, H, W, 3) with painted faces at x, y, side."""
    image = torch.full((1, height, width, 3), 0.45)
    for x, y, side in faces:
        x0, y0, x1, y1 = max(x, 0), max(y, 0), x + side, y + side
        image[0, y0:y1, x0:x1] = torch.tensor([0.95, 0.1, 0.1])
        image[0, y0 : max(y + side // 3, 0), x0:x1] = torch.tensor([0.1, 0.1, 0.95])
    return image


def assert_found(image: torch.Tensor, *expected: tuple[int, int, int]) -> None:
    found = detect_faces(image, Painted())
    assert len(found) == len(expected), found.boxes
    wanted = torch.tensor([[x, y, x + side, y + side] for x, y, side in expected], dtype=torch.float64)
    off = (found.boxes[None] - wanted[:, None]).abs().amax(-1).amin(1)  # to the nearest one that was found
    assert (off < 0.06 * (wanted[:, 2] - wanted[:, 0]) + 1).all(), off


@pytest.mark.parametrize("side", [16, 24, 60, 150, 333, 700])
@pytest.mark.parametrize("size", [(900, 1300), (1500, 800)])
def test_one_face_of_any_size_is_found_once(size: tuple[int, int], side: int) -> None:
    assert_found(picture(*size, (71, 93, side)), (71, 93, side))


def test_faces_of_all_sizes_at_once() -> None:
    faces = [(10, 10, 20), (100, 40, 40), (300, 30, 90), (700, 60, 250), (1300, 100, 900), (40, 500, 1000)]
    assert_found(picture(1600, 2400, *faces), *faces)


def test_faces_on_every_tile_border_are_found_once() -> None:
    faces = [(x, y, 70) for x in range(20, 2500, 130) for y in range(20, 1300, 130)]
    assert_found(picture(1400, 2600, *faces), *faces)


def test_a_frame_that_is_one_face() -> None:
    for side in (30, 200, 1200):
        assert_found(picture(side, side, (0, 0, side)), (0, 0, side))


def test_faces_cut_by_the_border_touch_it() -> None:
    found = detect_faces(picture(400, 600, (-30, 150, 100), (530, 150, 100), (250, -20, 80)), Painted())
    assert len(found) == 3
    assert found.boxes[:, 0].min().abs() < 3 and (found.boxes[:, 2].max() - 600).abs() < 3


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (3, 4000), (17, 5)])
def test_frames_too_small_for_a_face(size: tuple[int, int]) -> None:
    for detector in (Painted(), Whole()):
        assert len(detect_faces(picture(*size), detector)) == 0


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_rotated_photo(quarters: int) -> None:
    """Not square, the face off the middle: the landmarks come back to where they are in the turned photo."""
    upright = detect_faces(picture(500, 900, (600, 50, 150)), Painted())
    turned = detect_faces(torch.rot90(picture(500, 900, (600, 50, 150)), quarters, (1, 2)), Painted())
    assert len(upright) == len(turned) == 1
    points, size = upright.landmarks[0], (900, 500)
    for _ in range(quarters):
        points, size = torch.stack([points[:, 1], size[0] - points[:, 0]], 1), size[::-1]
    assert (turned.landmarks[0] - points).abs().max() < 3
    assert turned.image_size == ((900, 500) if quarters % 2 else (500, 900))


def test_one_person_lies_among_others() -> None:
    """No turned look at the whole is needed where the network takes a lying face for an upright one, less surely."""

    class Lenient(Painted):
        def detect(self, image: np.ndarray, threshold: float) -> Detections:
            parts = []
            for quarters, score in ((0, 0.9), (2, 0.7)):
                seen = super().detect(np.rot90(image, quarters).copy(), threshold)
                if quarters:  # the box is right; eyes and mouth are taken for each other
                    height, width = image.shape[:2]
                    corners = np.array([width, height, width, height]) - seen.boxes[:, [2, 3, 0, 1]]
                    points = corners[:, None, :2] + POINTS * (corners[:, 2:] - corners[:, :2])[:, None]
                    seen = Detections.of(corners, points, np.full(len(corners), score))
                parts.append(seen)
            return join(parts)

    image = picture(400, 800, (100, 100, 120), (500, 100, 120))
    image[0, 100:220, 500:620] = torch.rot90(image[0, 100:220, 500:620], 2, (0, 1))
    found = detect_faces(image, Lenient())
    assert len(found) == 2 and (found.scores > 0.85).all()
    upright, lying = sorted(range(2), key=lambda i: float(found.boxes[i, 0]))
    assert found.landmarks[upright, 0, 0] < found.landmarks[upright, 1, 0]
    assert found.landmarks[lying, 0, 0] > found.landmarks[lying, 1, 0]
    assert found.landmarks[lying, :2, 1].mean() > found.landmarks[lying, 3:, 1].mean()


def test_what_is_not_seen_again_close_up_is_no_face() -> None:
    class Fickle(Painted):
        """Takes any frame of more than three passes' worth of views for one with a face, once."""

        def detect(self, image: np.ndarray, threshold: float) -> Detections:
            seen = super().detect(image, threshold)
            if self.passes == 1:
                seen = Detections.of([[100, 100, 180, 180]], [np.array([100, 100]) + 80 * POINTS], [0.95])
            return seen

    assert len(detect_faces(picture(300, 300), Fickle())) == 0


def test_a_batch_goes_frame_by_frame() -> None:
    size, two = (300, 400), ((20, 20, 50), (200, 90, 90))
    frames = torch.cat([picture(*size, (50, 60, 80)), picture(*size), picture(*size, *two)])
    found = detect_faces(frames, Painted(), template="ffhq")
    assert found.frame_indices.tolist() == [0, 2, 2] and found.frame_count == 3 and found.template == "ffhq"
    assert found.detector == "painted" and found.image_size == (300, 400) and found.dropped == 0
    for index in (0, 2):
        alone = detect_faces(frames[index : index + 1], Painted())
        torch.testing.assert_close(found.of_frame(index).landmarks, alone.landmarks, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_alpha_and_other_floats(dtype: torch.dtype) -> None:
    image = picture(300, 400, (50, 60, 80))
    expected = detect_faces(image, Painted())
    image = torch.cat([image, torch.rand(1, 300, 400, 1)], -1).to(dtype)
    before = image.clone()
    found = detect_faces(image, Painted())
    torch.testing.assert_close(found.landmarks, expected.landmarks, rtol=0, atol=1)
    torch.testing.assert_close(image, before, rtol=0, atol=0)


def test_values_outside_are_clipped_and_nan_is_an_error_that_names_the_frame() -> None:
    image = picture(300, 400, (50, 60, 80))
    assert len(detect_faces((image - 0.5) * 9, Painted())) == 1
    image[0, 5, 5] = torch.inf
    assert len(detect_faces(image, Painted())) == 1
    frames = torch.cat([image, image])
    frames[1, 299, 399, 2] = torch.nan
    with pytest.raises(ValueError, match="frame 1 has NaN"):
        detect_faces(frames, Painted())


@pytest.mark.parametrize(
    ("images", "threshold", "template", "words"),
    [
        (torch.zeros(8, 8, 3), 0.6, "gpen", "N, H, W"),
        (torch.zeros(1, 8, 8, 2), 0.6, "gpen", "N, H, W"),
        (torch.zeros(0, 8, 8, 3), 0.6, "gpen", "N, H, W"),
        (torch.zeros(1, 8, 8, 3, dtype=torch.uint8), 0.6, "gpen", "255"),
        (torch.zeros(1, 8, 8, 3), 1.5, "gpen", "threshold"),
        (torch.zeros(1, 8, 8, 3), float("nan"), "gpen", "threshold"),
        (torch.zeros(1, 8, 8, 3), 0.6, "arcface", "arcface"),
    ],
)
def test_mistakes_are_named(images: torch.Tensor, threshold: float, template: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        detect_faces(images, Painted(), threshold, template)


ANY = st.one_of(st.floats(), st.floats(-50, 400), st.sampled_from([0.0, np.nan, np.inf, -np.inf, 1e300]))


@settings(max_examples=60, deadline=None)
@given(st.lists(arrays(np.float64, 15, elements=ANY), max_size=4), st.booleans())
def test_a_detector_that_returns_garbage_gives_no_broken_face(rows: list[np.ndarray], by_views: bool) -> None:
    class Garbage:
        name, provider = "garbage", "none"

        def detect(self, image: np.ndarray, threshold: float) -> Detections:
            table = np.array(rows).reshape(-1, 15)
            return Detections.of(table[:, :4], table[:, 4:14], np.abs(table[:, 14]))

    if by_views:
        Garbage.canvas = CANVAS  # type: ignore[attr-defined] # the optional attribute that asks for views
    found = detect_faces(torch.zeros(1, 120, 90, 3), Garbage())
    assert torch.isfinite(found.landmarks).all() and torch.isfinite(found.boxes).all()
    assert torch.isfinite(found.matrices).all() and (torch.linalg.det(found.matrices[:, :, :2]) > 0).all()
    broken = sum(not np.isfinite(row).all() for row in rows)
    assert found.dropped >= broken


class Whole(Painted):
    """The same for a detector that looks for all sizes by itself, in pictures of 500 pixels."""

    input_size = 500

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[tuple[int, int]] = []

    def __getattribute__(self, name: str) -> object:
        if name == "canvas":
            raise AttributeError(name)
        return super().__getattribute__(name)

    def detect(self, image: np.ndarray, threshold: float) -> Detections:
        self.sizes.append(image.shape[:2])
        return super().detect(image, threshold)


def test_a_whole_picture_detector_sees_one_picture_where_that_is_enough() -> None:
    detector = Whole()
    found = detect_faces(picture(1000, 2000, (400, 300, 200)), detector)
    assert detector.sizes == [(250, 500)]
    np.testing.assert_allclose(found.boxes, [[400, 300, 600, 500]], atol=5)


def test_a_whole_picture_detector_sees_it_turned_where_it_finds_nothing() -> None:
    detector = Whole()
    found = detect_faces(torch.rot90(picture(400, 300, (40, 30, 90)), 1, (1, 2)), detector)
    assert len(found) == 1 and len(detector.sizes) > 2
    np.testing.assert_allclose(found.boxes, [[30, 170, 120, 260]], atol=3)
    assert found.landmarks[0, 0, 1] > found.landmarks[0, 1, 1]  # the left eye is the lower one


def test_levels_cover_every_size_in_few_views() -> None:
    for height, width in ((1, 1), (40, 30), (480, 640), (1080, 1920), (4320, 7680), (30000, 30000), (100, 40000)):
        scales = level_scales(height, width)
        assert all(a > 1.25 * b for a, b in pairwise(scales))
        assert scales[-1] * max(height, width) <= max(290, 2 * max(height, width) * (max(height, width) < 290))
    assert level_scales(4320, 7680)[0] == 1.0 and level_scales(300, 200)[0] == 2.0
    seen = list(views(np.zeros((1080, 1920, 3), np.uint8)))
    assert len(seen) < 40 and max(max(view.picture.shape) for view in seen) <= CANVAS


def test_an_8k_frame_takes_a_bounded_number_of_passes() -> None:
    detector = Painted()
    found = detect_faces(picture(4320, 7680, (5000, 1000, 20), (900, 900, 2500), (7000, 4000, 60)), detector)
    assert len(found) == 3 and detector.passes < 220


class Cancelled(Exception):
    """What a host raises where the user cancelled."""


@pytest.mark.parametrize("kind", [Painted, Whole])
def test_cancel_is_asked_before_every_pass(kind: type[Painted]) -> None:
    asked = 0

    def check_cancel() -> None:
        nonlocal asked
        asked += 1

    image, detector = picture(700, 900), kind()
    detect_faces(torch.cat([image, image]), detector, check_cancel=check_cancel)
    assert asked == detector.passes > 2

    def cancel_at_the_second() -> None:
        if stopped.passes == 1:
            raise Cancelled

    stopped = kind()
    with pytest.raises(Cancelled):
        detect_faces(image, stopped, check_cancel=cancel_at_the_second)
    assert stopped.passes == 1


def test_a_frame_alone_gives_what_it_gives_in_a_batch() -> None:
    images = torch.cat([picture(300, 400, (30, 40, 100)), picture(300, 400), picture(300, 400, (200, 100, 60))])
    batch = detect_faces(images, Painted())
    assert batch.frame_indices.tolist() == [0, 2] and batch.frame_count == 3
    for index, image in enumerate(images):
        alone = detect_frame(image, Painted())
        assert alone.frame_count == 1 and not alone.frame_count_inferred and alone.image_size == (300, 400)
        torch.testing.assert_close(alone.landmarks, batch.of_frame(index).landmarks, rtol=0, atol=0)
    rgba = torch.cat([images[0], torch.rand(300, 400, 1)], -1)
    assert len(detect_frame(rgba, Painted())) == 1
