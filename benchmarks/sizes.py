"""One face per model size on the CPU, with memory and file size: ``python benchmarks/sizes.py``. See README.md.

Each size has a process of its own and is loaded and run as every caller does it, through ``load_gpen`` and
``restorer.restore``, in float32. The weights are random in the published shapes, except those of the built-in model.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from engine_worker import random_network
from pack import pack
from peak import peak_bytes

MODELS = ("built in", "GPEN-BFR-256", "GPEN-BFR-512", "GPEN-BFR-1024", "GPEN-BFR-2048")


def write_weights(name: str, folder: Path) -> str:
    """Write random weights in the shapes of a published file; returns its path, or "builtin"."""
    if name == "built in":
        return "builtin"
    size = int(name.rsplit("-", 1)[1])
    # the published 256 px model is narrower than the others
    widths = {"narrow": 0.5, "channel_multiplier": 1} if size == 256 else {}
    with torch.no_grad():
        net = random_network(size, pack("gpen_arch").GPENConfig.standard(size, **widths))
    path = folder / f"{name}.pth"
    torch.save(net.state_dict(), path)
    return str(path)


def worker(source: str, rounds: int) -> dict[str, Any]:
    """Load one model and restore one face several times: seconds of each, and this process' peak memory in MB."""
    models = pack("models")
    start = time.perf_counter()
    restorer = models.load_gpen(source)
    load = time.perf_counter() - start
    side = restorer.config.in_size
    crop = torch.rand(1, side, side, 3, generator=torch.Generator().manual_seed(0))
    wall, cpu = [], []
    for _ in range(rounds + 1):
        begin, begin_cpu = time.perf_counter(), time.process_time()
        restorer.restore(crop)
        wall.append(time.perf_counter() - begin)
        cpu.append(time.process_time() - begin_cpu)
    file = models.BUILTIN_PATH if source == "builtin" else Path(source)
    return {
        "bytes": file.stat().st_size, "load_s": load, "wall_s": wall[1:], "cpu_s": cpu[1:],
        "peak_mb": peak_bytes() / 2**20, "threads": torch.get_num_threads(),
    }  # fmt: skip


def main() -> None:
    """Measure each model in turn and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--rounds", type=int, default=5, help="faces after the first one, which is not counted")
    parser.add_argument("--json", type=Path, help="write every figure and the versions to this file")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(worker(options.worker, options.rounds)))
        return
    rows: dict[str, Any] = {}
    print("| model | file | wall clock | processor time | peak of the process |")
    print("| --- | --- | --- | --- | --- |")
    for name in options.models:
        with tempfile.TemporaryDirectory() as folder:
            source = write_weights(name, Path(folder))
            command = [sys.executable, str(Path(__file__).resolve()), "--rounds", str(options.rounds)]
            done = subprocess.run([*command, "--worker", source], capture_output=True, text=True, check=True)
        row = rows[name] = json.loads(done.stdout.splitlines()[-1])
        wall, cpu = (statistics.median(row[key]) for key in ("wall_s", "cpu_s"))
        print(
            f"| {name} | {row['bytes'] / 1e6:.0f} MB | {wall:.2f} s | {cpu:.2f} s | {row['peak_mb'] / 1e3:.2f} GB |",
            flush=True,
        )
    if options.json:
        versions = {"torch": torch.__version__, "python": platform.python_version(), "machine": platform.machine()}
        options.json.write_text(json.dumps({"rows": rows, **versions}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
