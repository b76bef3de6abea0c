"""Colour matching: what each choice does to light, to colour and to detail."""

from __future__ import annotations

import pytest
import torch
from gpen_pack.faces.compose.color import COLOR_MATCHES, match_color
from gpen_pack.faces.compose.lab import lab_to_rgb, rgb_to_lab
from gpen_pack.faces.compose.smoothing import gaussian_blur, resize_square, wavelet_low
from torch import Tensor

MATCHES = [name for name in COLOR_MATCHES if name != "none"]
CENTRE = (slice(80, 200), slice(80, 176))  # of 256 px: brows to chin


def original_of(astronaut: Tensor, size: int = 256) -> Tensor:
    """The astronaut's face in 0.15 … 0.75, (1, size, size, 3)."""
    return 0.15 + 0.6 * resize_square(astronaut[0, 20:276, 96:352], size).clamp(0, 1)[None]


def restored_of(original: Tensor) -> Tensor:
    """Sharper, colder, darker, lit from the right instead of evenly: everything a colour match is for."""
    size = original.shape[1]
    sharp = original + 1.5 * (original - gaussian_blur(original[0], 0.01))
    light = torch.linspace(0.7, 1.0, size)[None, :, None] * torch.tensor([0.75, 0.85, 1.0])
    return (sharp * light).clamp(0, 1)


def rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


def detail(face: Tensor) -> Tensor:
    """What is finer than 1 % of the face, in the middle of (1, 256, 256, 3)."""
    return (face[0] - gaussian_blur(face[0], 0.01))[CENTRE]


def lab_mean_and_std(face: Tensor) -> tuple[Tensor, Tensor]:
    lab = rgb_to_lab(gaussian_blur(face[0], 0.01)[CENTRE]).flatten(0, 1)
    return lab.mean(dim=0), lab.std(dim=0)


def saturation(face: Tensor) -> float:
    return float((face.amax(dim=-1) - face.amin(dim=-1)).max())


def test_lab_is_cie_lab() -> None:
    color = pytest.importorskip("skimage.color")
    rgb = torch.cat([torch.rand(200, 3), torch.eye(3), torch.zeros(1, 3), torch.ones(1, 3), torch.rand(50, 3) / 50])
    expected = torch.from_numpy(color.rgb2lab(rgb.double().numpy(), illuminant="D65", observer="2")).float()
    torch.testing.assert_close(rgb_to_lab(rgb), expected, atol=0.03, rtol=0)
    torch.testing.assert_close(lab_to_rgb(rgb_to_lab(rgb)), rgb, atol=2e-5, rtol=0)
    red = rgb_to_lab(torch.tensor([1.0, 0.0, 0.0]))
    torch.testing.assert_close(red, torch.tensor([53.24, 80.09, 67.20]), atol=0.05, rtol=0)  # Lindbloom's calculator


def test_a_grey_has_no_chroma() -> None:
    greys = torch.linspace(0, 1, 256)[:, None].expand(-1, 3)
    lab = rgb_to_lab(greys)
    assert float(lab[:, 1:].abs().max()) < 1e-3
    lab[:, 1:] = 0
    assert float((lab_to_rgb(lab) - greys).abs().max()) < 1e-5


def test_none_changes_nothing(astronaut: Tensor) -> None:
    restored = restored_of(original_of(astronaut))
    assert torch.equal(match_color(restored, torch.rand(1, 40, 40, 3), "none"), restored)
    assert match_color(torch.rand(1, 8, 8, 4).half(), torch.rand(1, 8, 8, 3)).shape == (1, 8, 8, 3)


def test_mean_std_takes_light_and_tint_and_leaves_the_rest(astronaut: Tensor) -> None:
    original = original_of(astronaut)
    restored = restored_of(original)
    matched = match_color(restored, original, "mean_std")
    (mean, _), (wanted_mean, _), (had_mean, _) = map(lab_mean_and_std, (matched, original, restored))
    assert float((had_mean - wanted_mean).abs().max()) > 8  # colder and darker by far
    assert float((mean - wanted_mean).abs().max()) < 1.5
    # detail stays GPEN's, only scaled with the contrast
    ratio = rms(detail(matched)) / rms(detail(restored))
    assert 0.9 < ratio < 1.6, ratio
    correlation = torch.corrcoef(torch.stack((detail(matched).flatten(), detail(restored).flatten())))[0, 1]
    assert correlation > 0.97
    # the light still falls from the right: a global match cannot turn it round
    lean = {
        name: float((face - original)[0, :, 200:].mean() - (face - original)[0, :, :56].mean())
        for name, face in (("restored", restored), ("matched", matched))
    }
    assert lean["matched"] > 0.5 * lean["restored"] > 0, lean


def test_mean_std_takes_the_contrast_of_every_channel() -> None:
    # blotches all over, so that any part of the picture has the statistics of the face
    def blotches(contrast: tuple[float, float, float]) -> Tensor:
        lab = torch.stack([resize_square(torch.randn(32, 32, 1), 256)[..., 0] * c for c in contrast], dim=-1)
        return lab_to_rgb(lab + torch.tensor([55.0, 8.0, 12.0]))[None]

    restored, original = blotches((12.0, 4.0, 9.0)), blotches((8.0, 6.0, 5.0))
    _, std = lab_mean_and_std(match_color(restored, original, "mean_std"))
    _, wanted = lab_mean_and_std(original)
    _, had = lab_mean_and_std(restored)
    assert float((had / wanted - 1).abs().min()) > 0.25
    assert float((std / wanted - 1).abs().max()) < 0.12


def test_wavelet_takes_local_light_and_colour_and_leaves_detail(astronaut: Tensor) -> None:
    original = original_of(astronaut)
    restored = restored_of(original)
    matched = match_color(restored, original, "wavelet")
    coarse = {name: rms(wavelet_low((face - original)[0])) for name, face in (("r", restored), ("m", matched))}
    assert coarse["m"] < 0.12 * coarse["r"], coarse
    lean = float((matched - original)[0, :, 200:].mean() - (matched - original)[0, :, :56].mean())
    assert abs(lean) < 0.01  # the light no longer falls from the right
    assert rms(detail(matched) - detail(restored)) < 0.15 * rms(detail(restored))
    # detail is GPEN's and not the soft original's
    assert rms(detail(matched)) > 1.5 * rms(detail(original))


@pytest.mark.parametrize("name", MATCHES)
def test_a_plain_cast_is_undone(name: str, astronaut: Tensor) -> None:
    original = original_of(astronaut)
    cast = torch.tensor([0.08, -0.05, 0.02])
    matched = match_color(original + cast, original, name)
    tolerance = 0.03 if name == "mean_std" else 2e-3  # an offset in sRGB is no plain offset in Lab
    assert float((matched - original)[0][CENTRE].abs().mean()) < tolerance
    assert float(cast.abs().mean()) > 0.04


@pytest.mark.parametrize("name", MATCHES)
def test_matching_a_face_to_itself_changes_nothing(name: str, astronaut: Tensor) -> None:
    original = original_of(astronaut)
    torch.testing.assert_close(match_color(original, original, name), original, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", MATCHES)
def test_a_grey_original_makes_a_grey_face(name: str, astronaut: Tensor) -> None:
    original = original_of(astronaut)
    grey = original.mean(dim=3, keepdim=True).expand(-1, -1, -1, 3)
    restored = restored_of(original)  # in full colour
    assert saturation(restored) > 0.2
    assert saturation(match_color(restored, grey, name)) < 1e-3  # a quarter of a step of 8 bits
    # and what is grey already stays so
    grey_restored = restored.mean(dim=3, keepdim=True).expand(-1, -1, -1, 3)
    assert saturation(match_color(grey_restored, grey, name)) < 1e-3


@pytest.mark.parametrize("name", MATCHES)
def test_a_tinted_original_tints_a_grey_face(name: str) -> None:
    picture = torch.rand(1, 32, 32, 1).expand(-1, -1, -1, 3)
    grey = torch.stack([resize_square(face, 128).clamp(0, 1) for face in picture]) * 0.4 + 0.3
    sepia = grey * torch.tensor([1.1, 0.95, 0.75])
    mean = match_color(grey, sepia, name)[0][40:90, 45:83].mean(dim=(0, 1))
    expected = sepia[0][40:90, 45:83].mean(dim=(0, 1))
    assert float((mean - expected).abs().max()) < 0.02


@pytest.mark.parametrize("name", MATCHES)
def test_hair_and_background_have_no_say(name: str, astronaut: Tensor) -> None:
    # the same face before another wall: nothing changes in its middle
    original = original_of(astronaut)
    restored = restored_of(original)
    repainted = original.clone()
    repainted[:, :, :40] = torch.tensor([0.1, 0.9, 0.2])
    repainted[:, :30] = torch.tensor([0.9, 0.1, 0.1])
    difference = match_color(restored, repainted, name) - match_color(restored, original, name)
    assert float(difference[0, 100:190, 95:160].abs().max()) < 0.02


@pytest.mark.parametrize("name", MATCHES)
def test_flat_pictures_do_no_harm(name: str, astronaut: Tensor) -> None:
    face, flat = original_of(astronaut), torch.full((1, 64, 64, 3), 0.5)
    onto_flat = match_color(face, flat, name)  # a flat original: detail must not vanish
    assert torch.isfinite(onto_flat).all() and rms(detail(onto_flat)) > 0.3 * rms(detail(face))
    from_flat = match_color(flat, face, name)  # a flat face: nothing to stretch, nothing explodes
    assert torch.isfinite(from_flat).all() and float(from_flat.min()) >= 0 and float(from_flat.max()) <= 1
    black = torch.zeros(1, 64, 64, 3)
    assert float(match_color(black, black, name).max()) < 1e-4
    assert float(match_color(torch.ones(1, 64, 64, 3), torch.ones(1, 64, 64, 3), name).min()) > 1 - 1e-4


@pytest.mark.parametrize("name", MATCHES)
def test_the_same_at_every_resolution(name: str, astronaut: Tensor) -> None:
    original = original_of(astronaut)
    restored = restored_of(original)
    enlarged = resize_square(restored[0], 800).clamp(0, 1)[None]
    small = match_color(restored, original, name) - restored
    large = match_color(enlarged, original, name) - enlarged
    assert rms(small) > 0.03
    assert rms(resize_square(large[0], 256) - small[0]) < 0.1 * rms(small)


@pytest.mark.parametrize("name", MATCHES)
def test_inputs_of_any_kind_stay_untouched(name: str) -> None:
    restored, original = torch.rand(3, 70, 70, 4), torch.rand(3, 33, 33, 4).half()
    copies = restored.clone(), original.clone()
    matched = match_color(restored, original, name)
    assert matched.shape == (3, 70, 70, 3) and matched.dtype == torch.float32
    assert float(matched.min()) >= 0 and float(matched.max()) <= 1
    assert torch.equal(restored, copies[0]) and torch.equal(original, copies[1])
    alone = match_color(restored[1:2], original[1:2], name)
    assert torch.equal(alone, matched[1:2])
    assert match_color(restored[:0], original[:0], name).shape == (0, 70, 70, 3)


def test_mistakes_are_sentences() -> None:
    faces = torch.rand(2, 16, 16, 3)
    with pytest.raises(ValueError, match="color_match must be one of none, mean_std, wavelet; got 'lab'"):
        match_color(faces, faces, "lab")
    for name in COLOR_MATCHES:
        with pytest.raises(ValueError, match="expected 1 restored faces for as many originals, got 2"):
            match_color(faces, faces[:1], name)
        with pytest.raises(ValueError, match="original crops must be square"):
            match_color(faces, faces[:, :8], name)
    with pytest.raises(ValueError, match="face 0 of the restored faces holds NaN"):
        match_color(faces * float("nan"), faces, "mean_std")
