"""float16: styles of any size do not overflow where demodulation cancels them."""

from __future__ import annotations

import pytest
import torch
from gpen_pack.gpen_arch import GPEN, GPENConfig, build_engine
from gpen_pack.gpen_arch.ops import modulated_conv2d, normalized_style

CONFIG = GPENConfig.standard(32, narrow=1 / 16, style_dim=32, mapping_layers=2)


def large_styles(factor: float, *, declined: bool = False) -> GPEN:
    """A GPEN whose modulations, except those of the RGB convolutions, are so many times as large."""
    net = GPEN(CONFIG).eval().requires_grad_(False)
    for name, parameter in net.named_parameters():
        parameter.add_(torch.randn_like(parameter) * 0.1)
        if ".modulation." in name and "rgb" not in name:
            parameter.mul_(factor)
    if declined:
        net.get_buffer("ecd1.0.0.kernel")[0] += 0.02
    return net


@pytest.mark.parametrize("factor", [1.0, 3e3, 3e5])
def test_large_styles_do_not_overflow(factor: float) -> None:
    net = large_styles(factor)
    x = torch.rand(2, 3, 32, 32) * 2 - 1
    expected = net(x)
    y = build_engine(net.state_dict(), dtype=torch.float16)(x)
    assert torch.isfinite(y).all()
    assert (y - expected).norm() / expected.norm() < 5e-3


def test_the_reference_does_not_lose_large_styles_silently() -> None:
    """The square of a style overflows in float16 from 256 on, which made the demodulation zero."""
    net = large_styles(300.0, declined=True)
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    expected = net(x)
    engine = build_engine(net.state_dict(), dtype=torch.float16)
    assert engine.declined is not None
    assert (engine(x) - expected).norm() / expected.norm() < 5e-3


def test_a_normalized_style_gives_the_same_convolution() -> None:
    """The epsilon too, which matters for tiny styles."""
    x, weight = torch.randn(3, 6, 5, 5), torch.randn(4, 6, 3, 3)
    style = torch.randn(3, 6) * torch.tensor([[1e-3], [1.0], [1e4]])
    scaled, epsilon = normalized_style(style)
    assert torch.equal(scaled.abs().amax(1), torch.ones(3))
    plain = modulated_conv2d(x, weight, style, demodulate=False)
    norms = style.square() @ weight.square().sum((2, 3)).t()
    demodulated = plain * torch.rsqrt(norms + 1e-8)[:, :, None, None]
    same = modulated_conv2d(x, weight, scaled, demodulate=False)
    same = same * torch.rsqrt(scaled.square() @ weight.square().sum((2, 3)).t() + epsilon)[:, :, None, None]
    assert torch.allclose(same, demodulated, rtol=1e-4, atol=1e-5)
    assert torch.equal(normalized_style(torch.zeros(2, 6))[0], torch.zeros(2, 6))
