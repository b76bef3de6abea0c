"""Training data of the landmark network: portraits with five points, and pictures without faces."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..detectors.builtin.landmark_net import squares_of_points

HELD_OUT_SHARE = 0.15

# scikit-image's pictures without a face that are used for training
LEARNED_PICTURES = (
    "brick", "grass", "gravel", "rocket", "clock_motion", "cell", "hubble_deep_field", "ihc", "retina", "moon",
    "horse", "logo", "color", "motorcycle_left", "microaneurysms", "phantom", "chessboard_RGB",
)  # fmt: skip
# those that are used for measuring only
TEST_PICTURES = ("coffee", "chelsea", "coins", "page", "text", "motorcycle_right", "chessboard_GRAY")


def is_held_out(name: str) -> bool:
    """Whether a portrait is held out: the SHA-256 of its file name, as a fraction of 2^256, is below 0.15.

    Those are the portraits with the smallest hashes; the ones that the training of GPEN holds out are among them.
    """
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) / 2**256 < HELD_OUT_SHARE


@dataclass(frozen=True)
class Portraits:
    """Portraits of one size in memory.

    names: N file names; pixels: (N, 3, H, W) uint8 RGB; points: (N, 5, 2) float64 in photo pixels;
    squares: (N, 2, 3) float64, the reference square of every face.
    """

    names: tuple[str, ...]
    pixels: Tensor
    points: Tensor
    squares: Tensor

    def __len__(self) -> int:
        return len(self.names)


def read_portraits(folder: Path, held_out: bool) -> Portraits:
    """Read the portraits of ``folder`` that are (not) held out, as its ``landmarks.json`` lists them."""
    table = json.loads((folder / "landmarks.json").read_text(encoding="utf-8"))
    names = tuple(name for name in sorted(table) if is_held_out(name) == held_out)
    if not names:
        raise ValueError(
            f"{folder / 'landmarks.json'}: expected file names with points, got none on this side of the split"
        )
    pixels = torch.stack([torch.from_numpy(read_rgb(folder / name)).permute(2, 0, 1) for name in names])
    points = torch.tensor([table[name] for name in names], dtype=torch.float64)
    return Portraits(names, pixels, points, squares_of_points(points))


def read_rgb(path: Path) -> np.ndarray:
    """Read a picture as (H, W, 3) uint8."""
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def skimage_pictures(names: tuple[str, ...], long_side: int = 1024) -> list[np.ndarray]:
    """Pictures from scikit-image's package, (H, W, 3) uint8, the long side at most ``long_side`` pixels."""
    import skimage

    folder = Path(str(skimage.__file__)).parent / "data"
    pictures = []
    for name in names:
        path = next((folder / f"{name}{end}" for end in (".png", ".jpg") if (folder / f"{name}{end}").is_file()), None)
        if path is None:
            raise ValueError(f"{folder}: expected the picture {name}.png or .jpg, as in scikit-image 0.26")
        with Image.open(path) as image:
            image = image.convert("RGB")
            image.thumbnail((long_side, long_side))
            pictures.append(np.array(image))
    return pictures


def grey_of(image: np.ndarray) -> Tensor:
    """Luma of (H, W, 3) uint8: (H, W) float32 in [0, 1], weights of ITU-R BT.601."""
    weights = np.array([0.299, 0.587, 0.114], dtype=np.float32) / 255
    return torch.from_numpy(image.astype(np.float32) @ weights)


def off_the_face(squares: Tensor, face: Tensor) -> Tensor:
    """Whether squares (M, 2, 3) show no whole face, given the reference square (2, 3) or (M, 2, 3): (M,) bool."""
    half = squares.new_tensor([0.5, 0.5, 1.0])
    side, face_side = (torch.linalg.det(m[..., :2]).clamp(min=1e-9).sqrt() for m in (squares, face))
    away = torch.linalg.norm(squares @ half - face @ half, dim=-1) / torch.minimum(side, face_side)
    ratio = (side / face_side).log().abs()
    return (away > 0.55) | (ratio > 0.85)
