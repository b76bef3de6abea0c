"""The network on the CPU: ``python benchmarks/engine.py``. See README.md for what is measured and how.

The contenders run in processes of their own and take turns, so that they meet the same load and each has its own
peak memory. Every round starts with the floor: how fast this machine multiplies matrices at that moment.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from engine_worker import CONTENDERS, export_onnx, random_network

WORKER = Path(__file__).with_name("engine_worker.py")


class Worker:
    """A contender in its own process."""

    def __init__(self, name: str, options: argparse.Namespace, weights: Path, result: Path) -> None:
        self.name = name
        self.rows: list[dict[str, Any]] = []
        command = [sys.executable, str(WORKER), name, "--size", str(options.size), "--threads", str(options.threads)]
        command += ["--weights", str(weights), "--result", str(result), "--clock", options.clock]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.result = result
        self.load_seconds = self._answer()["ready"]
        self.peak_mb = 0.0

    def run(self, *, warm_up: bool = False) -> dict[str, Any]:
        """Restore one face and record its row."""
        row = self._ask("run\n")
        if not warm_up:
            self.rows.append(row)
        return row

    def close(self) -> None:
        """End the process and read its peak memory."""
        self.peak_mb = self._ask("\n")["peak_mb"]
        self._process.communicate()

    def _ask(self, line: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(line)
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name}: the process ended with {self._process.wait()}; its error is above")
        return json.loads(line)


def convolution_gflop(size: int) -> float:
    """Multiplications and additions of all convolutions of the published shape, in billions."""
    from pack import pack

    config = pack("gpen_arch").GPENConfig.standard(size)
    levels = list(zip(config.levels, config.channels, strict=True))
    total = 2 * 3 * levels[-1][1] * size**2 + 18 * 2 * levels[0][1] ** 2 * 16 / 2
    for (_, below), (above, channels) in itertools.pairwise(levels):
        quarter = (above // 2) ** 2
        total += 18 * channels * below * quarter  # encoder, stride 2
        total += 18 * 2 * below * channels * quarter  # transposed
        total += 18 * 2 * channels**2 * above**2 + 2 * 3 * 2 * channels * above**2  # second one, RGB
    return total / 1e9


def measure(options: argparse.Namespace, folder: Path) -> tuple[list[Worker], list[dict[str, float]]]:
    """Build the weights, run the rounds, close everything."""
    net = random_network(options.size)
    weights, graph = folder / "gpen.pt", folder / "gpen.onnx"
    torch.save(net.state_dict(), weights)
    names = [name for name in CONTENDERS if name != "floor" and not name.startswith(tuple(options.without))]
    if "onnxruntime fp32" in names:
        export_onnx(net, graph)
    del net
    floor = Worker("floor", options, weights, folder / "floor")
    done: list[Worker] = []
    rates: list[dict[str, float]] = []
    # the reference runs apart from the others, as it takes much time and memory
    for group, rounds in ((names[:1], max(1, options.rounds // 3)), (names[1:], options.rounds)):
        workers = [
            Worker(name, options, graph if name.startswith("onnx") else weights, folder / name.replace(" ", "-"))
            for name in group
        ]
        for worker in workers:
            worker.run(warm_up=True)
        for _ in range(rounds):
            rates.append(floor.run()["rates"])
            for worker in workers:
                print(f"{worker.name}: {worker.run()}", file=sys.stderr, flush=True)
        for worker in workers:
            worker.close()
        done += workers
    floor.close()
    return done, rates


def report(workers: list[Worker], rates: list[dict[str, float]], options: argparse.Namespace) -> dict[str, Any]:
    """All figures as one JSON-ready dictionary."""
    gflop = convolution_gflop(options.size)
    expected = torch.load(workers[0].result, weights_only=True)
    best = {key: max(rate[key] for rate in rates) for key in rates[0]}
    rows = []
    for worker in workers:
        seconds = [row["seconds"] for row in worker.rows]
        precision = worker.name.split()[1]
        found = torch.load(worker.result, weights_only=True)
        row = {
            "contender": worker.name,
            "median_s": statistics.median(seconds),
            "least_s": min(seconds),
            "most_s": max(seconds),
            "peak_mb": worker.peak_mb,
            "load_s": worker.load_seconds,
            "relative_error": float((found - expected).norm() / expected.norm()),
        }
        for kind in ("matrix", "convolution"):
            row[f"times_{kind}_floor"] = row["least_s"] / (gflop / best[f"{precision} {kind}"])
        rows.append(row)
    versions = {"python": platform.python_version(), "torch": torch.__version__, "machine": platform.machine()}
    if importlib.util.find_spec("onnxruntime"):
        versions["onnxruntime"] = __import__("onnxruntime").__version__
    capability = torch.backends.cpu.get_cpu_capability()
    return {
        "size": options.size, "threads": options.threads, "clock": options.clock, "rounds": options.rounds,
        "gflop": gflop, "processor": capability, "versions": versions, "rates_gflops": best, "rows": rows,
    }  # fmt: skip


def table(found: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = [
        "| contender | median | fastest – slowest | × matrix floor | × convolution floor | peak | relative error |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in found["rows"]:
        lines.append(
            f"| {r['contender']} | {r['median_s']:.2f} s | {r['least_s']:.2f} – {r['most_s']:.2f} s | "
            f"{r['times_matrix_floor']:.2f} | {r['times_convolution_floor']:.2f} | {r['peak_mb'] / 1000:.2f} GB | "
            f"{r['relative_error']:.0e} |"
        )
    rates = ", ".join(f"{key} {value:.0f}" for key, value in found["rates_gflops"].items())
    return "\n".join([*lines, "", f"{found['gflop']:.0f} GFLOP; GFLOP/s of this machine: {rates}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2048, help="of the published shapes: 256 to 2048 (default 2048)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--clock", choices=("wall", "cpu"), default="wall",
        help="cpu: processor time, with --threads 1 on a machine that has other work to do",
    )  # fmt: skip
    parser.add_argument("--without", nargs="*", default=[], help="contenders to leave out, by their first word")
    parser.add_argument("--json", type=Path, help="where to write all figures")
    options = parser.parse_args()
    if "reference" in options.without:
        parser.error("the reference cannot be left out: the errors of the others are measured against it")
    with tempfile.TemporaryDirectory() as folder:
        found = report(*measure(options, Path(folder)), options)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(table(found))


if __name__ == "__main__":
    main()
