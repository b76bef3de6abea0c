"""benchmarks/gpu.py runs from end to end on the CPU, so that it is not broken when a GPU is at hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_it_runs_at_a_small_size_on_the_cpu(root: Path, tmp_path: Path) -> None:
    """Without time for repetitions: checks, set-up and every row, but no timing."""
    options = [
        "--device",
        "cpu",
        "--size",
        "64",
        "--narrow",
        "0.1",
        "--seconds",
        "0",
        "--json",
        str(tmp_path / "g.json"),
    ]
    done = subprocess.run(
        [sys.executable, str(root / "benchmarks" / "gpu.py"), *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rows = {row["what"]: row for row in json.loads((tmp_path / "g.json").read_text())["rows"]}
    for precision in ("fp32", "tf32", "bf16", "fp16"):
        assert rows[f"64 px {precision}"]["relative_error"] <= rows[f"64 px {precision}"]["tolerance"]
        assert "time ran out" in rows[f"fast {precision}"]["note"]
    assert rows["frames stay on the device"]["met"]
