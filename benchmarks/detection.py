"""Speed and recall of face detection: ``python benchmarks/detection.py PORTRAITS PHOTOS --detectors FOLDER``.

PORTRAITS is a folder of one-face pictures with ``landmarks.json`` ({file: five points}), PHOTOS one of photos for the
speed of large pictures. Every portrait is shown plain, turned, cut, filling the frame, enlarged to 4000 px, and in
collages of small faces beside nothing or beside one large face; ``astray`` counts finds that are at no known face.
Speed is the median of wall clock and of process time over one 1080p frame with one 400 px face, and over each photo.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pack import pack
from PIL import Image

FRAME = (1080, 1920)
BOX = 1.15  # a face's box side is about this many times the distance from the eyes' middle to the mouth's, doubled


@dataclass
class Tally:
    """What was found of one kind of picture. ``errors``: mean distance of landmarks, in eye distances."""

    faces: int = 0
    found: int = 0
    astray: int = 0
    errors: list[float] = field(default_factory=list)

    def count(self, landmarks: np.ndarray, truth: np.ndarray) -> None:
        """landmarks (M, 5, 2) as found, truth (K, 5, 2)."""
        self.faces += len(truth)
        left = list(range(len(landmarks)))
        for points in truth:
            reach = 0.5 * np.linalg.norm(points[:2].mean(0) - points[3:].mean(0))
            near = [i for i in left if np.linalg.norm(landmarks[i].mean(0) - points.mean(0)) < reach]
            if near:
                best = min(near, key=lambda i: float(np.linalg.norm(landmarks[i] - points, axis=1).mean()))
                eyes = max(float(np.linalg.norm(points[1] - points[0])), 0.5 * float(reach))
                self.errors.append(float(np.linalg.norm(landmarks[best] - points, axis=1).mean()) / eyes)
                self.found += 1
                left.remove(best)
        self.astray += len(left)


def face_side(points: np.ndarray) -> float:
    """The side of a face's box, from its five points, in pixels."""
    return BOX * 2 * float(np.linalg.norm(points[:2].mean(0) - points[3:].mean(0)))


def turned(image: np.ndarray, points: np.ndarray, quarters: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture and its points after counter-clockwise quarter turns."""
    for _ in range(quarters):
        points = np.stack([points[:, 1], image.shape[1] - points[:, 0]], 1)
        image = np.rot90(image)
    return np.ascontiguousarray(image), points


def enlarged(image: np.ndarray, points: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """A picture and its points resized."""
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.array(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)), points * scale


def frame_with_face(image: np.ndarray, points: np.ndarray, side: float = 400.0) -> tuple[np.ndarray, np.ndarray]:
    """A 1080p frame with a face of that side on a soft background."""
    image, points = enlarged(image, points, side / face_side(points))
    ramp = np.linspace(90, 150, FRAME[1])[None, :, None] + np.linspace(-20, 20, FRAME[0])[:, None, None]
    frame = np.repeat(ramp, 3, 2).astype(np.uint8)
    height, width = min(image.shape[0], FRAME[0]), min(image.shape[1], FRAME[1])
    top, left = (FRAME[0] - height) // 2, (FRAME[1] - width) // 3
    frame[top : top + height, left : left + width] = image[:height, :width]
    return frame, points + np.array([left, top])


def collage(pictures: list[tuple[np.ndarray, np.ndarray]], side: float, large: bool) -> tuple[np.ndarray, np.ndarray]:
    """A 1080p frame full of faces of that side; with ``large``, a 400 px face covers a part of them."""
    frame, known = np.full((*FRAME, 3), 110, np.uint8), []
    keep_out = (0, 0)
    if large:
        frame, points = frame_with_face(*pictures[0])
        known.append(points)
        keep_out = (int(points[:, 0].min()) - 500, int(points[:, 0].max()) + 500)
    x = y = row = 0
    for image, points in pictures[1:] * 9:
        image, points = enlarged(image, points, side / face_side(points))
        height, width = image.shape[:2]
        if keep_out[0] < x + width and x < keep_out[1]:
            x = keep_out[1]
        if x + width > FRAME[1]:
            x, y, row = 0, y + row, 0
        if y + height > FRAME[0]:
            break
        if keep_out[0] < x + width and x < keep_out[1]:
            continue
        frame[y : y + height, x : x + width] = image
        known.append(points + np.array([x, y]))
        x, row = x + width, max(row, height)
    return frame, np.array(known)


def cases(image: np.ndarray, points: np.ndarray) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, picture, points of every way in which a portrait is shown."""
    yield "plain", image, points
    for quarters in (1, 2, 3):
        yield f"turned {90 * quarters}", *turned(image, points, quarters)
    side, centre = face_side(points), points.mean(0)
    left = max(0, int(centre[0] - 0.3 * side))  # a fifth of the face is missing
    yield "cut", np.ascontiguousarray(image[:, left:]), points - [left, 0]
    x0, y0 = (max(0, int(v)) for v in centre - 0.5 * side)
    x1, y1 = (int(v) for v in centre + 0.5 * side)
    yield "filling", np.ascontiguousarray(image[y0:y1, x0:x1]), points - [x0, y0]
    frame, large = frame_with_face(image, points)
    yield "1080p", frame, large
    small, few = enlarged(image, points, 28 / side)
    frame = frame.copy()
    frame[60 : 60 + small.shape[0], 1500 : 1500 + small.shape[1]] = small
    yield "400 px and 28 px", frame, np.stack([large, few + np.array([1500, 60])])


def tensor(image: np.ndarray) -> torch.Tensor:
    """(1, H, W, 3) float32 in [0, 1]."""
    return torch.from_numpy(image)[None].float() / 255


def timed(call: Any, repeats: int) -> dict[str, float]:
    """Median wall and process time in milliseconds, after one call to warm up."""
    call()
    wall, process = [], []
    for _ in range(repeats):
        a, b = time.perf_counter(), time.process_time()
        call()
        wall.append((time.perf_counter() - a) * 1e3)
        process.append((time.process_time() - b) * 1e3)
    return {"wall_ms": round(statistics.median(wall), 1), "process_ms": round(statistics.median(process), 1)}


def read(path: Path) -> np.ndarray:
    """(H, W, 3) uint8."""
    with Image.open(path) as image:
        return np.ascontiguousarray(np.array(image.convert("RGB")))


class Counted:
    """A detector that counts its passes."""

    def __init__(self, detector: Any) -> None:
        self.detector, self.passes = detector, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.detector, name)

    def detect(self, image: np.ndarray, threshold: float) -> Any:
        self.passes += 1
        return self.detector.detect(image, threshold)


def measure(detector: Any, pictures: list[tuple[np.ndarray, np.ndarray]], photos: list[Path], repeats: int) -> Any:
    """Recall, errors and speed of one detector."""
    detect_faces = pack("detectors").detect_faces
    counted = Counted(detector)

    def found(image: np.ndarray) -> np.ndarray:
        return detect_faces(tensor(image), counted).landmarks.numpy()

    speed = {}
    shown = {"1080p, one face": tensor(frame_with_face(*pictures[0])[0])}
    shown |= {path.name: tensor(read(path)) for path in photos}
    for name, image in shown.items():
        counted.passes = 0
        speed[name] = timed(lambda image=image: detect_faces(image, counted), repeats)
        speed[name]["passes"] = counted.passes / (repeats + 1)
    tallies: dict[str, Tally] = {}
    for image, points in pictures:
        for name, picture, truth in cases(image, points):
            tallies.setdefault(name, Tally()).count(found(picture), truth.reshape(-1, 5, 2))
    for image, points in pictures[:: max(1, len(pictures) // 4)]:
        picture, truth = enlarged(image, points, 4000 / max(image.shape))
        tallies.setdefault("4000 px", Tally()).count(found(picture), truth[None])
    for side in (28, 40, 64, 100):
        for large in (False, True):
            name = f"collage {side}{' + 400' if large else ''}"
            picture, truth = collage(pictures, side, large)
            tallies.setdefault(name, Tally()).count(found(picture), truth)
    recall = {}
    for name, tally in tallies.items():
        errors = sorted(tally.errors) or [float("nan")]
        row = {key: value for key, value in asdict(tally).items() if key != "errors"}
        row |= {"error": round(statistics.median(errors), 4), "error_90": round(errors[int(0.9 * len(errors))], 4)}
        recall[name] = row
    return {"provider": detector.provider, "speed": speed, "recall": recall}


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("portraits", type=Path)
    parser.add_argument("photos", type=Path, nargs="?")
    parser.add_argument("--detectors", type=Path, action="append", default=[], help="a folder with detector files")
    parser.add_argument("--names", nargs="+", default=["insightface", "yunet", "builtin"])
    parser.add_argument("--count", type=int, default=24, help="how many portraits")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    table = json.loads((args.portraits / "landmarks.json").read_text(encoding="utf-8"))
    names = sorted(table)[:: max(1, len(table) // args.count)][: args.count]
    pictures = [(read(args.portraits / name), np.array(table[name])) for name in names]
    photos = sorted(p for p in args.photos.iterdir() if p.suffix in (".png", ".jpg")) if args.photos else []
    load_detector = pack("detectors").load_detector
    report: dict[str, Any] = {"python": platform.python_version(), "torch": torch.__version__, "threads": args.threads}
    for name in args.names:
        report[name] = measure(load_detector(name, folders=args.detectors), pictures, photos, args.repeats)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
