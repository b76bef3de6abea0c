"""Batches of augmented, aligned face crops from a folder of portraits with a ``landmarks.json``."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from ..faces.geometry.alignment import face_matrices
from ..faces.geometry.templates import template_points

_log = logging.getLogger(__name__)
HELD_OUT = 64  # portraits that are never trained on


class DataError(ValueError):
    """The folder has no usable portraits; the message says what was expected and what was found."""


def split_names(names: list[str], held_out: int = HELD_OUT) -> tuple[list[str], list[str]]:
    """Split file names into (training, held out) by their sha256, independent of order and machine."""
    ranked = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    few = max(len(names) // 4, min(1, len(names) - 1))  # with few portraits, some are left to train on
    held_out = max(0, min(held_out, few))
    return sorted(ranked[held_out:]), sorted(ranked[:held_out])


def unit_matrices(landmarks: torch.Tensor, template: str = "gpen") -> torch.Tensor:
    """Similarities that map the unit square of each face to its photo.

    Convention: landmarks [M,5,2] are (x, y) in pixels with the origin at the image's corner; the result [M,2,3]
    float64 maps (u, v) in [0,1]² to such (x, y), as ``Faces.matrices`` does.
    """
    return face_matrices(landmarks, template_points(template))


def sample_squares(images: list[torch.Tensor], matrices: torch.Tensor, size: int) -> torch.Tensor:
    """Sample squares from pictures of any size, bicubic, with reflection at the borders.

    Convention: ``images`` are [3,H,W] in [0,1]; ``matrices`` [N,2,3] map the unit square to (x, y) in pixels, origin
    at the corner; pixel (i, j) of a crop has its centre at u = (j+0.5)/size, v = (i+0.5)/size. A crop that reduces
    its picture by more than a fifth is oversampled and averaged against aliasing.

    Returns:
        [N,3,size,size] float32 in [0,1].
    """
    crops = []
    for image, matrix in zip(images, matrices, strict=True):
        side = float(torch.det(matrix[:, :2]).abs().sqrt())
        fine = max(1, math.ceil(side / size / 1.2))
        ticks = (torch.arange(size * fine, dtype=torch.float64) + 0.5) / (size * fine)
        v, u = torch.meshgrid(ticks, ticks, indexing="ij")
        x = matrix[0, 0] * u + matrix[0, 1] * v + matrix[0, 2]
        y = matrix[1, 0] * u + matrix[1, 1] * v + matrix[1, 2]
        height, width = image.shape[1:]
        grid = torch.stack((2 * x / width - 1, 2 * y / height - 1), dim=-1)[None].float()
        crop = F.grid_sample(image[None], grid, mode="bicubic", padding_mode="reflection", align_corners=False)
        crops.append(F.avg_pool2d(crop, fine) if fine > 1 else crop)
    return torch.cat(crops).clamp(0, 1)


class PortraitFolder:
    """All portraits of a folder in memory (uint8), with the matrices of their aligned squares.

    Args:
        folder: the pictures, and ``landmarks.json`` in it: file name -> five (x, y) of left eye, right eye, nose, left
            and right mouth corner in pixels.
        part: ``train``, ``held_out`` or ``all``; see :func:`split_names`.
        template: name of the alignment template.

    Raises:
        DataError: no such folder, no landmarks, or ``part`` is empty.
    """

    def __init__(self, folder: Path, part: str = "train", *, template: str = "gpen", held_out: int = HELD_OUT) -> None:
        listing = folder / "landmarks.json"
        if not listing.is_file():
            raise DataError(
                f"{listing}: expected a JSON file with file name -> five (x, y) points; run find-landmarks first"
            )
        listed = json.loads(listing.read_text(encoding="utf-8"))
        points = {name: value for name, value in listed.items() if (folder / name).is_file()}
        if len(points) < len(listed):
            absent = sorted(set(listed) - set(points))
            _log.warning(
                "%s: %d of %d listed pictures are missing, for instance %s",
                listing,
                len(absent),
                len(listed),
                absent[0],
            )
        train, held = split_names(list(points), held_out)
        self.names = {"train": train, "held_out": held, "all": sorted(points)}[part]
        if not self.names:
            raise DataError(
                f"{folder}: no picture for the part {part}: of {len(listed)} that landmarks.json lists "
                f"{len(points)} are there; expected at least two, or one with --held-out 0"
            )
        self.images = [torch.from_numpy(_read_rgb(folder / name)).permute(2, 0, 1) for name in self.names]
        landmarks = torch.tensor([points[name] for name in self.names], dtype=torch.float64)
        self.matrices = unit_matrices(landmarks, template)

    def __len__(self) -> int:
        return len(self.names)

    def crops(self, indices: list[int], size: int, matrices: torch.Tensor | None = None) -> torch.Tensor:
        """Aligned crops [N,3,size,size] in [0,1]; ``matrices`` override the portraits' own."""
        chosen = self.matrices[indices] if matrices is None else matrices
        return sample_squares([self.images[i].float() / 255 for i in indices], chosen, size)


def jitter(
    matrices: torch.Tensor, rng: torch.Generator, *, degrees: float = 8, scale: float = 0.15, shift: float = 0.04
) -> torch.Tensor:
    """Rotate, scale, shift and mirror aligned squares at random: [N,2,3] -> [N,2,3].

    Convention: acts on the unit square before it is mapped to the photo, about its centre; ``scale`` is the largest
    change of the side (0.15: from 1/1.15 to 1.15), ``shift`` is a fraction of the side. Half are mirrored in u.
    """
    n = len(matrices)
    turn, zoom, du, dv = (torch.rand(4, n, generator=rng, dtype=torch.float64) * 2 - 1).unbind()
    mirror = torch.where(torch.rand(n, generator=rng) < 0.5, -1.0, 1.0).double()
    angle, factor = torch.deg2rad(turn * degrees), (1 + scale) ** zoom
    cos, sin = torch.cos(angle) * factor, torch.sin(angle) * factor
    linear = torch.stack((torch.stack((cos * mirror, -sin), -1), torch.stack((sin * mirror, cos), -1)), -2)  # [N,2,2]
    centre = torch.full((n, 2, 1), 0.5, dtype=torch.float64)
    offset = centre + torch.stack((du, dv), -1)[..., None] * shift - linear @ centre
    moved = matrices[:, :, :2] @ torch.cat((linear, offset), dim=2)
    moved[:, :, 2] += matrices[:, :, 2]
    return moved


def vary_color(x: torch.Tensor, rng: torch.Generator, *, grey: float = 0.12) -> torch.Tensor:
    """Vary exposure, gamma and tint of [N,3,H,W] in [0,1]; a fraction ``grey`` becomes black and white."""
    n = len(x)
    gamma = 1.35 ** (torch.rand(n, 1, 1, 1, generator=rng) * 2 - 1)
    gains = 0.8 + 0.3 * torch.rand(n, 1, 1, 1, generator=rng) + 0.24 * (torch.rand(n, 3, 1, 1, generator=rng) - 0.5)
    x = (x.clamp_min(1e-4) ** gamma * gains).clamp(0, 1)
    luma = (x * x.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    saturation = 0.6 + 0.7 * torch.rand(n, 1, 1, 1, generator=rng)
    saturation[torch.rand(n, generator=rng) < grey] = 0
    return (luma + (x - luma) * saturation).clamp(0, 1)


class CropStream:
    """An endless stream of augmented training crops; its state is one random generator and a queue."""

    def __init__(self, folder: PortraitFolder, size: int, batch: int, seed: int = 0) -> None:
        self.folder, self.size, self.batch = folder, size, batch
        self.rng = torch.Generator().manual_seed(seed)
        self.queue: list[int] = []

    def next(self) -> torch.Tensor:
        """The next batch [N,3,size,size] in [0,1]; each portrait is used once per epoch."""
        while len(self.queue) < self.batch:
            self.queue += torch.randperm(len(self.folder), generator=self.rng).tolist()
        indices, self.queue = self.queue[: self.batch], self.queue[self.batch :]
        crops = self.folder.crops(indices, self.size, jitter(self.folder.matrices[indices], self.rng))
        return vary_color(crops, self.rng)

    def state_dict(self) -> dict[str, object]:
        """The state from which :meth:`load_state_dict` resumes at the next batch."""
        return {"rng": self.rng.get_state(), "queue": list(self.queue)}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Resume from ``state``."""
        rng, queue = state["rng"], state["queue"]
        assert isinstance(rng, torch.Tensor) and isinstance(queue, list)
        self.rng.set_state(rng)
        self.queue = [int(i) for i in queue if int(i) < len(self.folder)]


def _read_rgb(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.array(picture.convert("RGB"))
