"""NaN and infinity in crops and faces: refused, with one value per batch read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from gpen_pack.gpen_arch import GPENConfig
from gpen_pack.models import RestoreError, load_gpen
from gpen_pack.models.restorers.torch_restorer import TorchRestorer
from gpen_pack.tests.models.stand_ins import Constant, write_tiny
from torch.utils._python_dispatch import TorchDispatchMode


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("models"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_face_that_is_not_finite_is_never_returned(dtype: torch.dtype) -> None:
    with pytest.raises(RestoreError, match="not finite"):
        module = Constant(float("nan")).to(dtype)
        TorchRestorer(module, GPENConfig(8, 8, (4, 4)), dtype=dtype).restore(torch.rand(1, 8, 8, 3))


class HostReads(TorchDispatchMode):
    """Counts the values that are read back to the host."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in ("_local_scalar_dense", "nonzero", "equal", "is_nonzero"):
            self.count += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=["fp32", "bf16"])
def test_one_value_per_batch_is_read_back(path: Path, dtype: torch.dtype | None) -> None:
    restorer = load_gpen(path, dtype=dtype)
    restorer.batch_size = 2
    crops = torch.rand(5, 70, 64, 3)
    with HostReads() as reads:
        restorer.restore(crops)
    assert reads.count == 3


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_bad_crop_is_named_by_its_number(value: float) -> None:
    """Infinity too, which clamping would hide from the network."""
    restorer = TorchRestorer(Constant(0.0), GPENConfig(8, 8, (4, 4)))
    restorer.batch_size = 2
    crops = torch.rand(5, 8, 8, 3)
    crops[3, 2, 1, 0] = value
    with pytest.raises(ValueError, match="crop 3 of 5"):
        restorer.restore(crops)
    opposite = torch.rand(1, 8, 8, 3)
    opposite[0, 0, 0, 0], opposite[0, 0, 0, 1] = value, -value
    with pytest.raises(ValueError, match="crop 0 of 1"):
        restorer.restore(opposite)


def test_finite_values_whose_sum_overflows_are_accepted() -> None:
    crops = torch.full((1, 8, 8, 3), 1e38)
    result = TorchRestorer(Constant(0.0), GPENConfig(8, 8, (4, 4))).restore(crops)
    assert torch.equal(result, torch.full((1, 8, 8, 3), 0.5))


def test_a_bad_crop_is_not_blamed_on_the_precision(path: Path) -> None:
    crops = torch.rand(1, 64, 64, 3)
    crops[0, 0, 0, 0] = float("nan")
    told: list[str] = []
    with pytest.raises(ValueError, match="NaN or infinite"):
        load_gpen(path, dtype=torch.float16).restore(crops, on_notice=lambda kind, values: told.append(kind))
    assert not told
