"""Training data: the split, aligned and jittered squares, the degradations, and the figures that judge a face."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from gpen_pack.training import measures
from gpen_pack.training.dataset import (
    CropStream,
    DataError,
    PortraitFolder,
    jitter,
    sample_squares,
    split_names,
    unit_matrices,
    vary_color,
)
from gpen_pack.training.degradation import (
    DegradationRange,
    degrade,
    filter_each,
    gaussian_kernels,
    jpeg,
    motion_kernels,
)


def test_the_split_is_a_function_of_the_names_alone() -> None:
    names = [f"{i:03}.jpg" for i in range(300)]
    train, held = split_names(names)
    assert len(held) == 64 and not set(train) & set(held) and sorted(train + held) == names
    assert split_names(names[::-1]) == (train, held)
    assert [len(split_names(names[:n])[1]) for n in (1, 2, 3, 8)] == [0, 1, 1, 2]  # a quarter at most, one if it can be
    assert split_names(names, 0)[1] == []


def test_folder_keeps_the_held_out_portraits_out_of_training(portraits: Path) -> None:
    train, held = PortraitFolder(portraits), PortraitFolder(portraits, "held_out")
    assert len(train) == 6 and len(held) == 2 and not set(train.names) & set(held.names)


def test_folder_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"landmarks\.json"):
        PortraitFolder(tmp_path)
    (tmp_path / "landmarks.json").write_text("{}")
    with pytest.raises(DataError, match=r"of 0 that landmarks\.json lists 0 are there"):
        PortraitFolder(tmp_path)


def test_absent_pictures_are_said_and_names_may_have_accents(portraits: Path, caplog: pytest.LogCaptureFixture) -> None:
    listing = json.loads((portraits / "landmarks.json").read_text())
    first = sorted(listing)[0]
    (portraits / first).rename(portraits / "Zoë.png")
    listing |= {"Zoë.png": listing[first]}
    (portraits / "landmarks.json").write_text(json.dumps(listing, ensure_ascii=False), encoding="utf-8")
    assert "Zoë.png" in PortraitFolder(portraits, "all").names
    assert f"1 of {len(listing)} listed pictures are missing, for instance {first}" in caplog.text


def test_aligned_square_puts_the_landmarks_on_the_template() -> None:
    from gpen_pack.faces.geometry.templates import TEMPLATES

    points = TEMPLATES["gpen"] * 200 + torch.tensor([30.0, 10.0])
    matrix = unit_matrices(points[None])
    expected = torch.tensor([[200.0, 0, 30], [0, 200, 10]], dtype=torch.float64)
    torch.testing.assert_close(matrix[0], expected)


def test_sampling_at_native_size_returns_the_pixels() -> None:
    image = torch.rand(3, 40, 30)
    matrix = torch.tensor([[[16.0, 0, 8], [0, 16, 5]]], dtype=torch.float64)  # x from 8, y from 5
    crop = sample_squares([image], matrix, 16)
    torch.testing.assert_close(crop[0], image[:, 5:21, 8:24], atol=1e-4, rtol=0)


def test_sampling_beyond_the_border_reflects() -> None:
    image = torch.rand(3, 40, 30)
    matrix = torch.tensor([[[16.0, 0, -8], [0, 16, 5]]], dtype=torch.float64)
    crop = sample_squares([image], matrix, 16)
    torch.testing.assert_close(crop[0, :, :, :8], image[:, 5:21, :8].flip(-1), atol=1e-4, rtol=0)


def test_jitter_without_strength_only_mirrors() -> None:
    matrices = torch.tensor([[50.0, 3, 7], [-3, 50, 9]], dtype=torch.float64).expand(16, 2, 3)
    moved = jitter(matrices, torch.Generator().manual_seed(0), degrees=0, scale=0, shift=0)
    mirrored = torch.det(moved[:, :, :2]) < 0
    assert 0 < mirrored.sum() < 16
    torch.testing.assert_close(moved[~mirrored], matrices[~mirrored])
    centre = torch.tensor([0.5, 0.5], dtype=torch.float64)
    stays, was = (m[:, :, :2] @ centre + m[:, :, 2] for m in (moved, matrices))
    torch.testing.assert_close(stays, was)


def test_jitter_stays_within_its_bounds() -> None:
    matrices = torch.tensor([[50.0, 0, 7], [0, 50, 9]], dtype=torch.float64).expand(64, 2, 3)
    moved = jitter(matrices, torch.Generator().manual_seed(1), degrees=8, scale=0.15, shift=0.04)
    sides = torch.det(moved[:, :, :2]).abs().sqrt()
    assert sides.min() >= 50 / 1.15 - 1e-9 and sides.max() <= 50 * 1.15 + 1e-9 and sides.std() > 1
    centres = moved[:, :, :2].sum(-1) / 2 + moved[:, :, 2]
    assert (centres - torch.tensor([32.0, 34.0])).abs().max() <= 2 + 1e-9


def test_some_pictures_turn_black_and_white_and_stay_so_when_degraded() -> None:
    rng = torch.Generator().manual_seed(0)
    x = vary_color(torch.rand(8, 3, 32, 32), rng, grey=1.0)
    assert (x.amax(1) - x.amin(1)).max() < 1e-6
    degraded = degrade(x, rng, DegradationRange(clean_chance=0, noise_chance=1))
    assert (degraded.amax(1) - degraded.amin(1)).max() < 0.03


def test_stream_shows_every_portrait_before_any_again_and_goes_on_from_its_state(portraits: Path) -> None:
    stream = CropStream(PortraitFolder(portraits), 16, 3)
    stream.next()
    assert len(stream.queue) == 3
    state = stream.state_dict()
    expected = [stream.next() for _ in range(3)]
    other = CropStream(PortraitFolder(portraits), 16, 3, seed=9)
    other.load_state_dict(state)
    for batch in expected:
        torch.testing.assert_close(other.next(), batch)
    assert expected[0].shape == (3, 3, 16, 16)


def test_kernels_sum_to_one_and_point_where_asked() -> None:
    angle = torch.tensor([0.0, torch.pi / 2])
    for kernels in (
        gaussian_kernels(torch.tensor([3.0, 3.0]), torch.tensor([0.5, 0.5]), angle, 9),
        motion_kernels(torch.tensor([7.0, 7.0]), angle, 9),
    ):
        torch.testing.assert_close(kernels.sum(dim=(1, 2)), torch.ones(2))
        assert kernels[0, 9, 12] > 10 * kernels[0, 12, 9]  # along x
        assert kernels[1, 12, 9] > 10 * kernels[1, 9, 12]  # along y


def test_every_picture_is_filtered_with_its_own_kernel() -> None:
    x = torch.rand(2, 3, 12, 12)
    sigma = torch.tensor([0.05, 2.0])
    y = filter_each(x, gaussian_kernels(sigma, sigma, torch.zeros(2), 4))
    torch.testing.assert_close(y[0], x[0], atol=1e-5, rtol=0)
    assert y[1].std() < 0.5 * x[1].std()
    flat = filter_each(torch.full((1, 3, 12, 12), 0.3), gaussian_kernels(sigma[1:], sigma[1:], torch.zeros(1), 4))
    torch.testing.assert_close(flat, torch.full((1, 3, 12, 12), 0.3))


@pytest.mark.parametrize("side", [3, 7, 9, 21])
def test_small_and_large_kernels_correlate_alike(side: int) -> None:
    """The direct way and the way by spectra, against the definition; kernels and pictures without any symmetry."""
    x, kernels = torch.rand(2, 3, 13, 24), torch.rand(2, side, side)
    padded = torch.nn.functional.pad(x, (side // 2,) * 4, mode="reflect")
    expected = torch.zeros_like(x)
    for i in range(side):
        for j in range(side):
            expected += padded[:, :, i : i + 13, j : j + 24] * kernels[:, i, j].view(2, 1, 1, 1)
    torch.testing.assert_close(filter_each(x, kernels), expected, rtol=1e-4, atol=1e-4)


def test_jpeg_is_worse_at_lower_quality_and_keeps_channel_order() -> None:
    x = torch.zeros(1, 3, 16, 16)
    x[:, 0] = 0.8
    assert (jpeg(x, 95) - x).abs().max() < 0.02
    noise = torch.rand(1, 1, 32, 32).expand(-1, 3, -1, -1)
    assert (jpeg(noise, 30) - noise).abs().mean() > 1.5 * (jpeg(noise, 95) - noise).abs().mean()


def test_degradation_is_decided_by_the_generator_and_keeps_the_shape() -> None:
    x = torch.rand(4, 3, 32, 32)
    first, again, other = (degrade(x, torch.Generator().manual_seed(seed), group=2) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.shape == x.shape and first.min() >= 0 and first.max() <= 1
    clean = degrade(x, torch.Generator(), DegradationRange(clean_chance=1))
    assert torch.equal(clean, x)


@pytest.mark.parametrize(("chance", "kinds"), [(1.0, {"coarse"}), (0.0, {"coarse", "fine"})])
def test_a_camera_makes_its_noise_after_it_has_shrunk(chance: float, kinds: set[str]) -> None:
    only = DegradationRange(
        blur_chance=0, motion_chance=0, jpeg_chance=0, clean_chance=0, shrink_chance=1, noise_chance=1,
        shrink=(4, 4), noise=(30, 30), in_order_chance=chance,
    )  # fmt: skip
    rng = torch.Generator().manual_seed(0)
    # what comes before the shrinking is averaged away
    spreads = [float(degrade(torch.full((1, 3, 32, 32), 0.5), rng, only).std()) * 255 for _ in range(12)]
    assert {"coarse" if spread > 15 else "fine" for spread in spreads} == kinds


def test_measures_tell_blur_and_grain_from_detail() -> None:
    rng = torch.Generator().manual_seed(0)
    sigma = torch.full((2,), 1.0)
    x = filter_each(torch.rand(2, 3, 64, 64, generator=rng), gaussian_kernels(sigma, sigma, sigma * 0, 4))
    x = ((x - 0.5) * 2 + 0.5).clamp(0, 1)
    region = measures.face_region(64)
    sigma = sigma * 2
    blurred = filter_each(x, gaussian_kernels(sigma, sigma, sigma * 0, 8))
    grainy = (blurred + 0.2 * torch.randn(x.shape, generator=rng)).clamp(0, 1)
    for measure, best in ((measures.detail(x, x, region)[0], 1.0), (measures.ssim(x, x, region), 1.0)):
        torch.testing.assert_close(measure.double(), torch.full((2,), best, dtype=torch.float64))
    energy, regression = measures.detail(blurred, x, region)
    assert energy.max() < 0.3 and regression.max() < 0.5
    assert (measures.detail(grainy, x, region)[1] - regression).abs().max() < 0.15  # grain is not the original's detail
    sharper = measures.unsharp_mask(blurred, 2.0, 1.0)
    assert (measures.detail(sharper, x, region)[0] > energy).all()
    assert (measures.psnr(x, x, region) > 90).all() and (measures.psnr(blurred, x, region) < 40).all()
    torch.testing.assert_close(measures.psnr(x * 0, x * 0 + 0.1, region), torch.full((2,), 20.0, dtype=torch.float64))


def test_color_drift_is_the_distance_of_mean_colours() -> None:
    x = torch.full((1, 3, 32, 32), 0.5)
    y = x.clone()
    y[:, 0] += 3 / 255
    y[:, 2] -= 4 / 255
    assert measures.color_drift(y, x, measures.face_region(32)).item() == pytest.approx(5, abs=1e-3)


@pytest.mark.parametrize("name", list(measures.RECIPES))
def test_fixed_recipes_repeat_and_say_what_they_do(name: str) -> None:
    recipe = measures.RECIPES[name]
    x = torch.rand(1, 3, 64, 64)
    assert torch.equal(recipe(x), recipe(x)) and recipe(x).shape == x.shape
    assert recipe.small(x).shape[-1] == round(64 / recipe.shrink)
    assert f"JPEG {recipe.quality}" in recipe.describe()
