"""The command line alone, as two runs at once, and beside two busy processes: ``python benchmarks/busy.py``.

An OpenMP worker that waits spins by default, on cores that others need. The command line lets its workers sleep
(``cli/threads.py``). Both ways are measured in turns, each run as a process of its own on the same pictures: a folder
that is named, or sixteen copies of scikit-image's astronaut in eight sizes. The wall clock decides here.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# the second leaves everything at the libraries' defaults: Intel's own default, which the command line respects
POLICIES = {"passive": {}, "default": {"KMP_BLOCKTIME": "200"}}
SETTINGS = ("alone", "two runs at once", "beside two busy processes")
SLOWER_ALONE = 1.03  # passive over default, at most
SIDES = (256, 320, 384, 448, 512, 640, 768, 1024)


def make_pictures(folder: Path) -> None:
    """Sixteen portraits of 256 to 1024 px."""
    import numpy as np
    import skimage.data
    from PIL import Image

    photo = Image.fromarray(np.asarray(skimage.data.astronaut()))
    for i, side in enumerate(SIDES * 2):
        photo.resize((side, side)).save(folder / f"{i:02}.png")


def start(pictures: Path, out: Path, policy: str, model: str) -> subprocess.Popen[bytes]:
    """One run of ``restore``."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_", "KMP_"))}
    command = [sys.executable, str(ROOT), "restore", str(pictures), "-o", str(out), "--model", model, "--quiet"]
    return subprocess.Popen([*command, "--device", "cpu"], env=environment | POLICIES[policy])


def seconds_of(setting: str, pictures: Path, policy: str, model: str) -> float:
    """From the start of the runs to the end of the last."""
    busy = []
    if setting == "beside two busy processes":
        busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        with tempfile.TemporaryDirectory() as out:
            begun = time.perf_counter()
            runs = [start(pictures, Path(out, str(i)), policy, model) for i in range(2 if "two runs" in setting else 1)]
            codes = [run.wait() for run in runs]
            spent = time.perf_counter() - begun
    finally:
        for process in busy:
            process.kill()
            process.wait()
    if any(codes):
        raise SystemExit(f"a run ended with {codes}")
    return spent


def main() -> None:
    """Print a table and whether both bars were reached; ``--json`` keeps every figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, help="a folder (default: sixteen copies of a portrait)")
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    times: dict[str, dict[str, list[float]]] = {setting: {policy: [] for policy in POLICIES} for setting in SETTINGS}
    with tempfile.TemporaryDirectory() as made:
        pictures = args.pictures or Path(made)
        if args.pictures is None:
            make_pictures(pictures)
        seconds_of("alone", pictures, "passive", args.model)  # warm-up: the page cache
        for turn in range(args.rounds):
            for setting in SETTINGS:
                for policy in list(POLICIES)[:: 1 if turn % 2 else -1]:
                    times[setting][policy].append(seconds_of(setting, pictures, policy, args.model))
    print(f"{'':<28}" + "".join(f"{policy:>24}" for policy in POLICIES) + f"{'passive / default':>20}")
    ratios = {}
    for setting, by_policy in times.items():
        cells = [f"{statistics.median(t):.2f} s ({min(t):.2f}-{max(t):.2f})" for t in by_policy.values()]
        pairs = zip(by_policy["passive"], by_policy["default"], strict=True)
        ratios[setting] = statistics.median(passive / default for passive, default in pairs)
        print(f"{setting:<28}" + "".join(f"{cell:>24}" for cell in cells) + f"{ratios[setting]:>20.2f}")
    held = "reached" if ratios["alone"] <= SLOWER_ALONE else "missed"
    print(f"alone, passive is no slower than {SLOWER_ALONE:.2f} times the default: {held}")
    if args.json:
        versions = {name: version(name) for name in ("torch", "numpy", "opencv-python", "onnxruntime")}
        machine = {"cores": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version()}
        figures = {"seconds": times, "ratios": ratios, "load_before": os.getloadavg(), "machine": machine}
        args.json.write_text(json.dumps({**figures, "versions": versions}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
