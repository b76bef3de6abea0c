"""Paste ten 2048 px faces into 400 px squares of a 4K frame, on the CPU: ``python benchmarks/paste.py``.

*Full frames* is what most tools do, in plain OpenCV: each face and a white square are warped over the whole frame, the
square is eroded twice and blurred in proportion to the face, and the whole frame is blended in float32. The contenders
run in turns in one process, each on all given cores. Results: README.md.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from pack import pack

FRAME = (2160, 3840)
FACE, PLACE, COUNT = 2048, 400, 10


def scene(count: int) -> tuple[torch.Tensor, Any, torch.Tensor]:
    """A frame [1,H,W,3], ``count`` faces rotated by up to 20 degrees at uneven positions, their pictures [M,S,S,3]."""
    faces_module, alignment = pack("faces"), pack("faces.geometry.alignment")
    template = faces_module.TEMPLATES["gpen"]
    generator = torch.Generator().manual_seed(0)
    frame = torch.rand(1, *FRAME, 3, generator=generator)
    landmarks = []
    for k in range(count):
        angle = math.radians(-20 + 40 * k / max(1, count - 1))
        turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        centre = torch.tensor([[420.3 + 750 * (k % 5)], [550.7 + 1000 * (k // 5)]])
        matrix = torch.cat((turn * PLACE, centre - turn.sum(1, keepdim=True) * PLACE / 2), 1).double()
        landmarks.append(alignment.apply_affine(matrix, template))
    faces = faces_module.Faces.from_landmarks(torch.stack(landmarks), [0] * count, FRAME, frame_count=1)
    restored = torch.rand(count, FACE, FACE, 3, generator=generator)
    return frame, faces, restored


def full_frames(frame: np.ndarray, matrices: np.ndarray, restored: np.ndarray) -> np.ndarray:
    """The baseline: each step over the whole frame, per face.

    Args:
        frame: (H,W,3) float32; matrices: (M,2,3), unit square to frame; restored: (M,S,S,3) float32.
    """
    height, width = frame.shape[:2]
    for matrix, face in zip(matrices, restored, strict=True):
        forward = matrix.copy()
        forward[:, :2] /= len(face)
        warped = cv2.warpAffine(face, forward, (width, height))
        square = cv2.warpAffine(np.ones(face.shape[:2], np.float32), forward, (width, height))
        square = cv2.erode(square, np.ones((2, 2), np.uint8))
        edge = int(square.sum() ** 0.5) // 20  # 5 % of the face
        centre = cv2.erode(square, np.ones((2 * edge, 2 * edge), np.uint8))
        soft = cv2.GaussianBlur(centre, (2 * edge + 1, 2 * edge + 1), 0)[:, :, None]
        frame = soft * (square[:, :, None] * warped) + (1 - soft) * frame
    return frame


def contenders(count: int) -> dict[str, Callable[[], Any]]:
    """The contenders: each pastes all faces into a new copy of the frame, except the last, which works in place."""
    frame, faces, restored = scene(count)
    paste = pack("faces")
    matrices, arrays = faces.matrices.numpy(), restored.numpy()
    kept, kept_mask = frame[0].clone(), torch.zeros(FRAME)
    return {
        "full frames": lambda: full_frames(frame[0].numpy(), matrices, arrays),
        "paste_faces": lambda: paste.paste_faces(frame, faces, restored),
        "paste_into, in place": lambda: paste.paste_into(kept, kept_mask, faces, restored),
    }


def around_one_face() -> dict[str, Callable[[], Any]]:
    """Detection, crop and paste of one face in the same frame, without the network."""
    frame, faces, restored = scene(1)
    paste, detectors = pack("faces"), pack("detectors")
    detector = detectors.load_detector("builtin")
    return {
        "detect (built in)": lambda: detectors.detect_faces(frame, detector),
        "crop to 2048": lambda: paste.crop_faces(frame, faces, FACE),
        "paste": lambda: paste.paste_faces(frame, faces, restored),
    }


def measure(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Wall clock and processor time in seconds, the contenders in turns after one warm-up each."""
    found: dict[str, dict[str, list[float]]] = {name: {"wall": [], "cpu": []} for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            start, cpu = time.perf_counter(), time.process_time()
            result = call()
            wall, cpu = time.perf_counter() - start, time.process_time() - cpu
            del result
            if turn:
                found[name]["wall"].append(wall)
                found[name]["cpu"].append(cpu)
    return found


def print_table(found: dict[str, dict[str, list[float]]], reference: str | None) -> None:
    """Print the figures as Markdown, with the speed-up over ``reference`` by both clocks."""
    print("| contender | median | fastest-slowest | processor time | times faster | by processor time |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, clocks in found.items():
        wall, cpu = (statistics.median(clocks[clock]) for clock in ("wall", "cpu"))
        ratios = (
            f"{statistics.median(found[reference][clock]) / own:.1f}" if reference else "-"
            for clock, own in (("wall", wall), ("cpu", cpu))
        )
        spread = f"{min(clocks['wall']) * 1e3:.0f}-{max(clocks['wall']) * 1e3:.0f} ms"
        print(f"| {name} | {wall * 1e3:.0f} ms | {spread} | {cpu * 1e3:.0f} ms | {' | '.join(ratios)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, help="cores per contender; all by default")
    parser.add_argument("--faces", type=int, default=COUNT)
    parser.add_argument("--around", action="store_true", help="also detection, crop and paste around one face")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
        cv2.setNumThreads(options.threads)
    report: dict[str, Any] = {"paste": measure(contenders(options.faces), options.rounds)}
    threads = torch.get_num_threads()
    print(f"{options.faces} faces, {FACE} px into {PLACE} px of {FRAME[1]}×{FRAME[0]}; {threads} threads\n")
    print_table(report["paste"], "full frames")
    if options.around:
        report["around one face"] = measure(around_one_face(), options.rounds)
        print()
        print_table(report["around one face"], None)
    if options.json:
        versions = {"torch": torch.__version__, "opencv": cv2.__version__, "python": platform.python_version()}
        report |= {"threads": torch.get_num_threads(), **versions}
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
