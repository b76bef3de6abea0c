"""The crops of a picture: saved before they are restored, and kept small for the before/after sheet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .image_io.encoding import write_picture, write_rgb
from .image_io.picture import Metadata, Picture
from .job import PictureJob, crop_path
from .sheet import MOST_FACES, FacePair, comparison_sheet

if TYPE_CHECKING:
    import torch

    from ..faces import Faces

CROP_ON_SHEET = 480  # pixels kept of a crop for the sheet


class Gallery:
    """Takes the crops of one picture as they come.

    Attributes:
        paths: the files that were written.
    """

    def __init__(self, job: PictureJob, meta: Metadata) -> None:
        self.paths: list[Path] = []
        self._job, self._meta = job, meta
        self._count = 0
        self._kept: list[tuple[Faces, np.ndarray]] = []

    def add(self, faces: Faces, crops: torch.Tensor) -> None:
        """Save crops (m,S,S,C) as PNG where the job asks for it, and keep the first few for a sheet.

        Raises:
            OSError: one cannot be written.
        """
        for i in range(len(crops)):
            pixels = crops[i, ..., :3].float().cpu().numpy()
            if self._job.crops is not None:
                path = crop_path(self._job.crops, self._count)
                meta = Metadata("PNG", bits=self._meta.bits, icc=self._meta.icc_for_rgb)
                write_picture(path, pixels, meta, mode_of=self._job.source)
                self.paths.append(path)
            if self._job.compare is not None and self._count < MOST_FACES:
                self._kept.append((faces[[i]], _smaller(pixels)))
            self._count += 1

    def write_sheet(self, path: Path, picture: Picture, result: torch.Tensor) -> None:
        """The sheet of a picture and its result (H,W,C), with the faces before and after."""
        from ..faces import crop_faces

        height, width = result.shape[:2]
        pairs = []
        for i, (face, before) in enumerate(self._kept):
            after = crop_faces(result[None, ..., :3], face.scaled_to((height, width)), CROP_ON_SHEET)[0].cpu().numpy()
            pairs.append(FacePair(before, after, f"face {i}: {float(face.sizes[0]):.0f} px in the photo"))
        sheet = comparison_sheet(picture.pixels, result.cpu().numpy(), pairs, total_faces=self._count)
        write_rgb(path, sheet, picture.meta.icc_for_rgb, mode_of=self._job.source)


def _smaller(pixels: np.ndarray) -> np.ndarray:
    """A crop of at most ``CROP_ON_SHEET`` pixels a side."""
    if len(pixels) <= CROP_ON_SHEET:
        return pixels
    import cv2

    return cv2.resize(pixels, (CROP_ON_SHEET, CROP_ON_SHEET), interpolation=cv2.INTER_AREA)
