"""Heads that lean are aligned within 10 degrees by every detector, or not found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from gpen_pack.detectors import detect_faces, load_detector
from gpen_pack.detectors.tilt import rolls


def test_rolls_are_clockwise_in_the_picture() -> None:
    upright = np.array([[-1.0, -1.0], [1.0, -1.0], [0.0, 0.0], [-0.8, 1.0], [0.8, 1.0]])
    for angle in (-170.0, -45.0, 0.0, 30.0, 120.0):
        c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        turned = upright @ np.array([[c, s], [-s, c]])  # y down: a positive angle is clockwise
        assert rolls(turned[None])[0] == pytest.approx(angle)


@pytest.mark.parametrize("name", ["insightface", "yunet", "builtin"])
def test_the_astronaut_at_any_angle(name: str, shared: Path) -> None:
    cv2, data = pytest.importorskip("cv2"), pytest.importorskip("skimage.data")
    detector = load_detector(name, folders=[shared / "detectors"], device="cpu")
    upright = data.astronaut()[:320, 60:380]
    found: dict[float, float] = {}
    for angle in (0, 30, 45, 60, -30, -45, -60):
        matrix = cv2.getRotationMatrix2D((165, 120), -angle, 1.0)  # cv2 turns counter-clockwise
        picture = cv2.warpAffine(upright, matrix, (320, 320), borderValue=(120, 120, 120))
        faces = detect_faces(torch.from_numpy(picture)[None].float() / 255, detector)
        assert len(faces) <= 1, (angle, faces.boxes)
        if len(faces):
            found[angle] = float(rolls(faces.landmarks.numpy())[0])
    assert 0 in found and (name == "builtin" or len(found) >= 6), found
    for angle, roll in found.items():
        assert abs((roll - found[0] - angle + 180) % 360 - 180) < 10, found
