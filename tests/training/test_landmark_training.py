"""What the landmark network learns from: points stay on their faces through every bend, turn and mirror."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from gpen_pack.detectors.builtin.landmark_net import (
    MIRRORED,
    LandmarkNet,
    cut_squares,
    points_on_photo,
    squares_of_points,
)
from gpen_pack.training import landmarks_augment as augment
from gpen_pack.training import landmarks_fit
from gpen_pack.training.landmarks_data import Portraits, is_held_out, off_the_face, read_portraits
from gpen_pack.training.landmarks_negatives import NonFaces, mine
from PIL import Image

POINTS = torch.tensor([[85.0, 90.0], [140.0, 96.0], [115.0, 125.0], [90.0, 150.0], [136.0, 152.0]], dtype=torch.float64)
LEVELS = (60, 100, 140, 180, 220)


def dotted_portraits() -> Portraits:
    """Black, with a disc of its own grey at every point."""
    y, x = torch.meshgrid(torch.arange(275) + 0.5, torch.arange(225) + 0.5, indexing="ij")
    pixels = torch.zeros(1, 3, 275, 225, dtype=torch.uint8)
    for (px, py), level in zip(POINTS.tolist(), LEVELS, strict=True):
        pixels[0, :, (x - px) ** 2 + (y - py) ** 2 < 36] = level
    return Portraits(("dots.jpg",), pixels, POINTS[None], squares_of_points(POINTS[None]))


def test_points_stay_on_their_faces(monkeypatch) -> None:
    monkeypatch.setattr(augment, "degrade_squares", lambda images, generator: images)
    images, points = augment.face_batch(dotted_portraits(), 64, torch.Generator().manual_seed(3))
    inside = ((points > 0.05) & (points < 0.95)).all(-1)
    assert inside.float().mean() > 0.9
    grid = 2 * points[:, :, None] - 1
    seen = torch.nn.functional.grid_sample(images, grid, align_corners=False)[:, 0, :, 0] * 255  # [M,5]
    # mirrored faces swap left and right, so each point shows its own or, mirrored, its partner's grey
    own, partner = torch.tensor(LEVELS).float(), torch.tensor(LEVELS)[MIRRORED].float()
    far = torch.minimum((seen - own).abs(), (seen - partner).abs())
    assert far[inside].max() < 6
    assert (points[:, 0, 0] < points[:, 1, 0]).all()  # the left eye is on the left, mirrored or not


def test_bending_is_undone() -> None:
    uv = torch.rand(7, 5, 2, dtype=torch.float64) * 0.8 + 0.1
    amount = torch.linspace(-0.38, 0.38, 7, dtype=torch.float64)
    bent = augment._bend(uv, amount)
    assert (bent - uv).abs().max() > 0.05
    assert torch.allclose(augment._unbend(bent, amount), uv, atol=0.01)


def test_degraded_images_are_finite_and_differ() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(32, 1, 64, 64, generator=generator)
    degraded = augment.degrade_squares(images, generator)
    assert degraded.shape == images.shape
    assert degraded.isfinite().all()
    assert ((degraded - images).abs().amax((1, 2, 3)) > 0.01).all()


def test_non_faces_fill_the_batch() -> None:
    generator = torch.Generator().manual_seed(0)
    bank = torch.randint(255, (20, 1, 64, 64), dtype=torch.uint8, generator=generator)
    assert augment.non_face_batch(dotted_portraits(), bank, 36, generator).shape == (36, 1, 64, 64)


def test_off_the_face() -> None:
    face = torch.tensor([[100.0, 0.0, 50.0], [0.0, 100.0, 60.0]], dtype=torch.float64)
    moved, small = face.clone(), face.clone()
    moved[0, 2] += 70
    small[:, :2] *= 0.3
    small[:, 2] += 35
    assert off_the_face(torch.stack([face, moved, small]), face).tolist() == [False, True, True]


def test_the_split_is_fixed() -> None:
    names = [f"{index}.jpg" for index in range(2000)]
    assert 0.12 < sum(map(is_held_out, names)) / len(names) < 0.18
    assert [letter for letter in "ABCDEFGH" if is_held_out(f"{letter}000014.jpg")] == ["G"]


def test_mining_spares_the_face_that_is_there() -> None:
    class Sure(LandmarkNet):
        def forward(self, x):
            from gpen_pack.detectors.builtin.landmark_net import MEAN_FACE

            return MEAN_FACE.float().expand(len(x), 5, 2), torch.full((len(x),), 9.0)

    face = torch.tensor([[60.0, 0.0, 20.0], [0.0, 60.0, 20.0]], dtype=torch.float64)
    away = torch.tensor([[60.0, 0.0, 120.0], [0.0, 60.0, 20.0]], dtype=torch.float64)
    grey = torch.rand(100, 200)
    found = mine(Sure(), [NonFaces(grey, torch.stack([face, away]), face)], above=0.0)
    assert torch.allclose(found.float() / 255, cut_squares(grey, away[None]), atol=0.01)


def test_training_stops_resumes_and_exports(tmp_path: Path) -> None:
    """Two portraits, a few steps: an interrupted run goes on from its checkpoint and writes weights that load."""
    portraits = dotted_portraits()
    non_faces = [NonFaces(torch.rand(80, 80), torch.tensor([[[40.0, 0, 5], [0, 40.0, 5]]], dtype=torch.float64), None)]
    checkpoint = tmp_path / "checkpoint.pt"
    landmarks_fit.fit(portraits, non_faces, checkpoint, 4, 16, 0.0, 0)
    assert torch.load(checkpoint, weights_only=True)["done"] == 0
    landmarks_fit.fit(portraits, non_faces, checkpoint, 4, 16, 60.0, 0)
    state = torch.load(checkpoint, weights_only=True)
    assert state["done"] == 4
    assert not torch.equal(state["net"]["heat.weight"], state["average"]["heat.weight"])
    landmarks_fit.fit(portraits, non_faces, checkpoint, 6, 16, 60.0, 0)
    assert torch.load(checkpoint, weights_only=True)["done"] == 6
    out = tmp_path / "weights.safetensors"
    landmarks_fit.export(checkpoint, out)
    from gpen_pack.detectors.builtin.landmark_net import load_landmark_net
    from safetensors.torch import load_file

    load_landmark_net(load_file(out))


def test_read_portraits_divides(tmp_path: Path) -> None:
    names = [f"{index}.png" for index in range(40)]
    for name in names:
        Image.new("RGB", (20, 30), (10, 20, 30)).save(tmp_path / name)
    (tmp_path / "landmarks.json").write_text(json.dumps({name: (POINTS / 10).tolist() for name in names}))
    learned, held = read_portraits(tmp_path, held_out=False), read_portraits(tmp_path, held_out=True)
    assert sorted(learned.names + held.names) == sorted(names)
    assert learned.pixels.shape[1:] == (3, 30, 20)
    corner = points_on_photo(learned.squares, POINTS.new_zeros(len(learned), 1, 2))
    assert torch.allclose(corner[:, 0], learned.squares[:, :, 2])
    (tmp_path / "landmarks.json").write_text("{}")
    with pytest.raises(ValueError, match=r"landmarks\.json"):
        read_portraits(tmp_path, held_out=False)
