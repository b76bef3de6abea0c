"""Detection computes the same whatever default type, autocast or default device the host has set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from gpen_pack.detectors import detect_faces, load_detector


@pytest.mark.parametrize("name", ["insightface", "yunet", "builtin"])
def test_default_dtype_autocast_and_default_device(name: str, shared: Path) -> None:
    data = pytest.importorskip("skimage.data")
    image = torch.from_numpy(data.astronaut()[:320, 60:380].copy())[None].float() / 255
    detector = load_detector(name, folders=[shared / "detectors"], device="cpu")
    expected = detect_faces(image, detector)
    assert len(expected) == 1
    found = []
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found.append(detect_faces(image, detector))
    for dtype in (torch.float64, torch.bfloat16):
        torch.set_default_dtype(dtype)
        try:
            found.append(detect_faces(image, detector))
        finally:
            torch.set_default_dtype(torch.float32)
    picture = image[0].mul(255).byte().numpy()
    alone = detector.detect(picture, 0.3)
    with torch.device("meta"):
        np.testing.assert_array_equal(detector.detect(picture, 0.3).landmarks, alone.landmarks)
    for faces in found:
        torch.testing.assert_close(faces.landmarks, expected.landmarks, rtol=0, atol=0)
        torch.testing.assert_close(faces.scores, expected.scores, rtol=0, atol=0)
