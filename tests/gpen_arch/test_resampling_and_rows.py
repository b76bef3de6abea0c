"""The engine's resampling equals the slow operations, and its row strips lose no row."""

from __future__ import annotations

import itertools

import pytest
import torch
from gpen_pack.gpen_arch.fast import resampling
from gpen_pack.gpen_arch.fast.rows import RowStrip, row_windows
from gpen_pack.gpen_arch.ops import fir_kernel, upfirdn2d
from torch.nn import functional as F


def test_an_upsampling_by_phases_equals_its_reference() -> None:
    """What CUDA runs instead of a transposed convolution and a blur."""
    x, weight = torch.randn(2, 5, 9, 7), torch.randn(3, 5, 3, 3)
    slow = upfirdn2d(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), fir_kernel(4), pad=(1, 1))
    phases = F.conv2d(x, resampling.upsampling_phases(weight, resampling.blur_taps()), padding=1)
    fast = torch.empty_like(slow)
    for p in (0, 1):
        for q in (0, 1):
            fast[:, :, p::2, q::2] = phases[:, (2 * p + q) * 3 : (2 * p + q + 1) * 3]
    assert torch.allclose(fast, slow, atol=1e-4)


def test_a_merged_blur_and_the_enlargement_equal_their_references() -> None:
    x, weight, taps = torch.randn(2, 5, 8, 6), torch.randn(3, 5, 3, 3), resampling.blur_taps()
    slow = F.conv2d(upfirdn2d(x, fir_kernel(), pad=(2, 2)), weight, stride=2)
    assert torch.allclose(F.conv2d(x, resampling.with_blur_before(weight, taps), stride=2, padding=2), slow, atol=1e-4)
    slow = upfirdn2d(x, fir_kernel(4), up=2, pad=(2, 1))
    assert torch.allclose(resampling.enlarge(F.pad(x, (1, 1, 1, 1))), slow, atol=1e-5)


@pytest.mark.parametrize("steps", [(1, 1, 1, 1, 1, 1, 1), (7,), (2, 5), (3, 3, 1), (1, 4, 2)])
def test_row_strips_give_every_row_its_neighbours_once(steps: tuple[int, ...]) -> None:
    """However the rows are written, the windows together are the padded map."""
    data = torch.arange(1.0, 8).view(1, 7, 1, 1).expand(1, 7, 2, 3)
    strip = RowStrip(7, max(steps), (1, 2, 3), data)
    seen: list[float] = []
    for count in steps:
        strip.next_rows(count).copy_(data[:, strip.done : strip.done + count])
        for window in strip.windows(count):
            column = window[0, :, 0, 0].tolist()
            assert all(b - a == 1 or b == 0 for a, b in itertools.pairwise(column)), column
            seen += column[1:-1]
    assert seen == list(range(1, 8))
    padded = F.pad(data, (0, 0, 0, 0, 1, 1))
    assert [w.shape[1] - 2 for w in row_windows(padded, 3)] == [3, 3, 1]
