"""Both real networks on real photos, from the files beside this checkout; their wrappers, without any file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from gpen_pack.detectors import detect_faces
from gpen_pack.detectors.detector import Detector
from gpen_pack.detectors.scrfd import ScrfdDetector
from gpen_pack.detectors.yunet import YuNetDetector


def test_scrfd_gets_bgr_of_its_own_size_and_its_answers_come_back() -> None:
    class Session:
        def __init__(self, shape: list[object]) -> None:
            self.shape = shape

        def get_inputs(self) -> list[Session]:
            return [self]

    class Model:
        def __init__(self, shape: list[object]) -> None:
            self.session = Session(shape)

        def forward(self, image: np.ndarray, threshold: float) -> tuple[list[np.ndarray], ...]:
            self.image, self.threshold = image, threshold
            boxes = np.array([[0, 0, 5, 5], [11, 20, 30, 40], [10, 20, 30, 40]], np.float32)
            scores = np.array([[0.3], [0.9], [1.01]], np.float32)
            points = np.stack([np.full((5, 2), value, np.float32) for value in (2, 15, 16)])
            return [scores[:1], scores[1:]], [boxes[:1], boxes[1:]], [points[:1], points[1:]]

        def nms(self, rows: np.ndarray) -> list[int]:
            assert rows[:, 4].tolist() == sorted(rows[:, 4].tolist(), reverse=True)
            return [0]

    rgb = np.zeros((50, 70, 3), np.uint8)
    rgb[..., 0] = 200
    fixed = Model([1, 3, 640, 640])
    seen = ScrfdDetector(fixed, "test").detect(rgb, 0.25)
    assert fixed.threshold == 0.25 and fixed.image.shape == (640, 640, 3)
    assert fixed.image[0, 0].tolist() == [0, 0, 200] and seen.scores.max() <= 1
    np.testing.assert_allclose(seen.boxes, [[10, 20, 30, 40]])
    free = Model([1, 3, "?", "?"])
    ScrfdDetector(free, "test").detect(rgb, 0.5)
    assert free.image.shape == (64, 96, 3)
    seen = ScrfdDetector(fixed, "test").detect(np.zeros((640, 1280, 3), np.uint8), 0.5)
    np.testing.assert_allclose(seen.boxes, [[20, 40, 60, 80]])
    np.testing.assert_allclose(seen.landmarks, np.full((1, 5, 2), 32.0))


def test_yunet_gets_bgr_and_its_rows_come_back() -> None:
    class Net:
        rows: np.ndarray | None = None

        def setInputSize(self, size: tuple[int, int]) -> None:
            self.size = size

        def setScoreThreshold(self, threshold: float) -> None:
            self.threshold = threshold

        def detect(self, image: np.ndarray) -> tuple[int, np.ndarray | None]:
            assert image[0, 0].tolist() == [0, 0, 200] and image.flags.c_contiguous
            return 1, self.rows

    net, rgb = Net(), np.zeros((50, 70, 3), np.uint8)
    rgb[..., 0] = 200
    assert len(YuNetDetector(lambda: net).detect(rgb, 0.6)) == 0
    net.rows = np.array([[1, 2, 30, 40, *range(10), 0.8]], np.float32)
    seen = YuNetDetector(lambda: net).detect(rgb, 0.36)
    assert net.size == (70, 50) and net.threshold == pytest.approx(0.6)
    np.testing.assert_allclose(seen.boxes, [[1, 2, 31, 42]])
    np.testing.assert_allclose(seen.landmarks[0], np.arange(10).reshape(5, 2))
    assert seen.scores[0] == pytest.approx(0.64)


@pytest.fixture(scope="module")
def real(shared: Path) -> Callable[[str], Detector]:
    """The detector of a name, from the files beside this checkout."""
    from gpen_pack.restoration import load_detector

    loaded: dict[str, Detector] = {}

    def load(name: str) -> Detector:
        if name not in loaded:
            loaded[name] = load_detector(name, folders=[shared / "detectors"])
        return loaded[name]

    return load


def photo(path: Path) -> torch.Tensor:
    from PIL import Image

    with Image.open(path) as image:
        return torch.from_numpy(np.array(image.convert("RGB")))[None].float() / 255


def eye_distances(landmarks: torch.Tensor) -> torch.Tensor:
    return torch.linalg.norm(landmarks[:, 1] - landmarks[:, 0], dim=-1)


@pytest.fixture(scope="module")
def solvay(shared: Path, real: Callable[[str], Detector]) -> dict[str, torch.Tensor]:
    image = photo(shared / "photos" / "solvay_conference_1927.png")
    return {name: detect_faces(image, real(name)).landmarks for name in ("insightface", "yunet")}


def test_all_29_of_solvay_and_both_detectors_agree(solvay: dict[str, torch.Tensor]) -> None:
    one, other = solvay["insightface"], solvay["yunet"]
    assert len(one) == len(other) == 29
    nearest = torch.cdist(one.mean(1), other.mean(1)).argmin(1)
    assert len(set(nearest.tolist())) == 29
    apart = torch.linalg.norm(one - other[nearest], dim=-1).mean(1) / eye_distances(one)
    assert apart.median() < 0.12 and apart.max() < 0.35, apart
    for points in (one, other):
        assert (points[:, 0, 0] < points[:, 1, 0]).all() and (points[:, 3, 0] < points[:, 4, 0]).all()
        assert (points[:, :2, 1].mean(1) < points[:, 3:, 1].mean(1)).all()


@pytest.mark.parametrize("name", ["insightface", "yunet"])
def test_the_astronaut_in_every_turn(name: str, real: Callable[[str], Detector], astronaut: torch.Tensor) -> None:
    upright = detect_faces(astronaut, real(name))
    assert len(upright) == 1 and upright.scores[0] > 0.75
    repeated = detect_faces(astronaut, real(name))
    torch.testing.assert_close(repeated.landmarks, upright.landmarks, rtol=0, atol=0)
    points = upright.landmarks[0]
    for quarters in (1, 2, 3):
        points = torch.stack([points[:, 1], 512 - points[:, 0]], 1)
        turned = detect_faces(torch.rot90(astronaut, quarters, (1, 2)), real(name))
        assert len(turned) == 1, quarters
        off = torch.linalg.norm(turned.landmarks[0] - points, dim=-1).mean() / eye_distances(upright.landmarks)[0]
        assert off < 0.12, (quarters, off)


@pytest.mark.parametrize("name", ["insightface", "yunet"])
def test_the_astronaut_at_every_size(name: str, real: Callable[[str], Detector], astronaut: torch.Tensor) -> None:
    """Box sides from 20 px to 450 px, and the face larger than the frame."""
    expected = detect_faces(astronaut, real(name)).landmarks[0]
    planes = astronaut.permute(0, 3, 1, 2)
    for factor in (0.2, 0.5, 4.0):
        resized = torch.nn.functional.interpolate(planes, scale_factor=factor, mode="bilinear", antialias=True)
        found = detect_faces(resized.permute(0, 2, 3, 1), real(name))
        assert len(found) == 1, factor
        off = torch.linalg.norm(found.landmarks[0] / factor - expected, dim=-1).mean()
        assert off / torch.linalg.norm(expected[1] - expected[0]) < 0.15, (factor, off)
    close = detect_faces(astronaut[:, 75:175, 180:270], real(name))
    assert len(close) == 1
    assert torch.linalg.norm(close.landmarks[0] + torch.tensor([180, 75]) - expected, dim=-1).mean() < 8


@pytest.mark.parametrize("name", ["insightface", "yunet"])
@pytest.mark.parametrize("what", ["chelsea", "coffee", "brick", "noise", "gradient"])
def test_no_face_where_there_is_none(name: str, what: str, real: Callable[[str], Detector]) -> None:
    data = pytest.importorskip("skimage.data")
    if what == "noise":
        image = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    elif what == "gradient":
        image = np.tile(np.linspace(0, 255, 400).astype(np.uint8)[None, :, None], (300, 1, 3))
    else:
        image = getattr(data, what)()
        image = image if image.ndim == 3 else np.repeat(image[..., None], 3, 2)
    found = detect_faces(torch.from_numpy(image)[None].float() / 255, real(name))
    assert len(found) == 0, (found.boxes, found.scores)


@pytest.mark.parametrize("name", ["insightface", "yunet"])
def test_a_sheet_of_portraits_large_and_tiny(name: str, shared: Path, real: Callable[[str], Detector]) -> None:
    import json

    points = json.loads((shared / "portraits" / "landmarks.json").read_text(encoding="utf-8"))
    chosen = sorted(points)[::34][:24]
    for scale in (0.15, 1.0):  # faces of 17 and of 110 pixels
        width, height = round(225 * scale), round(275 * scale)
        sheet = torch.zeros(1, 4 * height, 6 * width, 3)
        truth = []
        for index, file in enumerate(chosen):
            planes = photo(shared / "portraits" / file).permute(0, 3, 1, 2)
            small = torch.nn.functional.interpolate(planes, (height, width), mode="bilinear", antialias=True)
            top, left = index // 6 * height, index % 6 * width
            sheet[0, top : top + height, left : left + width] = small[0].permute(1, 2, 0)
            truth.append(np.array(points[file]) * [width / 225, height / 275] + [left, top])
        found = detect_faces(sheet, real(name))
        wanted = torch.from_numpy(np.array(truth))
        assert len(found) == 24, scale
        nearest = torch.cdist(wanted.mean(1), found.landmarks.mean(1)).argmin(1)
        off = torch.linalg.norm(wanted - found.landmarks[nearest], dim=-1).mean(1) / eye_distances(wanted)
        assert off.max() < 0.3 and off.median() < 0.15, off


@pytest.mark.parametrize("name", ["insightface", "yunet"])
def test_upside_down_portraits_that_networks_take_for_upright(
    name: str, shared: Path, real: Callable[[str], Detector]
) -> None:
    """Both see these, wrongly turned, with scores of 0.6 to 0.83 at the first look."""
    for file in ("C001097.jpg", "G000574.jpg", "M001120.jpg", "D000388.jpg", "H001043.jpg"):
        image = photo(shared / "portraits" / file)
        points = detect_faces(image, real(name)).landmarks[0]
        for quarters in (1, 2):
            points = torch.stack([points[:, 1], image.shape[3 - quarters] - points[:, 0]], 1)
            turned = detect_faces(torch.rot90(image, quarters, (1, 2)), real(name))
            assert len(turned) == 1, (file, quarters)
            off = torch.linalg.norm(turned.landmarks[0] - points, dim=-1).mean()
            assert off / torch.linalg.norm(points[1] - points[0]) < 0.15, (file, quarters, off)
