"""``python training find-landmarks FOLDER``: write the ``landmarks.json`` that training reads."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image

from ..detectors import Detector, DetectorError, detect_faces, load_detector
from ..jobs.atomic import write_atomically

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")
LISTING = "landmarks.json"


def find_landmarks(path: Path, detector: Detector, threshold: float, least: float) -> list[list[float]] | str:
    """The five landmarks of the largest face of a picture, or the reason why there are none.

    Args:
        path: a picture; its EXIF orientation is not applied, since training does not apply it either.
        detector: from ``load_detector``.
        threshold: least confidence, 0 … 1.
        least: least side of the aligned square in pixels.

    Returns:
        Five (x, y) in pixels of the picture, origin at its top-left corner; or a sentence.
    """
    try:
        with Image.open(path) as picture:
            if picture.getexif().get(ExifTags.Base.Orientation, 1) != 1:
                return "its EXIF orientation is not upright: save it upright first"
            pixels = np.asarray(picture.convert("RGB"), dtype=np.float32) / 255
    except (OSError, Image.DecompressionBombError) as error:
        return f"it cannot be read ({error})"
    faces = detect_faces(torch.from_numpy(pixels)[None], detector, threshold)
    if not len(faces):
        return "no face was found"
    largest = int(faces.sizes.argmax())
    if float(faces.sizes[largest]) < least:
        return f"its largest face has {float(faces.sizes[largest]):.0f} px, less than {least:.0f} px"
    return [[round(value, 2) for value in point] for point in faces.landmarks[largest].tolist()]


def main(argv: list[str] | None = None) -> int:
    """Write the listing; 0: a face in every picture, 1: some skipped or the listing exists, 2: wrong usage."""
    parser = argparse.ArgumentParser(prog="python training find-landmarks", description=__doc__)
    parser.add_argument("folder", type=Path, help="portraits; of several faces the largest is used")
    parser.add_argument("--detector", default="auto", help="auto, insightface, yunet or builtin")
    parser.add_argument("--threshold", type=float, default=0.6, help="least confidence of a face")
    parser.add_argument(
        "--min-face-px", type=float, default=128, help="least size of a face; smaller ones have no detail to learn from"
    )
    parser.add_argument("--replace", action="store_true", help=f"replace an existing {LISTING}")
    args = parser.parse_args(argv)
    listing = args.folder / LISTING
    if not args.folder.is_dir():
        parser.error(f"no such folder: {args.folder}")
    if listing.exists() and not args.replace:
        print(f"error: {listing} exists; use --replace to overwrite it", file=sys.stderr)
        return 1
    try:
        detector = load_detector(args.detector)
    except DetectorError as error:
        parser.error(str(error))
    found, left_out = {}, 0
    for path in sorted(p for p in args.folder.iterdir() if p.suffix.lower() in PICTURES):
        answer = find_landmarks(path, detector, args.threshold, args.min_face_px)
        if isinstance(answer, str):
            print(f"skipped: {path.name}: {answer}", file=sys.stderr)
            left_out += 1
        else:
            found[path.name] = answer
    lines = (f"{json.dumps(name)}: {json.dumps(points)}" for name, points in found.items())
    write_atomically(listing, ("{\n" + ",\n".join(lines) + "\n}\n").encode())
    print(f"{listing}: {len(found)} faces by {detector.name} on {detector.provider}, {left_out} pictures skipped")
    return 1 if left_out or not found else 0
