"""Loading a 2048 px GPEN of 285 MB, compared to reading its file: ``python benchmarks/loading.py``. See README.md.

Every round starts a process per contender, one after the other. It loads the file for the first time, of which the
peak of resident memory is noted, reads it into fresh memory, and then reads and loads it in turns. The file is made
here, of random weights, and lies in the page cache. Another checkout of the pack can run beside this one:
``--beside ../before``.
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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from peak import peak_bytes

ROOT = Path(__file__).resolve().parents[1]
FORMATS = ("safetensors", "pth", "onnx")


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

    before = peak_bytes()
    loads = [timed(load)]
    memory = peak_bytes() - before  # before a reading has filled as much
    reads = [timed(path.read_bytes)]
    for _ in range(turns):
        reads.append(timed(path.read_bytes))
        loads.append(timed(load))
    return {"reads": reads, "loads": loads, "memory": memory, "threads": torch.get_num_threads()}


def make_files(folder: Path, formats: Sequence[str]) -> dict[str, Path]:
    """The same random weights in every format; written, so in the page cache."""
    from engine_worker import export_onnx, random_network
    from safetensors.torch import save_file

    with torch.no_grad():
        net = random_network(2048)
        weights = net.state_dict()
        paths = {name: folder / f"GPEN-BFR-2048.{name}" for name in FORMATS}
        save_file(dict(weights), paths["safetensors"])
        torch.save(weights, paths["pth"])
        if "onnx" in formats:  # runs the network once: 10 GB of memory
            export_onnx(net, paths["onnx"])
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
    rows["memory"] = [run["memory"] / 2**20 for run in runs]
    return {
        name: {"median": statistics.median(found), "min": min(found), "max": max(found)} for name, found in rows.items()
    }


def print_table(found: dict[str, Any]) -> None:
    print("| contender | first reading | first load | later reading | later load | first × | later × | first peak |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    units = {"×": (1, ".2f", ""), "later ×": (1, ".2f", ""), "memory": (1, ".0f", " MB")}
    for name, rows in found.items():
        cells = []
        for key, r in rows.items():
            factor, form, unit = units.get(key, (1e3, ".0f", " ms"))
            low, middle, high = (format(r[which] * factor, form) for which in ("min", "median", "max"))
            cells.append(f"{middle}{unit} ({low}-{high})")
        print(f"| {name} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beside", type=Path, action="append", default=[], help="another checkout of the pack")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--turns", type=int, default=3, help="later loads in each process")
    parser.add_argument("--format", choices=FORMATS, action="append", help="which files; all but onnx by default")
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
        formats = options.format or FORMATS[:2]
        paths = make_files(Path(folder), formats)
        contenders = [
            (f"{name}, .{kind}", root, paths[kind])
            for kind in formats
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
