"""The elementary operations against plain references written from the formulas of the papers."""

from __future__ import annotations

import ast
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from gpen_pack.gpen_arch import GPEN, GPENConfig, level_noise
from gpen_pack.gpen_arch.layers import EqualConv2d, EqualLinear, ModulatedConv2d, mapping_network
from gpen_pack.gpen_arch.ops import biased_leaky_relu, fir_kernel, modulated_conv2d, pixel_norm, upfirdn2d


def slow_upfirdn(x: np.ndarray, kernel: np.ndarray, up: int, down: int, pad: tuple[int, int]) -> np.ndarray:
    """One channel, in loops: insert zeros, pad, convolve, keep every down-th pixel."""
    h, w = x.shape
    wide = np.zeros((h * up + sum(pad), w * up + sum(pad)))
    wide[pad[0] : pad[0] + h * up : up, pad[0] : pad[0] + w * up : up] = x
    k = kernel.shape[0]
    out = np.zeros(((wide.shape[0] - k) // down + 1, (wide.shape[1] - k) // down + 1))
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            window = wide[i * down : i * down + k, j * down : j * down + k]
            out[i, j] = (window * kernel[::-1, ::-1]).sum()
    return out


@pytest.mark.parametrize(
    ("up", "down", "pad"), [(1, 1, (2, 2)), (1, 1, (1, 1)), (2, 1, (2, 1)), (1, 2, (2, 2)), (3, 2, (0, 3))]
)
def test_upfirdn2d_equals_loops_with_an_asymmetric_kernel(up: int, down: int, pad: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    x, kernel = rng.standard_normal((2, 3, 7, 5)), rng.standard_normal((4, 4))
    got = upfirdn2d(torch.from_numpy(x), torch.from_numpy(kernel), up=up, down=down, pad=pad).numpy()
    for n in range(2):
        for c in range(3):
            np.testing.assert_allclose(got[n, c], slow_upfirdn(x[n, c], kernel, up, down, pad), atol=1e-12)


def test_blur_keeps_a_constant_inside() -> None:
    x = torch.full((1, 2, 9, 9), 3.0)
    blurred = upfirdn2d(x, fir_kernel(), pad=(2, 1))
    assert torch.allclose(blurred[..., 2:-2, 2:-2], torch.tensor(3.0))
    doubled = upfirdn2d(x, fir_kernel(4), up=2, pad=(2, 1))
    assert doubled.shape[-2:] == (18, 18)
    assert torch.allclose(doubled[..., 2:-2, 2:-2], torch.tensor(3.0))


def test_skip_upsampling_is_bilinear_inside() -> None:
    x = torch.randn(1, 3, 8, 8)
    doubled = upfirdn2d(x, fir_kernel(4), up=2, pad=(2, 1))
    bilinear = torch.nn.functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    assert torch.allclose(doubled[..., 1:-1, 1:-1], bilinear[..., 1:-1, 1:-1], atol=1e-6)


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("demodulate", [False, True])
def test_modulated_conv2d_equals_per_sample_weights(up: bool, demodulate: bool) -> None:
    """The paper's form: w' = s·w, w'' = w'/||w'||, one convolution per sample."""
    x, weight, style = torch.randn(3, 5, 6, 6), torch.randn(4, 5, 3, 3), torch.randn(3, 5)
    got = modulated_conv2d(x, weight, style, demodulate=demodulate, up=up)
    for n in range(3):
        own = weight * style[n][None, :, None, None]
        if demodulate:
            own = own / (own.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if up:
            expected = torch.nn.functional.conv_transpose2d(x[n : n + 1], own.transpose(0, 1), stride=2)
        else:
            expected = torch.nn.functional.conv2d(x[n : n + 1], own, padding=1)
        assert torch.allclose(got[n : n + 1], expected, atol=1e-4), n


def test_demodulated_output_has_unit_variance() -> None:
    """White noise gives unit variance for any style (away from the zero padding)."""
    conv = ModulatedConv2d(32, 16, 3, 8)
    w = torch.randn(4, 8) * 5
    with torch.no_grad():
        y = conv(torch.randn(4, 32, 96, 96), w)[..., 1:-1, 1:-1]
    deviations = y.std(dim=(2, 3))
    assert torch.allclose(deviations, torch.ones_like(deviations), atol=0.05), deviations


def test_equalised_learning_rate_keeps_unit_variance() -> None:
    with torch.no_grad():
        y = EqualConv2d(64, 32, 3)(torch.randn(2, 64, 40, 40))
        assert abs(y.std().item() - 1) < 0.05
        z = EqualLinear(512, 256, lr_mul=0.01)(torch.randn(64, 512))
        assert abs(z.std().item() - 1) < 0.05


def test_linear_formula_with_learning_rate_multiplier() -> None:
    linear = EqualLinear(3, 2, lr_mul=0.01, activate=True)
    with torch.no_grad():
        linear.bias.copy_(torch.tensor([50.0, -70.0]))
        x = torch.tensor([[1.0, -2.0, 3.0]])
        plain = x @ linear.weight.t() * 0.01 / math.sqrt(3) + torch.tensor([0.5, -0.7])
        expected = torch.where(plain > 0, plain, 0.2 * plain) * math.sqrt(2)
        assert torch.allclose(linear(x), expected)


def test_biased_leaky_relu_by_hand() -> None:
    x = torch.tensor([[[[1.0]], [[-1.0]]]])
    y = biased_leaky_relu(x, torch.tensor([1.0, -1.0]))
    assert torch.allclose(y.flatten(), torch.tensor([2 * math.sqrt(2), -0.4 * math.sqrt(2)]))


def test_pixel_norm_and_mapping() -> None:
    z = torch.randn(5, 16) * 100
    assert torch.allclose(pixel_norm(z).square().mean(dim=1), torch.ones(5), atol=1e-4)
    mapping = mapping_network(16, 2)
    with torch.no_grad():
        assert torch.allclose(mapping(z), mapping(z / 10), atol=1e-3)  # the scale of z is normalised away


NETS = {
    "concatenated": GPENConfig.standard(64, narrow=1 / 32, style_dim=32, mapping_layers=2),
    "added": GPENConfig.standard(32, narrow=1 / 32, style_dim=32, mapping_layers=2, concat=False),
    "SR": GPENConfig.standard(16, out_size=64, narrow=1 / 32, style_dim=32, mapping_layers=2),
}


@pytest.mark.parametrize("name", NETS)
def test_a_batch_equals_its_members(name: str) -> None:
    config = NETS[name]
    net = GPEN(config).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
        x = torch.rand(3, 3, config.in_size, config.in_size) * 2 - 1
        together = net(x)
        alone = torch.cat([net(x[i : i + 1]) for i in range(3)])
    assert torch.allclose(together, alone, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(together[0], together[1], atol=1e-2)


def test_results_do_not_depend_on_the_random_state() -> None:
    config = NETS["SR"]
    net = GPEN(config).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
        x = torch.rand(1, 3, 16, 16)
        torch.manual_seed(1)
        first = net(x)
        state = torch.get_rng_state()
        torch.manual_seed(2)
        assert torch.equal(net(x), first)
        torch.set_rng_state(state)


def test_level_noise_is_normal_repeats_and_differs_by_level() -> None:
    noise = level_noise(8, 64)
    assert noise.shape == (1, 8, 64, 64) and noise.dtype == torch.float32
    assert torch.equal(noise, level_noise(8, 64))
    assert abs(noise.mean().item()) < 0.02 and abs(noise.std().item() - 1) < 0.02
    assert not torch.equal(noise[..., :32, :32], level_noise(8, 32))


def test_gpen_arch_imports_torch_and_the_standard_library_alone(root: Path) -> None:
    allowed = set(sys.stdlib_module_names) | {"torch", "triton"}
    for file in (root / "gpen_arch").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                heads = {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                heads = {(node.module or "").split(".")[0]}
            else:
                continue
            assert heads <= allowed, f"{file.name} imports {heads - allowed}"
