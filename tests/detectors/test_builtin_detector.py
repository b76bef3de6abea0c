"""The built-in detector end to end: real faces found and placed, nothing else, the same every time."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from gpen_pack.detectors.builtin.detector import BuiltinDetector, merge_boxes
from gpen_pack.detectors.detector import Detector
from gpen_pack.training.landmarks_data import is_held_out
from PIL import Image

# Centres of the 29 faces (mean of five points) on the Solvay photograph, pixels.
SOLVAY = np.array([
    (82, 180), (126, 228), (204, 200), (229, 59), (264, 235), (323, 88), (337, 184), (391, 116), (400, 228), (485, 185),
    (502, 110), (549, 235), (623, 121), (644, 175), (722, 96), (724, 225), (760, 178), (835, 99), (842, 227),
    (881, 188), (939, 97), (954, 226), (1027, 191), (1033, 94), (1106, 53), (1106, 234), (1160, 199), (1165, 95),
    (1208, 250),
])  # fmt: skip
# The astronaut's five points, read off the picture.
ASTRONAUT = [(204.5, 100.5), (247.0, 103.3), (225.5, 128.0), (203.0, 138.5), (243.8, 140.7)]


@pytest.fixture(scope="module")
def detector(root: Path) -> BuiltinDetector:
    data = pytest.importorskip("skimage.data")
    safetensors = pytest.importorskip("safetensors.torch")
    weights = safetensors.load_file(root / "models/builtin/face-landmarks.safetensors")
    return BuiltinDetector(data.lbp_frontal_face_cascade_filename(), weights)


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    data = pytest.importorskip("skimage.data")
    return np.ascontiguousarray(data.astronaut()[:320, 60:380])  # the face and what surrounds it


def rgb(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image if image.ndim == 3 else np.stack([image] * 3, -1))


def test_it_is_a_detector(detector: BuiltinDetector) -> None:
    protocol: Detector = detector
    assert protocol.name == "builtin"
    assert detector.input_size >= 640
    assert "cpu" in detector.provider


def test_astronaut_exactly_one(detector: BuiltinDetector) -> None:
    from skimage import data

    found = detector.detect(data.astronaut(), 0.6)
    assert len(found) == 1
    left_eye, right_eye, nose, left_mouth, right_mouth = found.landmarks[0]
    wanted = np.array(ASTRONAUT)
    assert np.linalg.norm(found.landmarks[0] - wanted, axis=1).mean() < 0.06 * np.linalg.norm(wanted[1] - wanted[0])
    assert left_eye[0] < right_eye[0]
    assert left_mouth[0] < right_mouth[0]
    assert left_eye[1] < nose[1] < left_mouth[1]
    x0, y0, x1, y1 = found.boxes[0]
    assert x0 < found.landmarks[0, :, 0].min() < found.landmarks[0, :, 0].max() < x1
    assert y0 < found.landmarks[0, :, 1].min() < found.landmarks[0, :, 1].max() < y1


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_solvay_at_least_24_and_nothing_else(detector: BuiltinDetector, shared: Path, scale: float) -> None:
    image = Image.open(shared / "photos/solvay_conference_1927.png").convert("RGB")
    top = image.crop((0, 0, image.width, 300)) if scale > 1 else image  # all the faces are there; a quarter of the time
    top = top.resize((round(top.width * scale), round(top.height * scale)), Image.Resampling.BICUBIC)
    found = detector.detect(np.array(top), 0.6)
    centres = found.landmarks.mean(1) / scale
    distance = np.linalg.norm(centres[:, None] - SOLVAY[None], axis=2)
    assert (distance.min(1) < 8).all(), f"no face at {centres[distance.min(1) >= 8].round().tolist()}"
    assert len(set(distance.argmin(1).tolist())) == len(found), "a face was found twice"
    assert len(found) >= 24


def test_held_out_portraits(detector: BuiltinDetector, shared: Path) -> None:
    folder = shared / "portraits"
    table = json.loads((folder / "landmarks.json").read_text(encoding="utf-8"))
    names = [name for name in sorted(table) if is_held_out(name)][::4]
    errors, alone = [], 0
    for name in names:
        found = detector.detect(np.array(Image.open(folder / name).convert("RGB")), 0.6)
        wanted = np.array(table[name])
        eyes = np.linalg.norm(wanted[1] - wanted[0])
        if len(found):
            errors.append(np.linalg.norm(found.landmarks[0] - wanted, axis=1).mean() / eyes)
        alone += len(found) == 1
    assert alone >= 0.9 * len(names)
    assert np.median(errors) < 0.04
    assert np.quantile(errors, 0.9) < 0.08


@pytest.mark.parametrize("name", ["coffee", "chelsea", "brick", "coins", "rocket", "page", "text", "grass", "clock"])
def test_no_face_where_none_is(detector: BuiltinDetector, name: str) -> None:
    from skimage import data

    found = detector.detect(rgb(getattr(data, name)()), 0.6)
    assert not len(found), f"{name}: {found.scores.tolist()}"


def test_noise_and_flat_pictures_hold_no_face(detector: BuiltinDetector) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    assert not len(detector.detect(noise, 0.6))
    for level in (0, 128, 255):
        assert not len(detector.detect(np.full((60, 80, 3), level, np.uint8), 0.6))


@pytest.mark.parametrize("size", [(1, 1), (10, 200), (23, 23), (24, 24), (24, 500)])
def test_pictures_smaller_than_a_face(detector: BuiltinDetector, size: tuple[int, int]) -> None:
    found = detector.detect(np.zeros((*size, 3), np.uint8), 0.0)
    assert found.landmarks.shape == (len(found), 5, 2)


def test_the_same_answer_every_time_and_from_every_thread(detector: BuiltinDetector, photo: np.ndarray) -> None:
    first = detector.detect(photo, 0.3)
    answers: list[object] = []
    threads = [threading.Thread(target=lambda: answers.append(detector.detect(photo, 0.3))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 4
    for answer in answers:
        assert np.array_equal(answer.landmarks, first.landmarks)
        assert np.array_equal(answer.scores, first.scores)


def test_the_threshold_only_removes(detector: BuiltinDetector, photo: np.ndarray) -> None:
    low, high = detector.detect(photo, 0.0), detector.detect(photo, 0.6)
    assert len(low) >= len(high) == 1
    assert np.array_equal(low.landmarks[0], high.landmarks[0])
    assert (np.diff(low.scores) <= 0).all()


def test_a_mirrored_photo_gives_mirrored_points(detector: BuiltinDetector, photo: np.ndarray) -> None:
    plain = detector.detect(photo, 0.6).landmarks[0]
    mirrored = detector.detect(np.ascontiguousarray(photo[:, ::-1]), 0.6).landmarks[0]
    back = np.stack([photo.shape[1] - mirrored[:, 0], mirrored[:, 1]], -1)[[1, 0, 2, 4, 3]]
    assert np.linalg.norm(plain - back, axis=1).mean() < 0.05 * np.linalg.norm(plain[1] - plain[0])


def test_twice_as_large_twice_the_coordinates(detector: BuiltinDetector, photo: np.ndarray) -> None:
    plain = detector.detect(photo, 0.6).landmarks[0]
    large = np.array(Image.fromarray(photo).resize((photo.shape[1] * 2, photo.shape[0] * 2), Image.Resampling.BICUBIC))
    found = detector.detect(large, 0.6).landmarks[0] / 2
    eyes = np.linalg.norm(plain[1] - plain[0])
    assert np.linalg.norm(found - plain, axis=1).mean() < 0.04 * eyes
    assert abs((found - plain).mean(0)).max() < 0.02 * eyes  # half a pixel lost somewhere would show as a shift


def test_a_black_and_white_photo_is_as_good(detector: BuiltinDetector, photo: np.ndarray) -> None:
    grey = rgb(np.array(Image.fromarray(photo).convert("L")))
    assert np.allclose(detector.detect(grey, 0.6).landmarks, detector.detect(photo, 0.6).landmarks, atol=0.5)


def test_wrong_images_are_refused(detector: BuiltinDetector) -> None:
    with pytest.raises(ValueError, match="uint8"):
        detector.detect(np.zeros((50, 50, 3), np.float32), 0.6)
    with pytest.raises(ValueError, match=r"\(50, 50\)"):
        detector.detect(np.zeros((50, 50), np.uint8), 0.6)


def test_a_missing_cascade_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.xml"):
        BuiltinDetector(tmp_path / "nothing.xml", {})


def test_weights_are_checked() -> None:
    data = pytest.importorskip("skimage.data")
    with pytest.raises(ValueError, match="landmark network"):
        BuiltinDetector(data.lbp_frontal_face_cascade_filename(), {"x": torch.zeros(1)})


def test_merge_boxes() -> None:
    assert merge_boxes(np.zeros((0, 4))).shape == (0, 4)
    near = np.array([[10, 10, 50, 50], [12, 10, 52, 50], [8, 12, 48, 52], [100, 0, 130, 30]], dtype=float)
    merged = merge_boxes(near)
    assert np.allclose(sorted(merged.tolist()), [near[:3].mean(0), near[3]])
    nested = np.array([[0, 0, 100, 100], [30, 30, 60, 60]], dtype=float)
    assert len(merge_boxes(nested)) == 2
