"""Losses of the generator and the discriminator: pixels, detail per band, chroma, adversarial; no pretrained network.

All pictures are [N,3,S,S] in [-1,1] and compared in float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F

_FLOOR = 2e-4  # squared error below which a picture counts as restored: 43 dB


@dataclass(frozen=True)
class LossWeights:
    """Weights of the generator's losses; the program's own defaults are those of ``TrainOptions``.

    Args:
        pixel: L1 of the pixels.
        decibel: logarithm of the squared error per picture, as in PSNR. Under uncertainty L1 favours the median, which
            is zero for sparse detail; this favours the mean, and a badly degraded picture does not dominate the others.
        bands: L1 of the four finest Laplacian bands; it weights detail as much as light and shade.
        energy: difference of the bands' local energy. Under uncertainty L1 alone favours blur, this favours texture.
        chroma: L1 of the blurred colour differences, so that light and colour do not drift.
        adversarial: non-saturating loss from the discriminator.
        face: additional weight of pixels in the middle of the face relative to the corners (0: uniform).
    """

    pixel: float = 1.0
    decibel: float = 0.0
    bands: float = 1.0
    energy: float = 0.25
    chroma: float = 0.5
    adversarial: float = 0.0
    face: float = 2.0


def face_weight(size: int, strength: float, device: torch.device | str = "cpu") -> torch.Tensor:
    """[1,1,size,size], mean 1: a constant plus a Gaussian over eyes, nose and mouth of the aligned face."""
    ticks = (torch.arange(size, device=device, dtype=torch.float32) + 0.5) / size
    hill = torch.exp(-0.5 * ((ticks - 0.58) / 0.17) ** 2)[:, None] * torch.exp(-0.5 * ((ticks - 0.5) / 0.17) ** 2)
    weight = 1 + strength * hill
    return (weight / weight.mean())[None, None]


def laplacian_bands(x: torch.Tensor, count: int = 4) -> list[torch.Tensor]:
    """Band-pass pictures of [N,C,S,S] at full size, half size, …: each the residual of a [1,4,6,4,1] blur."""
    bands = []
    for _ in range(count):
        blurred = _blurred(_blurred(F.pad(x, (2, 2, 2, 2), mode="reflect"), 3), 2)
        bands.append(x - blurred)
        x = blurred[:, :, ::2, ::2]
    return bands


def _blurred(x: torch.Tensor, axis: int) -> torch.Tensor:
    """Blur with [1,4,6,4,1]/16 along an axis, four pixels shorter; by sums, faster than a convolution on a CPU."""
    a, b, c, d, e = (x.narrow(axis, k, x.shape[axis] - 4) for k in range(5))
    return (a + e + 4 * (b + d) + 6 * c) / 16


def local_energy(band: torch.Tensor, window: int = 12) -> torch.Tensor:
    """RMS of a band in overlapping windows: [N,C,S,S] -> [N,C,s,s]."""
    window = min(window, band.shape[-1])
    return (F.avg_pool2d(band.square(), window, stride=max(1, window // 2)) + 1e-5).sqrt()


def chroma_planes(x: torch.Tensor) -> torch.Tensor:
    """Blurred colour differences (blue - luma, red - luma): [N,3,S,S] -> [N,2,S/8,S/8]."""
    x = F.avg_pool2d(x, 8)
    luma = 0.299 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:]
    return torch.cat((x[:, 2:] - luma, x[:, :1] - luma), dim=1)


def reconstruction_loss(
    restored: torch.Tensor, target: torch.Tensor, weights: LossWeights
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Weighted sum of all losses except the adversarial one, and the value of each by name, without gradient.

    Raises:
        ValueError: the shapes differ.
    """
    if restored.shape != target.shape:
        raise ValueError(f"restored: expected the shape of target, {list(target.shape)}, got {list(restored.shape)}")
    restored, target = restored.float(), target.float()
    size = target.shape[-1]
    place = face_weight(size, weights.face, target.device)
    difference = restored - target
    parts = {"pixel": (difference.abs() * place).mean(), "chroma": chroma_planes(difference).abs().mean()}
    if weights.decibel:
        squared = (difference.square() * place).mean((1, 2, 3))
        parts["decibel"] = (squared + _FLOOR).log().mean()
    # bands are linear: the bands of the difference are the differences of the bands
    bands = [
        (band.abs() * F.interpolate(place, size=band.shape[-2:], mode="area")).mean()
        for band in laplacian_bands(difference)
    ]
    parts["bands"] = torch.stack(bands).sum()
    if weights.energy:
        luma = target.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
        ours, theirs = ((x * luma).sum(1, keepdim=True) for x in (restored, target))
        energy = []
        for a, b in zip(laplacian_bands(ours, 3), laplacian_bands(theirs, 3), strict=True):
            gap = (local_energy(a) - local_energy(b)).abs()
            energy.append((gap * F.interpolate(place, size=gap.shape[-2:], mode="area")).mean())
        parts["energy"] = torch.stack(energy).sum()
    total = torch.stack([getattr(weights, name) * value for name, value in parts.items()]).sum()
    return total, {name: value.detach() for name, value in parts.items()}


def generator_adversarial(fake_logits: torch.Tensor) -> torch.Tensor:
    """Non-saturating loss of the generator from the discriminator's logits [N,1]: a scalar."""
    return F.softplus(-fake_logits.float()).mean()


def discriminator_adversarial(real_logits: torch.Tensor, fake_logits: torch.Tensor) -> torch.Tensor:
    """Logistic loss of the discriminator from its logits [N,1] on real and restored pictures: a scalar."""
    return F.softplus(-real_logits.float()).mean() + F.softplus(fake_logits.float()).mean()


def r1_penalty(real_logits: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Squared gradient of the logits [N,1] on real pictures [N,3,S,S] (which require grad): an unweighted scalar.

    Source: Mescheder et al. 2018; StyleGAN2 applies it lazily, every 16th step, times 16.
    """
    (gradient,) = torch.autograd.grad(real_logits.float().sum(), real, create_graph=True)
    return gradient.float().square().sum(dim=(1, 2, 3)).mean()
