"""GPEN as the public ONNX exports spell it: the same network, written for the exporter in several ways.

The authors' own code runs on the CPU, and so in exports, without their CUDA kernels: weights are multiplied by the
style at run time and convolved in groups of a batch, resampling goes through channels-last reshapes and pads, the
style is copied once a layer. A second way, used for TensorRT, scales the activations instead.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from gpen_pack.gpen_arch import GPEN, generator, layers
from torch.nn import functional as F


def activation(x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    shape = (1, -1) + (1,) * (len(x.shape) - 2)
    return 2**0.5 * F.leaky_relu(x + bias.view(shape), negative_slope=0.2)


def channels_last_resampling(
    x: torch.Tensor, kernel: torch.Tensor, *, up: int = 1, pad: tuple[int, int] = (0, 0)
) -> torch.Tensor:
    return filtered(x, torch.flip(kernel, [0, 1]), up, pad, traced=True)


def flipped_before_resampling(
    x: torch.Tensor, kernel: torch.Tensor, *, up: int = 1, pad: tuple[int, int] = (0, 0)
) -> torch.Tensor:
    return filtered(x, torch.from_numpy(kernel.detach().numpy()[::-1, ::-1].copy()), up, pad)


def filtered(
    x: torch.Tensor, kernel: torch.Tensor, up: int, pad: tuple[int, int], *, traced: bool = False
) -> torch.Tensor:
    x = x.permute(0, 2, 3, 1)
    _, height, width, channels = x.shape if traced else map(int, x.shape)
    x = x.reshape(-1, height, 1, width, 1, channels)
    x = F.pad(x, [0, 0, 0, up - 1, 0, 0, 0, up - 1]).view(-1, height * up, width * up, channels)
    x = F.pad(x, [0, 0, max(pad[0], 0), max(pad[1], 0), max(pad[0], 0), max(pad[1], 0)])
    x = x[:, max(-pad[0], 0) : x.shape[1] - max(-pad[1], 0), max(-pad[0], 0) : x.shape[2] - max(-pad[1], 0), :]
    x = x.permute(0, 3, 1, 2).reshape([-1, 1, height * up + sum(pad), width * up + sum(pad)])
    size = int(kernel.shape[0])
    x = F.conv2d(x, kernel.view(1, 1, size, size))
    x = x.reshape(-1, channels, height * up + sum(pad) - size + 1, width * up + sum(pad) - size + 1)
    return x[:, :, ::1, ::1]


def transposed_resampling(
    x: torch.Tensor, kernel: torch.Tensor, *, up: int = 1, pad: tuple[int, int] = (0, 0)
) -> torch.Tensor:
    weight = kernel.detach()[None, None].repeat(x.shape[1], 1, 1, 1)
    if up == 1:
        return F.conv2d(x, weight, padding=pad[0], groups=x.shape[1])
    return F.conv_transpose2d(x, weight, stride=2, padding=1, groups=x.shape[1])


def zeros_between_resampling(
    x: torch.Tensor, kernel: torch.Tensor, *, up: int = 1, pad: tuple[int, int] = (0, 0)
) -> torch.Tensor:
    channels, most = int(x.shape[1]), max(pad)
    if up > 1:
        x = F.conv_transpose2d(x, torch.ones(channels, 1, 1, 1), stride=up, groups=channels, output_padding=up - 1)
    x = F.conv2d(x, kernel.detach()[None, None].repeat(channels, 1, 1, 1), padding=most, groups=channels)
    before, after = most - pad[0], most - pad[1]
    return x[:, :, before : int(x.shape[2]) - after, before : int(x.shape[3]) - after]


def modulated_weights(self: Any, x: torch.Tensor, w: torch.Tensor, *, traced: bool = False) -> torch.Tensor:
    """`traced`: sizes are read from the tensors in the graph, as the exporter does where nobody stops it."""
    batch, channels, height, width = x.shape if traced else map(int, x.shape)
    _, outputs, _, size, _ = self.weight.shape
    weight = self.scale * self.weight * self.modulation(w).view(batch, 1, channels, 1, 1)
    if self.demodulate:
        norm = torch.rsqrt(weight.pow(2).sum([2, 3, 4]) + 1e-8)
        weight = weight * norm.view(batch, outputs, 1, 1, 1)
    weight = weight.view(batch * outputs, channels, size, size)
    x = x.view(1, batch * channels, height, width)
    if not self.upsample:
        x = F.conv2d(x, weight, padding=size // 2, groups=batch)
        return x.view(batch, outputs, x.shape[2], x.shape[3])
    weight = weight.view(batch, outputs, channels, size, size).transpose(1, 2)
    x = F.conv_transpose2d(x, weight.reshape(batch * channels, outputs, size, size), stride=2, groups=batch)
    return self.blur(x.view(batch, outputs, x.shape[2], x.shape[3]))


def traced_modulated_weights(self: Any, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return modulated_weights(self, x, w, traced=True)


def modulated_activations(self: Any, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    batch, channels, _, _ = x.shape
    _, outputs, _, size, _ = self.weight.shape
    style = self.modulation(w).view(batch, 1, channels, 1, 1)
    weight = self.weight.view(outputs, channels, size, size)
    x = self.scale * x * style.view(batch, channels, 1, 1)
    if self.upsample:
        x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
    else:
        x = F.conv2d(x, weight, padding=size // 2)
    if self.demodulate:
        norm = torch.rsqrt((self.scale * self.weight * style).pow(2).sum([2, 3, 4]) + 1e-8)
        x = x * norm.view(batch, outputs, 1, 1)
    return self.blur(x) if self.upsample else x


def copied_styles(self: Any, z: torch.Tensor, features: Sequence[torch.Tensor]) -> torch.Tensor:
    """The synthesis over one copy of the style a layer."""
    latent = self.style(z).unsqueeze(1).repeat(1, 2 * len(features), 1)
    x = self.conv1(self.input.input.repeat(latent.shape[0], 1, 1, 1), latent[:, 0], features[0])
    rgb = self.to_rgb1(x, latent[:, 1])
    for i, feature in enumerate(features[1:]):
        x = self.convs[2 * i](x, latent[:, 2 * i + 1], feature)
        x = self.convs[2 * i + 1](x, latent[:, 2 * i + 2], feature)
        rgb = self.to_rgbs[i](x, latent[:, 2 * i + 3], rgb)
    return rgb


def rms_norm(x: torch.Tensor) -> torch.Tensor:
    return x * torch.rsqrt(torch.mean(x**2, dim=1, keepdim=True) + 1e-8)


SPELLINGS: dict[str, tuple[Callable, Callable | None, bool]] = {
    "authors": (flipped_before_resampling, modulated_weights, True),
    "authors, traced": (channels_last_resampling, traced_modulated_weights, True),  # opset 10 only, or dynamo
    "tensorrt": (flipped_before_resampling, modulated_activations, True),
    "ours": (transposed_resampling, None, False),
    "ours, zeros between": (zeros_between_resampling, None, False),
}


@contextlib.contextmanager
def spelled(name: str) -> Iterator[None]:
    """Within it, a GPEN computes in the way of this name."""
    resampling, modulated, authors = SPELLINGS[name]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layers, "upfirdn2d", resampling)
        if modulated is not None:
            patch.setattr(layers.ModulatedConv2d, "forward", modulated)
        if authors:
            patch.setattr(layers, "biased_leaky_relu", activation)
            patch.setattr(layers, "pixel_norm", rms_norm)
            patch.setattr(generator.Generator, "forward", copied_styles)
        yield


def export(net: GPEN, path: Path, spelling: str = "authors", **options: Any) -> Path:
    """Write a network as ONNX."""
    side = net.config.in_size
    x = torch.zeros(1, 3, side, side, dtype=next(net.parameters()).dtype)
    settings = {"input_names": ["input"], "output_names": ["output"], "dynamo": False, "opset_version": 17} | options
    with spelled(spelling):
        torch.onnx.export(net, (x,), str(path), **settings)
    return path


def draw(net: GPEN) -> GPEN:
    """Weights none of which is zero or one by default, of the scale that training keeps."""
    for name, value in net.named_parameters():
        if name.endswith(("bias", "noise.weight")):
            value.data.add_(torch.randn_like(value) * (0.1 / (0.01 if ".style." in name else 1)))
    return net.eval().requires_grad_(False)


def equal_up_to(a: torch.Tensor, b: torch.Tensor) -> float:
    """The relative distance of two tensors."""
    return float(torch.linalg.vector_norm(a - b) / max(torch.linalg.vector_norm(b), math.ulp(1)))
