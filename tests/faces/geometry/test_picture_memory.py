"""Memory for pictures: an ordinary tensor, whatever allocated it."""

from __future__ import annotations

import pytest
import torch
from gpen_pack.faces.geometry.memory import copied_pictures, new_pictures

CPU = torch.device("cpu")


@pytest.mark.parametrize("shape", [(0, 5, 7, 3), (1, 1, 1, 3), (2, 33, 17, 4), (1, 900, 1301, 3)])
def test_new_pictures(shape: tuple[int, ...]) -> None:
    made = new_pictures(*shape, device=CPU)
    assert made.shape == shape
    assert made.dtype == torch.float32
    assert made.is_contiguous()
    assert made.device == CPU
    made.fill_(0.5)
    other = new_pictures(*shape, device=CPU).fill_(2)
    assert bool((made == 0.5).all())
    assert bool((other == 2).all())


def test_new_pictures_elsewhere() -> None:
    assert new_pictures(2, 4, 5, 3, device=torch.device("meta")).device.type == "meta"


def test_new_pictures_outlives_its_maker() -> None:
    """The tensor holds the memory: nothing else made afterwards may come to lie there."""
    made = new_pictures(1, 1200, 1000, 3, device=CPU).fill_(0.25)
    part = made[0, 5:9]
    del made
    for _ in range(5):
        new_pictures(1, 1200, 1000, 3, device=CPU).fill_(9)
    assert bool((part == 0.25).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_copied_pictures(dtype: torch.dtype) -> None:
    images = torch.rand(2, 37, 21, 4).to(dtype)
    turned = images.flip(1).transpose(1, 2)
    for given in (images, turned, images[:, ::2, 3:], images[:1].expand(3, -1, -1, -1)):
        copied = copied_pictures(given)
        assert torch.equal(copied, given.float())
        assert copied.dtype == torch.float32
        assert copied.is_contiguous()
        assert copied.untyped_storage().data_ptr() != given.untyped_storage().data_ptr()


def test_copied_pictures_keeps_every_bit_and_no_gradient() -> None:
    images = torch.tensor([0.0, -0.0, float("inf"), 1e-45, 1.5, -3.0]).view(1, 1, 2, 3).requires_grad_()
    copied = copied_pictures(images)
    assert not copied.requires_grad
    assert torch.equal(copied.view(torch.int32), images.detach().view(torch.int32))


def test_under_inference_mode() -> None:
    with torch.inference_mode():
        inside = copied_pictures(torch.rand(1, 4, 4, 3))
        inside += 1
    copied_pictures(inside).add_(1)  # an inference tensor could not be written into here
