"""What the generator is held to: every loss against what it is there to punish."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from gpen_pack.training import losses


def test_reconstruction_is_nothing_for_the_original_and_counts_the_face_more() -> None:
    target = torch.rand(2, 3, 64, 64) * 2 - 1
    weights = losses.LossWeights()
    total, parts = losses.reconstruction_loss(target, target, weights)
    assert float(total) == pytest.approx(0, abs=1e-6) and set(parts) == {"pixel", "bands", "energy", "chroma"}
    corner, face = target.clone(), target.clone()
    corner[:, :, :8, :8] += 0.5
    face[:, :, 32:40, 28:36] += 0.5
    worst, mild = (losses.reconstruction_loss(x, target, weights)[1]["pixel"] for x in (face, corner))
    assert worst > 1.5 * mild
    with pytest.raises(ValueError, match="target"):
        losses.reconstruction_loss(target[:1], target, weights)


def test_bands_take_the_picture_apart() -> None:
    x = torch.rand(1, 3, 32, 32)
    bands = losses.laplacian_bands(x, 3)
    assert [band.shape[-1] for band in bands] == [32, 16, 8]
    flat = losses.laplacian_bands(torch.full((1, 3, 32, 32), 0.7), 3)
    assert max(float(band.abs().max()) for band in flat) < 1e-6


def test_energy_punishes_blur_more_than_another_texture_of_the_same_strength() -> None:
    target = torch.randn(1, 3, 64, 64) * 0.2
    other = torch.randn(1, 3, 64, 64) * 0.2
    weights = losses.LossWeights()
    texture, blur = (losses.reconstruction_loss(x, target, weights)[1]["energy"] for x in (other, target * 0))
    assert blur > 4 * texture


def test_decibel_asks_for_the_mean_where_l1_asks_for_the_median_and_counts_every_picture_alike() -> None:
    target = torch.zeros(1, 3, 64, 64)
    target[..., ::4] = 0.4  # a quarter of the pixels: median 0, mean 0.1
    only = losses.LossWeights(pixel=0, bands=0, energy=0, chroma=0, decibel=1, face=0)
    nothing, mean = (losses.reconstruction_loss(torch.full_like(target, v), target, only) for v in (0.0, 0.1))
    assert mean[0] < nothing[0] and mean[1]["pixel"] > nothing[1]["pixel"]
    plain = torch.zeros_like(target)
    costs = [losses.reconstruction_loss(plain + error, plain, only)[0] for error in (0.1, 0.2, 0.4, 0.8)]
    steps = [float(b - a) for a, b in itertools.pairwise(costs)]
    assert steps == pytest.approx([2 * 0.6931] * 3, abs=0.03)  # twice the error costs the same, wherever it starts
    assert float(losses.reconstruction_loss(plain, plain, only)[0]) == pytest.approx(np.log(2e-4), abs=1e-3)


def test_chroma_sees_colour_and_not_light() -> None:
    grey = torch.rand(1, 1, 32, 32).expand(-1, 3, -1, -1)
    assert losses.chroma_planes(grey).abs().max() < 1e-6
    red = grey.clone()
    red[:, 0] += 0.1
    assert losses.chroma_planes(red).abs().mean() > 0.02


def test_r1_is_the_squared_gradient() -> None:
    real = torch.rand(2, 3, 8, 8, requires_grad=True)
    logits = (real * 0.5).sum(dim=(1, 2, 3))[:, None]
    assert float(losses.r1_penalty(logits, real)) == pytest.approx(0.25 * 3 * 64)


def test_adversarial_losses_pull_in_opposite_directions() -> None:
    good, bad = torch.tensor([[5.0]]), torch.tensor([[-5.0]])
    assert losses.generator_adversarial(good) < losses.generator_adversarial(bad)
    assert losses.discriminator_adversarial(good, bad) < losses.discriminator_adversarial(bad, good)
