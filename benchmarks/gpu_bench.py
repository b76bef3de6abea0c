"""The tools of ``gpu.py``: rows, a clock that synchronises, peak memory, checks against a tolerance."""

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
from engine_worker import random_network
from pack import pack


class Bench:
    """The rows of one run and the device they are measured on."""

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
            self.row(name, note="not measured: the time ran out")
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
        except torch.cuda.OutOfMemoryError as error:
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
        """Add the relative error of ``result`` as a row; above ``tolerance`` the run fails at its end."""
        error = float((result.double() - expected.double()).norm() / expected.double().norm())
        if not error <= tolerance:  # NaN too
            self.failures.append(f"{name}: relative error {error:.1e}, tolerance {tolerance:.0e}")
        self.row(name, relative_error=error, tolerance=tolerance)

    def row(self, name: str, **values: Any) -> None:
        """Add and print a row; the file is written each time, so that it survives a crash of a later row."""
        self.rows.append({"what": name, **values})
        shown = ", ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items())
        print(f"{name}: {shown}", flush=True)
        if self.json_path:
            found: dict[str, Any] = {"size": self.size, "narrow": self.narrow, "device": self.device_name()}
            found |= {"versions": versions(), "rows": self.rows}
            self.json_path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")

    def figure(self, name: str, key: str) -> float | None:
        """One figure of a row; None if it was not measured."""
        return next((row[key] for row in self.rows if row["what"] == name and key in row), None)

    def bar(self, name: str, reached: float | None, most: float | None = None, least: float | None = None) -> None:
        """Add a bar as a row: the figure asked for, the figure reached, whether it is met."""
        asked = f"at most {most:g}" if most is not None else f"at least {least:g}"
        if reached is None:
            self.row(f"BAR {name}", asked=asked, reached="not measured")
            return
        met = (most is None or reached <= most) and (least is None or reached >= least)
        self.row(f"BAR {name}", asked=asked, reached=reached, met=met)

    def device_name(self) -> str:
        """The driver's name of the device."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type

    def network(self) -> Any:
        """The reference with random weights, the same in every call."""
        config = pack("gpen_arch").GPENConfig.standard(self.size, narrow=self.narrow)
        return random_network(self.size, config)

    def free(self) -> None:
        """Empty the cache, so that the next contender is measured alone."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


@contextlib.contextmanager
def without_tf32() -> Iterator[None]:
    """Run the reference in true float32; the engine decides for itself whether it uses TF32."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def versions() -> dict[str, str]:
    """The versions that the figures belong to."""
    cudnn = torch.backends.cudnn.version() if torch.backends.cudnn.is_available() else None
    return {
        "python": platform.python_version(), "torch": torch.__version__, "cuda": str(torch.version.cuda),
        "cudnn": str(cudnn),
    }  # fmt: skip
