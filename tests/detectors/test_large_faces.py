"""Large faces found without the cascade: where squares agree, and only there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from gpen_pack.detectors.builtin.detector import BuiltinDetector
from gpen_pack.detectors.builtin.landmark_net import MEAN_FACE, LandmarkNet
from gpen_pack.detectors.builtin.large_faces import VOTES, agreement, grid_of_squares, propose_large_faces
from PIL import Image


@pytest.fixture(scope="module")
def detector(root: Path) -> BuiltinDetector:
    data = pytest.importorskip("skimage.data")
    safetensors = pytest.importorskip("safetensors.torch")
    weights = safetensors.load_file(root / "models/builtin/face-landmarks.safetensors")
    return BuiltinDetector(data.lbp_frontal_face_cascade_filename(), weights)


def square(x: float, y: float, side: float) -> list[list[float]]:
    return [[side, 0.0, x], [0.0, side, y]]


@pytest.mark.parametrize("size", [(100, 100), (275, 225), (480, 640), (100, 300)])
def test_the_grid_covers_the_picture(size: tuple[int, int]) -> None:
    height, width = size
    grid = grid_of_squares(height, width)
    assert len(grid) < 300
    centres = grid @ grid.new_tensor([0.5, 0.5, 1.0])
    smallest = float(grid[:, 0, 0].min())
    for x in np.linspace(0.45 * smallest, width - 0.45 * smallest, 7):
        for y in np.linspace(0.45 * smallest, height - 0.45 * smallest, 7):
            away = torch.linalg.norm(centres - centres.new_tensor([x, y]), dim=-1) / grid[:, 0, 0]
            assert away.min() < 0.25


def test_agreement_needs_enough_voices() -> None:
    crowd = [square(50.0 + 0.5 * index, 20.0, 100.0) for index in range(VOTES)]
    strays = [square(400.0 + 90 * index, 300.0, 100.0) for index in range(6)]
    agreed = agreement(torch.tensor(crowd + strays, dtype=torch.float64))
    assert torch.allclose(agreed, torch.tensor([square(50 + 0.25 * (VOTES - 1), 20.0, 100.0)], dtype=torch.float64))
    assert len(agreement(torch.tensor(crowd[1:] + strays, dtype=torch.float64))) == 0
    assert agreement(torch.zeros(0, 2, 3, dtype=torch.float64)).shape == (0, 2, 3)


def test_a_network_that_believes_everything_is_not_believed() -> None:
    """Squares that stay where they are do not agree, however sure the network is."""

    class Sure(LandmarkNet):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return MEAN_FACE.float().expand(len(x), 5, 2), torch.full((len(x),), 9.0)

    assert propose_large_faces(Sure(), torch.rand(200, 260)).shape == (0, 2, 3)


@pytest.mark.parametrize("angle", [-30, 30])
def test_a_tilted_portrait(detector: BuiltinDetector, angle: int) -> None:
    """The cascade knows upright faces only; a tilted portrait is found all the same, its points turned with it."""
    from skimage import data

    portrait = Image.fromarray(data.astronaut()).crop((135, 30, 315, 230))  # the face's centre is (90, 92) here
    upright = detector.detect(np.array(portrait), 0.6).landmarks[0]
    turned = detector.detect(np.array(portrait.rotate(angle, Image.Resampling.BICUBIC, center=(90, 92))), 0.6)
    assert len(turned) == 1
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    wanted = (upright - [90, 92]) @ np.array([[cos, -sin], [sin, cos]]) + [90, 92]
    assert np.linalg.norm(turned.landmarks[0] - wanted, axis=1).mean() < 0.06 * np.linalg.norm(wanted[1] - wanted[0])


def test_it_proposes_on_the_photo_at_its_own_size(detector: BuiltinDetector, astronaut: torch.Tensor) -> None:
    grey = astronaut[0, 20:260, 115:335].mean(-1)  # close up
    plain = propose_large_faces(detector.net, grey)
    double = torch.nn.functional.interpolate(grey[None, None], scale_factor=2.0, mode="bicubic")[0, 0]
    large = propose_large_faces(detector.net, double)
    assert len(plain) == len(large) == 1
    assert torch.allclose(large / 2, plain, atol=3.0)
