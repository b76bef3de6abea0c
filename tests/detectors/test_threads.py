"""One detector object, eight threads, pictures of several sizes: exactly what one thread after the other finds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from gpen_pack.detectors import Detections, load_detector
from PIL import Image


@pytest.fixture(scope="module")
def pictures(shared: Path) -> list[np.ndarray]:
    """Portraits and parts of the group photo, all of other sizes."""
    names = sorted((shared / "portraits").glob("*.jpg"))[::60][:4]
    with Image.open(shared / "photos" / "solvay_conference_1927.png") as image:
        group = image.convert("RGB")
    images = [Image.open(name).convert("RGB") for name in names]
    for index, image in enumerate(images):
        image.thumbnail((200 + 70 * index, 640))
    images += [group.crop((0, 0, 640, 300)), group.crop((500, 30, 1000, 400)), group.crop((100, 50, 420, 260))]
    return [np.ascontiguousarray(np.array(image)) for image in images]


@pytest.mark.parametrize("name", ["insightface", "yunet", "builtin"])
def test_eight_threads_share_a_detector(name: str, shared: Path, pictures: list[np.ndarray]) -> None:
    detector = load_detector(name, folders=[shared / "detectors"], device="cpu")
    jobs = [(index, threshold) for threshold in (0.6, 0.1) for index in range(len(pictures))]
    expected = {job: detector.detect(pictures[job[0]], job[1]) for job in jobs}
    assert sum(map(len, expected.values())) > 20
    assert len({len(found) for found in expected.values()}) > 2, "thresholds and pictures make a difference"

    def look(number: int) -> list[tuple[tuple[int, float], Detections]]:
        mine = jobs[number:] + jobs[:number]
        return [(job, detector.detect(pictures[job[0]], job[1])) for job in mine]

    with ThreadPoolExecutor(8) as pool:
        for answers in pool.map(look, range(8)):
            for job, found in answers:
                for part in ("boxes", "landmarks", "scores"):
                    np.testing.assert_array_equal(getattr(found, part), getattr(expected[job], part), str(job))
