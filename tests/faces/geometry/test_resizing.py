"""Resizing with an antialiasing filter where the device has none: over the CPU, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from gpen_pack.faces.compose.masks import UserMask
from gpen_pack.faces.compose.smoothing import resize_square
from gpen_pack.faces.geometry.resizing import resize_planes
from gpen_pack.models.restorers.restorer import to_network
from torch import Tensor
from torch.nn import functional

MPS = torch.device("mps")


class Elsewhere(Tensor):
    """A tensor that says it lies on Apple's GPU, and refuses the filter as that does."""

    device = MPS  # type: ignore[assignment] # in place of the property

    def cpu(self) -> Tensor:
        return self.as_subclass(Tensor)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is functional.interpolate:
            raise RuntimeError("The operator 'aten::_upsample_bicubic2d_aa.out' is not currently implemented")
        return super().__torch_function__(func, types, args, kwargs or {})


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> Callable[[Tensor], Tensor]:
    """Takes a tensor to that device."""
    real = Tensor.to

    def to(self: Tensor, *where: Any, **more: Any) -> Tensor:
        return self.as_subclass(Elsewhere) if where == (MPS,) else real(self, *where, **more)

    monkeypatch.setattr(Tensor, "to", to)
    return lambda tensor: tensor.to(MPS)


RESIZINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "faces": lambda given: resize_square(given, 12),
    "masks": lambda given: UserMask.of(given[..., 0], 1, (12, 20)).frame(0),  # type: ignore[union-attr]
    "network input": lambda given: to_network(given[None], 12),
    "planes": lambda given: resize_planes(given[None], (9, 5), "bilinear"),
}


@pytest.mark.parametrize("what", RESIZINGS)
def test_the_detour_gives_the_same_and_comes_back(what: str, moved: Callable[[Tensor], Tensor]) -> None:
    given = torch.rand(30, 30, 3)
    found = RESIZINGS[what](moved(given))
    assert isinstance(found, Elsewhere), "it stayed on the CPU"
    assert torch.equal(found.cpu(), RESIZINGS[what](given))
