"""What ``gpu.py`` measures with: rows, a clock that synchronises, peaks of memory, checks against a tolerance."""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from engine_worker import pack, random_network


class Bench:
    """Rows, the clock, and where they are measured."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.device = torch.device(options.device)
        self.size: int = options.size
        self.narrow: float = options.narrow
        self.deadline = time.monotonic() + options.seconds
        self.json_path: Path | None = options.json
        self.rows: list[dict[str, Any]] = []
        self.failures: list[str] = []

    def time(self, name: str, call: Callable[[], Any], *, faces: int = 1, repeats: int = 20) -> float | None:
        """Median seconds of ``call``, warmed up and synchronised, and the peak of GPU memory over it."""
        if time.monotonic() > self.deadline:
            self.row(name, note="not measured: the time was up")
            return None
        try:
            for _ in range(3):
                call()
            self._synchronise()
            if self.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(self.device)
            seconds = []
            for _ in range(repeats):
                start = time.perf_counter()
                call()
                self._synchronise()
                seconds.append(time.perf_counter() - start)
        except torch.OutOfMemoryError as error:
            self.row(name, note=f"not measured: {error}".splitlines()[0])
            return None
        median = statistics.median(seconds)
        row: dict[str, Any] = {"median_ms": median * 1e3, "least_ms": min(seconds) * 1e3, "most_ms": max(seconds) * 1e3}
        row["faces_per_s"] = faces / median
        if self.device.type == "cuda":
            row["allocated_gb"] = torch.cuda.max_memory_allocated(self.device) / 1e9
            row["reserved_gb"] = torch.cuda.max_memory_reserved(self.device) / 1e9
        self.row(name, **row)
        return median

    def check(self, name: str, result: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
        """Relative error of ``result``; beyond ``tolerance`` the run fails in the end."""
        error = float((result.double() - expected.double()).norm() / expected.double().norm())
        if not error <= tolerance:  # NaN too
            self.failures.append(f"{name}: relative error {error:.1e}, tolerance {tolerance:.0e}")
        self.row(name, relative_error=error, tolerance=tolerance)

    def row(self, name: str, **values: Any) -> None:
        """Keep and show a row; what is written survives a crash of a later one."""
        self.rows.append({"what": name, **values})
        shown = ", ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items())
        print(f"{name}: {shown}", flush=True)
        if self.json_path:
            found: dict[str, Any] = {"size": self.size, "narrow": self.narrow, "device": self.device_name()}
            found |= {"versions": versions(), "rows": self.rows}
            self.json_path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")

    def figure(self, name: str, key: str) -> float | None:
        """One figure of a row; None where it was not measured."""
        return next((row[key] for row in self.rows if row["what"] == name and key in row), None)

    def bar(self, name: str, reached: float | None, most: float | None = None, least: float | None = None) -> None:
        """A row of the issue's table: what was asked, what was reached, whether that is enough."""
        asked = f"at most {most:g}" if most is not None else f"at least {least:g}"
        if reached is None:
            self.row(f"BAR {name}", asked=asked, reached="not measured")
            return
        met = (most is None or reached <= most) and (least is None or reached >= least)
        self.row(f"BAR {name}", asked=asked, reached=reached, met=met)

    def device_name(self) -> str:
        """As the driver calls it."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type

    def network(self) -> Any:
        """The reference with random weights, the same at every call."""
        config = pack("gpen_arch").GPENConfig.standard(self.size, narrow=self.narrow)
        return random_network(self.size, config)

    def free(self) -> None:
        """Give the cache back, so that the next contender's memory is its own."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


@contextlib.contextmanager
def without_tf32() -> Iterator[None]:
    """Full float32 products, so that the tolerance is the engine's and not the hardware's short cut."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def versions() -> dict[str, str]:
    """What the figures belong to."""
    cudnn = torch.backends.cudnn.version() if torch.backends.cudnn.is_available() else None
    return {
        "python": platform.python_version(), "torch": torch.__version__, "cuda": str(torch.version.cuda),
        "cudnn": str(cudnn),
    }  # fmt: skip
