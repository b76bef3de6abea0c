"""Loading a 2048 px GPEN of 285 MB, compared to reading its file: ``python benchmarks/loading.py``. See README.md.

Each round starts one process per contender, one after the other. It reads the file into fresh memory, loads it for the
first time, and then reads and loads it in turns. The file is written here, with random weights, so it is in the page
cache. Another checkout of the pack can be measured next to this one: ``--beside ../before``.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import platform
import runpy
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
FORMATS = ("safetensors", "pth")


def timed(call: Callable[[], Any]) -> dict[str, float]:
    """Seconds of one call, wall clock and processor time; its result is freed outside the timing."""
    gc.collect()
    start, cpu = time.perf_counter(), time.process_time()
    result = call()
    seconds = {"wall": time.perf_counter() - start, "cpu": time.process_time() - cpu}
    del result
    return seconds


def worker(root: Path, path: Path, turns: int) -> dict[str, Any]:
    """Measure in this process: PyTorch and the pack are imported before; what a load imports itself is included."""
    runpy.run_path(str(ROOT / "load_pack.py"))["load_pack"](root=root)  # the other checkout may lack the file
    models = importlib.import_module("gpen_pack.models")

    def load() -> Any:
        restorer = models.load_gpen(path)
        assert restorer.module.declined is None, "expected the fast engine, which is what is measured"
        return restorer

    reads, loads = [timed(path.read_bytes)], [timed(load)]
    for _ in range(turns):
        reads.append(timed(path.read_bytes))
        loads.append(timed(load))
    return {"reads": reads, "loads": loads, "threads": torch.get_num_threads()}


def make_files(folder: Path) -> dict[str, Path]:
    """Write the same random weights in both formats, which puts them into the page cache."""
    from engine_worker import random_network
    from safetensors.torch import save_file

    with torch.no_grad():
        weights = random_network(2048).state_dict()
    paths = {name: folder / f"GPEN-BFR-2048.{name}" for name in FORMATS}
    save_file(dict(weights), paths["safetensors"])
    torch.save(weights, paths["pth"])
    return paths


def summary(runs: list[dict[str, Any]], clock: str) -> dict[str, dict[str, float]]:
    """Median, minimum and maximum over the processes; each ratio is that of a load and a reading of one process.

    The first load is compared to the first reading, since both touch fresh memory; the later ones to each other.
    """
    columns = ("reading", "load", "later reading", "later load", "×", "later ×")
    rows: dict[str, list[float]] = {name: [] for name in columns}
    for run in runs:
        (reading, *readings), (load, *loads) = ([row[clock] for row in run[kind]] for kind in ("reads", "loads"))
        later, again = statistics.median(readings), statistics.median(loads)
        for name, value in zip(rows, (reading, load, later, again, load / reading, again / later), strict=True):
            rows[name].append(value)
    return {
        name: {"median": statistics.median(found), "min": min(found), "max": max(found)} for name, found in rows.items()
    }


def print_table(found: dict[str, Any]) -> None:
    print("| contender | first reading | first load | later reading | later load | first × | later × |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, rows in found.items():
        cells = [
            f"{r['median']:.2f} ({r['min']:.2f}-{r['max']:.2f})"
            if "×" in key
            else f"{r['median'] * 1e3:.0f} ms ({r['min'] * 1e3:.0f}-{r['max'] * 1e3:.0f})"
            for key, r in rows.items()
        ]
        print(f"| {name} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beside", type=Path, action="append", default=[], help="another checkout of the pack")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--turns", type=int, default=3, help="later loads in each process")
    parser.add_argument("--format", choices=FORMATS, action="append", help="file formats; both by default")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worker", nargs=2, type=Path, metavar=("ROOT", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        root, path = options.worker
        print(json.dumps(worker(root, path, options.turns)))
        return
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = make_files(Path(folder))
        contenders = [
            (f"{name}, .{kind}", root, paths[kind])
            for kind in options.format or FORMATS
            for name, root in [*((str(root), root) for root in options.beside), ("this checkout", ROOT)]
        ]
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name, _, _ in contenders}
        for _ in range(options.rounds):
            for name, root, path in contenders:
                command = [sys.executable, __file__, "--turns", str(options.turns), "--worker", str(root), str(path)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                runs[name].append(json.loads(done.stdout))
        size = paths["safetensors"].stat().st_size
    for name, found in runs.items():
        results[name] = summary(found, options.clock)
    print(f"{size:,} bytes, {options.rounds} processes each, {options.clock} clock, median (fastest-slowest)\n")
    print_table(results)
    if options.json:
        machine = {"torch": torch.__version__, "python": platform.python_version(), "cpu": platform.processor()}
        report = {"bytes": size, "clock": options.clock, **machine, "summary": results, "runs": runs}
        options.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
