"""Out of memory: fewer faces, narrower numbers, the CPU, advice, and every step in the report."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from gpen_pack.restoration import FallbackStep, OutOfMemoryError, is_out_of_memory, restore_crops
from gpen_pack.restoration.callbacks import CancelWatch
from gpen_pack.restoration.running.fallback import MemoryFallback


class Narrow:
    """A restorer that runs out of memory above a number of faces at once."""

    module = torch.nn.Identity()
    path = None
    template = "gpen"
    warnings = ()
    dtype = torch.float32
    device = torch.device("cpu")

    class config:
        in_size = out_size = 32

    def __init__(self, fits: int, name: str = "wide", batch_size: int = 8, **other: Any) -> None:
        self.__dict__.update(other)
        self.fits, self.name, self.batch_size = fits, name, batch_size
        self.provider = f"test {name}"
        self.calls: list[int] = []

    def restore(self, crops: torch.Tensor, check_cancel: Any = None) -> torch.Tensor:
        self.calls.append(len(crops))
        if len(crops) > self.fits:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB")
        return torch.full((len(crops), 32, 32, 3), crops.mean().item())


def crops(count: int) -> torch.Tensor:
    return torch.rand(count, 16, 16, 3)


def test_a_smaller_batch_is_tried_first_and_kept() -> None:
    restorer, asked = Narrow(fits=2), []
    done = restore_crops(crops(12), restorer, fidelity=0.0, free_memory=asked.append)  # type: ignore[arg-type]
    assert restorer.calls == [8, 4, 2, 2, 2, 2, 2, 2]
    assert done.restored.shape[0] == 12 and done.restored.flatten(1).any(1).all(), "a face came back unrestored"
    told = [warning for warning in done.report.warnings if "out of memory" in warning]
    assert ["4 at once" in told[0], "2 at once" in told[1], len(told)] == [True, True, 2]
    assert len(asked) == 3 and asked[0] > asked[1], "the host is asked for room again after every step"
    assert restorer.batch_size == 8, "the next run starts at the top again"


def test_then_precision_then_cpu() -> None:
    wide, bf16, cpu = Narrow(0), Narrow(0, "bf16"), Narrow(1, "cpu")
    rungs = [FallbackStep("in bf16", lambda: bf16), FallbackStep("on the CPU", lambda: cpu)]  # type: ignore[arg-type,return-value]
    done = restore_crops(crops(3), wide, fallbacks=rungs, fidelity=0.0)  # type: ignore[arg-type]
    assert wide.calls == [3, 1] and bf16.calls == [1] and cpu.calls == [1, 1, 1]
    text = done.report.text()
    assert "went on in bf16" in text and "went on on the CPU" in text
    assert done.report.to_dict()["model"]["provider"] == "test cpu", "the report names what really ran"


class Large:
    in_size, out_size = 32, 2048


GPU, HALF = torch.device("xpu"), torch.bfloat16
BF16, SMALLER, CPU, UNLOAD = "precision bf16", "smaller model", "cpu_fallback", "unloading other models"


@pytest.mark.parametrize(
    ("tried", "offered"),
    [
        ([{"device": GPU, "config": Large}], {BF16, SMALLER, CPU, UNLOAD}),
        ([{"device": GPU}], {BF16, CPU, UNLOAD}),
        ([{"device": GPU, "module": None, "config": Large}], {SMALLER, CPU, UNLOAD}),
        ([{"device": GPU, "dtype": HALF, "config": Large}], {SMALLER, CPU, UNLOAD}),
        ([{"device": GPU}, {"device": GPU, "dtype": HALF}], {CPU, UNLOAD}),
        ([{"device": GPU}, {}], {BF16, UNLOAD}),
        ([{"device": GPU}, {"device": GPU, "dtype": HALF}, {}], {UNLOAD}),
        ([{"config": Large}], {SMALLER, UNLOAD}),
        ([{}], {UNLOAD}),
    ],
)
def test_the_floor_raises_with_advice_that_was_not_followed_yet(tried: list[dict[str, Any]], offered: set[str]) -> None:
    restorers = [Narrow(0, **how) for how in tried]
    rungs = [FallbackStep("otherwise", lambda restorer=restorer: restorer) for restorer in restorers[1:]]  # type: ignore[misc]
    with pytest.raises(OutOfMemoryError, match=r"out of memory with one face of \d+ px") as caught:
        restore_crops(crops(1), restorers[0], fallbacks=rungs)  # type: ignore[arg-type]
    sentence = str(caught.value)
    assert {way for way in (BF16, SMALLER, CPU, UNLOAD) if way in sentence.split("To go on")[1]} == offered


def test_rungs_are_not_built_before_they_are_needed() -> None:
    def never() -> Any:
        raise AssertionError("built without need")

    assert len(restore_crops(crops(2), Narrow(8), fallbacks=[FallbackStep("x", never)]).restored) == 2  # type: ignore[arg-type]


def test_other_errors_pass() -> None:
    class Broken(Narrow):
        def restore(self, crops: torch.Tensor, check_cancel: Any = None) -> torch.Tensor:
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        MemoryFallback(Broken(1)).restore(crops(2), lambda kind, values: None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), True),
        (RuntimeError("BFCArena: Failed to allocate memory for requested buffer of size 512"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (
            RuntimeError(
                "Could not allocate tensor with 16777216 bytes. There is not enough GPU video memory available!"
            ),
            True,
        ),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), False),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (ValueError("shape"), False),
    ],
)
def test_what_counts_as_out_of_memory(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def out_of_memory(needed: int = 0) -> None:
    raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB")


def test_a_card_too_full_to_load_the_network_reaches_the_cpu() -> None:
    wide, bf16, cpu = Narrow(8), Narrow(8, "bf16"), Narrow(8, "cpu")
    steps = [
        FallbackStep("in bf16", lambda: bf16, free_memory=out_of_memory),  # type: ignore[arg-type,return-value]
        FallbackStep("on the CPU", lambda: cpu),  # type: ignore[arg-type,return-value]
    ]
    done = restore_crops(crops(2), wide, fidelity=0.0, free_memory=out_of_memory, fallbacks=steps)  # type: ignore[arg-type]
    assert (wide.calls, bf16.calls, cpu.calls) == ([], [], [1, 1])
    assert done.report.to_dict()["model"]["provider"] == "test cpu"
    text = done.report.text()
    assert "went on 1 at once" in text and "went on in bf16" in text and "went on on the CPU" in text


def test_a_next_way_that_cannot_be_built_for_lack_of_memory_is_passed_over() -> None:
    cpu = Narrow(8, "cpu")
    steps = [FallbackStep("in bf16", out_of_memory), FallbackStep("on the CPU", lambda: cpu)]  # type: ignore[arg-type,return-value]
    done = restore_crops(crops(1), Narrow(0), fidelity=0.0, fallbacks=steps)  # type: ignore[arg-type]
    assert cpu.calls == [1] and "in bf16 failed (CUDA out of memory" in done.report.text()
    with pytest.raises(OutOfMemoryError, match="in bf16: CUDA out of memory"):
        restore_crops(crops(1), Narrow(0), fallbacks=[FallbackStep("in bf16", out_of_memory)])  # type: ignore[arg-type]


class NoBf16(Narrow):
    def restore(self, crops: torch.Tensor, check_cancel: Any = None) -> torch.Tensor:
        raise RuntimeError("conv2d is not implemented for BFloat16")


def test_what_was_no_lack_of_memory_in_a_later_way_is_told() -> None:
    cpu = Narrow(8, "cpu")
    steps = [FallbackStep("in bf16", lambda: NoBf16(8)), FallbackStep("on the CPU", lambda: cpu)]  # type: ignore[arg-type,return-value]
    done = restore_crops(crops(1), Narrow(0), fidelity=0.0, fallbacks=steps)  # type: ignore[arg-type]
    assert cpu.calls == [1]
    assert "in bf16 failed (conv2d is not implemented for BFloat16)" in done.report.text()
    with pytest.raises(RuntimeError, match=r"not implemented for BFloat16 \(before that, out of memory: test wide"):
        restore_crops(crops(1), Narrow(0), fallbacks=steps[:1])  # type: ignore[arg-type]


@pytest.mark.parametrize("where", ["load", "build", "run"])
def test_a_cancel_is_no_failed_way(where: str) -> None:
    """Old versions of ComfyUI raise an ordinary exception."""

    class Cancelled(RuntimeError):
        pass

    asked = False

    def check() -> None:
        if asked:
            raise Cancelled

    class Asks(Narrow):
        def restore(self, crops: torch.Tensor, check_cancel: Any = None) -> torch.Tensor:
            nonlocal asked
            asked = True
            check_cancel()
            return crops

    watch = CancelWatch(check)

    def host(needed: int) -> None:
        nonlocal asked
        asked = True
        watch()

    def build() -> Any:
        host(0)

    step = {
        "load": FallbackStep("in bf16", lambda: Narrow(8), free_memory=host),  # type: ignore[arg-type,return-value]
        "build": FallbackStep("in bf16", build),
        "run": FallbackStep("in bf16", lambda: Asks(8)),  # type: ignore[arg-type,return-value]
    }[where]
    never = FallbackStep("on the CPU", lambda: pytest.fail("went on after a cancel"))
    fallback = MemoryFallback(Narrow(0), steps=[step, never], check_cancel=watch)  # type: ignore[arg-type]
    with pytest.raises(Cancelled):
        fallback.restore(crops(1), lambda kind, values: None)
