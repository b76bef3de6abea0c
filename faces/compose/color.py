"""Match a restored face's colours to the original: mean and std in Lab, or the low band of a wavelet."""

from __future__ import annotations

import torch
from torch import Tensor

from ..geometry.full_precision import full_precision
from ..geometry.upload import upload
from .blend import check_face_batch, check_finite_faces, check_same_count
from .lab import lab_to_rgb, rgb_to_lab
from .smoothing import resize_square, wavelet_low

COLOR_MATCHES = ("none", "mean_std", "wavelet")

STATISTICS_GRID = 64  # px; statistics are taken at this size, where blur, noise and GPEN's own detail do not matter
FACE_CENTRE = (0.5, 0.57)  # u, v of the midpoint between eyes and mouth, in both templates
FACE_RADII = (0.24, 0.30)  # in u and v: cheek to cheek, brows to chin; hair and background have zero weight
# limits per L, a, b: a flat original does not remove all contrast, a grey one gives a grey face
GAINS = ((0.5, 2.0), (0.0, 2.0), (0.0, 2.0))

LUMA = (0.2126, 0.7152, 0.0722)  # Rec. 709
STRIP = 256  # rows converted at a time: Lab needs eight times the picture's memory for intermediates


def _face_weights(size: int, device: torch.device) -> Tensor:
    """(size, size, 1), sum 1: a paraboloid over the face of an aligned crop, 0 outside its ellipse."""
    middles = (torch.arange(size, dtype=torch.float32, device=device) + 0.5) / size
    across = ((middles - FACE_CENTRE[0]) / FACE_RADII[0]).square()
    down = ((middles - FACE_CENTRE[1]) / FACE_RADII[1]).square()
    weights = (1 - down[:, None] - across).clamp_min(0)
    return (weights / weights.sum())[:, :, None]


def _mean_and_std(values: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean and std over the face of (G, G, C): (C,) and (C,)."""
    weights = _face_weights(values.shape[0], values.device)
    mean = (weights * values).sum(dim=(0, 1))
    return mean, (weights * (values - mean) ** 2).sum(dim=(0, 1)).sqrt()


def _match_mean_std(restored: Tensor, original: Tensor) -> Tensor:
    """Match mean and std per Lab channel over the face to the original's; (S, S, 3) and (s, s, 3)."""
    statistics = [_mean_and_std(rgb_to_lab(resize_square(face, STATISTICS_GRID))) for face in (restored, original)]
    (mean, std), (wanted_mean, wanted_std) = statistics
    gain = wanted_std / std.clamp_min(1e-3)  # below 1e-3 of a Lab unit there is nothing to stretch
    limits = upload(torch.tensor(GAINS, dtype=torch.float32, device="cpu"), gain.device)
    gain = gain.clamp(limits[:, 0], limits[:, 1])
    return torch.cat([lab_to_rgb((rgb_to_lab(rows) - mean) * gain + wanted_mean) for rows in restored.split(STRIP)])


def _chroma(rgb: Tensor) -> Tensor:
    """(..., 3) minus its luma: 0 for every grey."""
    luma = (rgb * upload(torch.tensor(LUMA, dtype=torch.float32, device="cpu"), rgb.device)).sum(dim=-1, keepdim=True)
    return rgb - luma


def _match_wavelet(restored: Tensor, original: Tensor) -> Tensor:
    """Low band of the original plus high bands of the restored face; (S, S, 3) and (s, s, 3).

    If the original has less colour than GPEN's face (a tinted or a grey photo), the chroma of the high bands is reduced
    in proportion: a grey original gives a grey face, edges included.
    """
    size = restored.shape[0]
    low_restored, low_original = wavelet_low(restored), wavelet_low(original)
    spreads = [_mean_and_std(_chroma(low))[1].square().sum().sqrt() for low in (low_original, low_restored)]
    vividness = (spreads[0] / spreads[1].clamp_min(1e-4)).clamp(0, 1)
    matched = restored + resize_square(low_original - low_restored, size)
    # also if vividness is 1: testing it would synchronise with the device
    return matched.sub_((1 - vividness) * _chroma(restored - resize_square(low_restored, size))).clamp_(0, 1)


def match_color(restored: Tensor, original: Tensor, color_match: str = "none") -> Tensor:
    """Match the colours of restored faces to the original crops, per face and in bounded memory.

    Args:
        restored: (N, S, S, 3), [0, 1], any float dtype; a fourth channel is ignored. The result is on its device.
        original: (N, s, s, 3), [0, 1]; s may differ from S.
        color_match: ``none``: no-op. ``mean_std``: mean and std per CIE Lab channel over the middle of the face:
            overall light, contrast and tint are the original's, shading and detail GPEN's. ``wavelet``: everything
            wider than about 4 % of the crop is the original's, so also its local light and colour.

    Returns:
        (N, S, S, 3) float32 in [0, 1]; with ``none`` it may be the input tensor itself.

    Raises:
        ValueError: an unknown name, unequal counts, wrong shapes, NaN pixels.
    """
    if color_match not in COLOR_MATCHES:
        raise ValueError(f"color_match must be one of {', '.join(COLOR_MATCHES)}; got {color_match!r}")
    check_face_batch(restored, "the restored faces")
    check_face_batch(original, "the original crops")
    check_same_count(original, restored)
    if color_match == "none":
        return restored[..., :3].float()
    for name, faces in (("the original crops", original), ("the restored faces", restored)):
        check_finite_faces(faces, name)
    return match_colors(restored, original, color_match)


@full_precision
def match_colors(restored: Tensor, original: Tensor, color_match: str) -> Tensor:
    """:func:`match_color` without its checks: trusts the values and reads nothing back from the device."""
    if color_match == "none":
        return restored[..., :3].float()
    match = _match_mean_std if color_match == "mean_std" else _match_wavelet
    matched = torch.empty((*restored.shape[:3], 3), dtype=torch.float32, device=restored.device)
    for index in range(len(restored)):
        before = original[index, :, :, :3].float().to(restored.device)
        matched[index] = match(restored[index, :, :, :3].float(), before)
    return matched
