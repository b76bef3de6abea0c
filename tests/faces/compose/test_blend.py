"""Fidelity and blend modes: what they do to light, colour and detail, and their exact ends."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from gpen_pack.faces.compose.blend import BLEND_MODES, blend_faces, detail_sigma
from gpen_pack.faces.compose.smoothing import filter_rows, gaussian_blur, resize_square
from gpen_pack.faces.geometry.filtering import reflect
from torch import Tensor

FIDELITIES = (0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0)


def face_of(astronaut: Tensor, size: int = 256) -> Tensor:
    """The astronaut's face as an aligned crop would show it, (1, size, size, 3), within 0.15 … 0.75: nothing clips."""
    return 0.15 + 0.6 * resize_square(astronaut[0, 20:276, 96:352], size).clamp(0, 1)[None]


def blurred_and_lit(face: Tensor) -> tuple[Tensor, Tensor]:
    """(original, restored): a soft photo under warm light from the left, and a sharp face under flat cold light."""
    size = face.shape[1]
    light = torch.linspace(1.0, 0.55, size)[None, :, None] * torch.tensor([1.0, 0.85, 0.7])
    original = gaussian_blur(face[0], 0.02) * light
    return original[None], (face * torch.tensor([0.75, 0.85, 1.0])).clamp(0, 1)


def band(face: Tensor, low_sigma: float, high_sigma: float) -> Tensor:
    """What lies between two Gaussians (fractions of the side) of (1, S, S, 3): high_sigma is the wider one."""
    return gaussian_blur(face[0], low_sigma) - gaussian_blur(face[0], high_sigma)


def rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


def test_the_blur_is_a_gaussian_with_mirrored_borders() -> None:
    # against the definition, as a dense matrix in float64, on an odd size and an asymmetric picture
    size = 150
    picture = torch.rand(size, size, 3, dtype=torch.float64) * 0.3 + torch.linspace(0, 1, size)[:, None, None]
    for sigma in (0.0, 0.002, 0.01, 0.05, 0.125, 0.3):
        pixels = sigma * size
        offsets = torch.arange(-3 * size, 4 * size)[None] - torch.arange(size)[:, None]
        weights = torch.exp(-0.5 * (offsets / max(pixels, 1e-3)) ** 2).double()
        weights /= weights.sum(dim=1, keepdim=True)
        matrix = torch.zeros(size, size, dtype=torch.float64)
        matrix.index_add_(1, reflect(torch.arange(-3 * size, 4 * size, device=matrix.device), size), weights)
        expected = torch.einsum("ij,jkc,lk->ilc", matrix, picture, matrix)
        worst = (gaussian_blur(picture.float(), sigma) - expected).abs().max()
        assert worst < 2e-3, f"sigma {sigma}: off by {worst:.5f}"


@pytest.mark.parametrize("length", [1, 5, 63, 64, 65, 200])
def test_rows_are_filtered_as_scipy_does(length: int) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    rows, taps = torch.rand(2, 3, length), torch.rand(7)  # asymmetric taps: correlation, not convolution
    expected = ndimage.correlate1d(rows.numpy(), taps.numpy(), mode="reflect")
    np.testing.assert_allclose(filter_rows(rows, taps).numpy(), expected, atol=1e-5)


def test_linear_zero_is_gpens_face_bit_for_bit() -> None:
    original, restored = torch.rand(2, 40, 40, 3), torch.rand(2, 64, 64, 3)
    blended = blend_faces(original, restored, 0.0, "linear")
    assert torch.equal(blended, restored)
    assert blended.data_ptr() != restored.data_ptr()


@pytest.mark.parametrize("mode", BLEND_MODES)
def test_one_is_the_original(mode: str) -> None:
    original, restored = torch.rand(2, 64, 64, 3), torch.rand(2, 64, 64, 3)
    assert torch.equal(blend_faces(original, restored, 1.0, mode), original)
    enlarged = blend_faces(original, torch.rand(2, 128, 128, 3), 1, mode)
    expected = torch.stack([resize_square(face, 128).clamp(0, 1) for face in original])
    assert torch.equal(enlarged, expected)


def test_linear_is_the_cross_fade() -> None:
    original, restored = torch.rand(1, 64, 64, 3), torch.rand(1, 64, 64, 3)
    for fidelity in FIDELITIES:
        expected = (1 - fidelity) * restored + fidelity * original
        torch.testing.assert_close(blend_faces(original, restored, fidelity, "linear"), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("mode", BLEND_MODES)
def test_more_fidelity_is_nearer_to_the_original(mode: str, astronaut: Tensor) -> None:
    original, restored = blurred_and_lit(face_of(astronaut))
    blended = [blend_faces(original, restored, fidelity, mode) for fidelity in FIDELITIES]
    to_original = [rms(face - original) for face in blended]
    to_restored = [rms(face - restored) for face in blended]
    # at 256 px a cut-off above 0.9 is beyond the finest frequency: equal from there on
    assert all(a >= b for a, b in pairwise(to_original)), to_original
    assert all(a <= b for a, b in pairwise(to_restored)), to_restored
    assert to_original[0] > 1.02 * to_original[3] > 1.04 * to_original[5] > 0


@pytest.mark.parametrize("mode", BLEND_MODES)
def test_fidelity_has_no_jumps(mode: str, astronaut: Tensor) -> None:
    # also where the low-pass changes its grid; the two pictures differ by up to 0.6
    original, restored = blurred_and_lit(face_of(astronaut, 128))
    for fidelity in torch.linspace(0, 1 - 1e-4, 50).tolist():
        step = blend_faces(original, restored, fidelity + 1e-4, mode) - blend_faces(original, restored, fidelity, mode)
        assert float(step.abs().max()) < 2e-3, f"jumps by {float(step.abs().max()):.4f} at {fidelity}"


def test_detail_keeps_the_light_and_takes_the_detail(astronaut: Tensor) -> None:
    original, restored = blurred_and_lit(face_of(astronaut))
    detail = blend_faces(original, restored, 0.2, "detail")
    linear = blend_faces(original, restored, 0.2, "linear")
    light = {"restored": restored, "linear": linear, "detail": detail}
    # light and colour: everything coarser than the cut-off
    coarse = {name: rms(gaussian_blur((face - original)[0], 0.125)) for name, face in light.items()}
    assert coarse["detail"] < 0.1 * coarse["restored"] < coarse["linear"], coarse
    # detail: what lies well above the cut-off is GPEN's, at its full strength; linear dilutes it
    fine = {name: rms(band(face, 0.0, 0.015)) / rms(band(restored, 0.0, 0.015)) for name, face in light.items()}
    assert 0.97 < fine["detail"] < 1.03, fine
    assert fine["linear"] < 0.85, fine


def test_detail_at_zero_still_keeps_the_coarsest_band(astronaut: Tensor) -> None:
    original, restored = blurred_and_lit(face_of(astronaut))
    blended = blend_faces(original, restored, 0.0, "detail")
    cast = (restored - original).mean(dim=(0, 1, 2))
    assert float(cast.abs().max()) > 0.2
    assert float((blended - original).mean(dim=(0, 1, 2)).abs().max()) < 0.01
    assert rms(band(blended - restored, 0.0, 0.03)) < 0.1 * rms(band(original - restored, 0.0, 0.03))


def test_the_cut_off_moves_from_coarse_to_everything() -> None:
    sigmas = [detail_sigma(fidelity) for fidelity in FIDELITIES]
    assert all(a > b for a, b in pairwise(sigmas))
    assert sigmas[0] == 0.125 and sigmas[-1] == 0
    # a wave of the original passes once the cut-off is finer than it
    wave = 0.5 + 0.2 * torch.cos((torch.arange(256) + 0.5) / 256 * 2 * math.pi * 16)  # 16 waves across the face
    original, restored = wave[:, None, None].expand(256, 256, 3)[None], torch.full((1, 256, 256, 3), 0.5)
    kept = [rms(blend_faces(original, restored, f, "detail") - 0.5) / rms(original - 0.5) for f in FIDELITIES]
    assert max(kept[:3]) < 0.01 and kept[4] < 0.2, kept  # sigmas of 1/8 to 1/50 of the face: hardly a wave of 1/16
    assert kept[5] > 0.8 and min(kept[6:]) > 0.99, kept


@pytest.mark.parametrize("fidelity", [0.0, 0.2, 0.6])
def test_detail_looks_the_same_at_every_resolution(fidelity: float, astronaut: Tensor) -> None:
    original, restored = blurred_and_lit(face_of(astronaut, 256))
    enlarged = resize_square(restored[0], 1024).clamp(0, 1)[None]
    small = blend_faces(original, restored, fidelity, "detail")
    large = blend_faces(original, enlarged, fidelity, "detail")
    # what the blend has moved, seen at the smaller size
    moved_small, moved_large = (small - restored)[0], resize_square((large - enlarged)[0], 256)
    assert rms(moved_small) > 0.05
    tolerance = 0.02 * rms(moved_small) if fidelity < 0.5 else 0.1 * rms(moved_small)  # pixels play a part there
    assert rms(moved_small - moved_large) < tolerance


def test_detail_moves_a_plain_offset_up_to_the_border() -> None:
    restored = torch.rand(1, 96, 96, 3) * 0.5 + 0.1
    blended = blend_faces(restored + 0.2, restored, 0.3, "detail")
    torch.testing.assert_close(blended, restored + 0.2, atol=1e-5, rtol=0)


def test_detail_has_no_preferred_side() -> None:
    original, restored = torch.rand(1, 100, 100, 3), torch.rand(1, 100, 100, 3)
    blended = blend_faces(original, restored, 0.3, "detail")
    mirrored_face = blend_faces(original.flip(2), restored.flip(2), 0.3, "detail").flip(2)
    turned = blend_faces(original.transpose(1, 2), restored.transpose(1, 2), 0.3, "detail").transpose(1, 2)
    torch.testing.assert_close(mirrored_face, blended, atol=2e-5, rtol=0)
    torch.testing.assert_close(turned, blended, atol=2e-5, rtol=0)


@pytest.mark.parametrize("mode", BLEND_MODES)
def test_a_batch_is_its_faces_one_by_one(mode: str) -> None:
    original, restored = torch.rand(3, 50, 50, 3), torch.rand(3, 64, 64, 3)
    together = blend_faces(original, restored, 0.4, mode)
    for index in range(3):
        alone = blend_faces(original[index : index + 1], restored[index : index + 1], 0.4, mode)
        assert torch.equal(together[index : index + 1], alone)


@pytest.mark.parametrize("mode", BLEND_MODES)
@pytest.mark.parametrize("fidelity", [0.0, 0.5, 1.0])
def test_inputs_of_any_kind_stay_untouched(mode: str, fidelity: float) -> None:
    original = torch.rand(2, 30, 30, 4).half()  # RGBA, fp16
    restored = torch.rand(2, 48, 48, 4) * 1.2 - 0.1  # a node in between overshot
    copies = original.clone(), restored.clone()
    blended = blend_faces(original, restored, fidelity, mode)
    assert blended.shape == (2, 48, 48, 3) and blended.dtype == torch.float32
    assert float(blended.min()) >= 0 and float(blended.max()) <= 1
    assert torch.equal(original, copies[0]) and torch.equal(restored, copies[1])
    assert blend_faces(original[:0], restored[:0], fidelity, mode).shape == (0, 48, 48, 3)


def test_works_within_inference_mode_and_on_views() -> None:
    with torch.inference_mode():
        restored = torch.rand(2, 3, 64, 64).permute(0, 2, 3, 1)
        blended = blend_faces(torch.rand(2, 32, 64, 3)[:, :, ::2], restored, 0.5, "detail")
    assert blended.shape == (2, 64, 64, 3)


@pytest.mark.parametrize("fidelity", [-0.01, 1.01, float("nan"), float("inf")])
def test_a_fidelity_out_of_range_is_refused(fidelity: float) -> None:
    faces = torch.rand(1, 16, 16, 3)
    with pytest.raises(ValueError, match="fidelity must be a number from 0"):
        blend_faces(faces, faces, fidelity)


def test_mistakes_are_sentences() -> None:
    faces = torch.rand(2, 16, 16, 3)
    with pytest.raises(ValueError, match="blend_mode must be one of linear, detail; got 'Linear'"):
        blend_faces(faces, faces, 0.2, "Linear")
    with pytest.raises(ValueError, match="expected 2 restored faces for as many originals, got 1"):
        blend_faces(faces, faces[:1])
    with pytest.raises(ValueError, match=r"original crops must be square .* \(2, 16, 8, 3\)"):
        blend_faces(faces[:, :, :8], faces)
    with pytest.raises(ValueError, match="restored faces must be square"):
        blend_faces(faces, faces[0])
    with pytest.raises(ValueError, match="restored faces must be floating point"):
        blend_faces(faces, (faces * 255).byte())
    broken = faces.clone()
    broken[1, 3, 4, 0] = float("nan")
    for mode in BLEND_MODES:
        with pytest.raises(ValueError, match="face 1 of the restored faces holds NaN"):
            blend_faces(faces, broken, 0.2, mode)
    with pytest.raises(ValueError, match="face 1 of the original crops holds NaN"):
        blend_faces(broken, faces)
