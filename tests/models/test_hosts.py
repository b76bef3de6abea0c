"""Settings of the host, its inference mode and its threads change nothing in a restorer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from gpen_pack.models import load_gpen
from gpen_pack.tests.models.stand_ins import write_tiny


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("models"))


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def default_device(device: str) -> Iterator[None]:
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float16], ids=["fp32", "bf16", "fp16"])
@pytest.mark.parametrize(
    "setting",
    [
        lambda: default_dtype(torch.float64),
        lambda: default_dtype(torch.float16),
        lambda: default_device("meta"),
        lambda: torch.autocast("cpu", torch.bfloat16),
    ],
    ids=["default dtype float64", "default dtype float16", "default device", "autocast"],
)
def test_settings_of_the_host_change_nothing(
    path: Path, setting: Callable[[], AbstractContextManager[Any]], dtype: torch.dtype | None
) -> None:
    restorer = load_gpen(path, dtype=dtype)
    crops = torch.rand(1, 90, 80, 3)
    expected = restorer.restore(crops)
    with setting():
        result = restorer.restore(crops)
    assert result.dtype == torch.float32
    assert torch.equal(result, expected)


def test_inference_mode_leaves_no_trace(path: Path) -> None:
    crops = torch.rand(1, 64, 64, 3)
    with torch.inference_mode():
        restorer = load_gpen(path)
        inside = restorer.restore(crops)
    assert not any(t.is_inference() for t in restorer.module.state_dict().values())
    outside = restorer.restore(crops)
    assert torch.equal(outside, inside)
    assert not outside.is_inference()
    outside.add_(1)  # an inference tensor, or one that remembers gradients, would refuse
    results: list[torch.Tensor] = []
    thread = threading.Thread(target=lambda: results.append(restorer.restore(crops)))
    thread.start()
    thread.join()
    assert torch.equal(results[0], inside)


def test_two_threads_at_once(path: Path) -> None:
    restorer = load_gpen(path)
    crops = [torch.rand(1, 64, 64, 3) for _ in range(4)]
    expected = [restorer.restore(c) for c in crops]
    results: dict[int, torch.Tensor] = {}

    def work(index: int) -> None:
        for _ in range(3):
            results[index] = restorer.restore(crops[index])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.allclose(results[i], expected[i], atol=1e-6) for i in range(4))
