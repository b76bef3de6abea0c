"""Peak memory of Restore Image over batches of 1080p frames: ``python benchmarks/batch_memory.py``. See README.md.

Each length has a process of its own. The detector is told where the one face of a frame is: a real one works per frame
anyway and would take most of the run. The rest is what the node runs.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pack import pack
from peak import peak_bytes

HEIGHT, WIDTH, FACE = 1080, 1920, 400


def worker(frames: int) -> dict[str, Any]:
    """Restore one batch; returns the peak of this process and the bytes of the batch, the result and its mask."""
    faces, detectors, restoration = pack("faces"), pack("detectors"), pack("restoration")
    restorer = pack("models").load_gpen("builtin")

    class Told:
        """A detector that returns one moving face per frame."""

        name = provider = "told"

        def __init__(self) -> None:
            self.frame = 0

        def detect(self, image: np.ndarray, threshold: float) -> Any:
            x, y = 100 + self.frame * 7 % 1300, 50 + self.frame * 3 % 600
            self.frame += 1
            points = faces.TEMPLATES["gpen"].numpy() * FACE + (x, y)
            box = np.array([[x, y, x + FACE, y + FACE]], np.float64)
            return detectors.Detections(box, points[None], np.array([0.9]))

    image = torch.empty(frames, HEIGHT, WIDTH, 3)
    one = torch.rand(HEIGHT, WIDTH, 3, generator=torch.Generator().manual_seed(0))
    for index in range(frames):
        image[index] = one
    before = peak_bytes()
    start = time.perf_counter()
    with torch.inference_mode():  # as ComfyUI runs nodes
        done = restoration.restore_image(image, restorer, Told())
    seconds = time.perf_counter() - start
    assert done.report.faces_restored == frames, "expected one restored face per frame"
    assert all(bool(done.mask[index].any()) for index in range(frames))
    assert torch.equal(done.image[-1][done.mask[-1] == 0], image[-1][done.mask[-1] == 0])
    tensors = {"input": image, "output": done.image, "mask": done.mask}
    sizes = {name: tensor.nbytes for name, tensor in tensors.items()}
    return {"frames": frames, "peak": peak_bytes(), "before": before, "seconds": seconds, **sizes}


def main() -> None:
    """Measure each length in turn and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--frames", type=int, nargs="+", default=[1, 30, 100, 300])
    parser.add_argument("--json", type=Path, help="write every figure and the versions to this file")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is not None:
        print(json.dumps(worker(options.worker)))
        return
    rows = []
    for frames in options.frames:
        command = [sys.executable, str(Path(__file__).resolve()), "--worker", str(frames)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        row = json.loads(done.stdout.splitlines()[-1])
        row["rest"] = row["peak"] - row["input"] - row["output"] - row["mask"]
        rows.append(row)
        print(
            f"{frames:4d} frames: input {row['input'] / 1e9:.2f} GB, output {row['output'] / 1e9:.2f} GB, "
            f"mask {row['mask'] / 1e9:.2f} GB, peak {row['peak'] / 1e9:.2f} GB, rest {row['rest'] / 1e9:.2f} GB, "
            f"{row['seconds']:.0f} s",
            flush=True,
        )
    if options.json:
        versions = {"python": platform.python_version(), "torch": torch.__version__, "machine": platform.machine()}
        options.json.write_text(json.dumps({"rows": rows, **versions}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
