"""A frame in flight: its pixels on the working device, the faces that wait, and the result that grows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...faces import Faces
from ...faces.compose.masks import fit_mask
from ...faces.compose.paste import lay_face
from ...faces.geometry.crop import crop_face
from ...faces.geometry.memory import new_pictures
from ..options import PasteOptions
from ..reporting.report import Report
from .canvas import Size, enlarge
from .transfer import Arrival, send, to_device

Out = Callable[[int], tuple[Tensor, Tensor]]
"""``out(index)``: where the result and the mask of a frame go, (H',W',C) and (H',W') float32 on the frame's device."""


@dataclass
class RestoredFrame:
    """One result of the pipeline.

    Attributes:
        index: of the frame in the source.
        image: (H',W',C) float32 in 0…1 on the frame's device; None where there is an error. The frame itself where
            nothing was done to it.
        mask: (H',W') float32, 0 where a pixel was not restored; None where there is an error.
        faces: the faces that were restored, in the frame's coordinates; None where they were not looked for.
        report: of this frame alone.
        error: why there is no result.
    """

    index: int
    image: Tensor | None
    mask: Tensor | None
    faces: Faces | None
    report: Report
    error: Exception | None = None


class Flight:
    """One frame between its detection and its result.

    Args:
        index: of the frame in the source.
        frame: (H,W,C) float in 0…1, finite.
        faces: the faces to restore, those of this frame alone.
        mask: (h,w) or None, multiplies what is pasted.
        upscaled: (H',W',C') or None, what the faces are pasted onto.
        size: (H',W') of the result.
        out: gives the memory for the result; None: new memory where something is pasted.
    """

    def __init__(
        self,
        index: int,
        frame: Tensor,
        faces: Faces,
        report: Report,
        *,
        mask: Tensor | None,
        upscaled: Tensor | None,
        size: Size,
        paste: PasteOptions,
        out: Out | None,
    ) -> None:
        self.index, self.faces, self.report, self.size = index, faces, report, size
        self.waiting = len(faces)
        self.error: Exception | None = None
        self._frame, self._mask, self._upscaled, self._paste, self._out = frame, mask, upscaled, paste, out
        self._placed = faces.scaled_to(size) if len(faces) else faces
        self._pixels: Tensor | None = None  # on the working device
        self._image: Tensor | None = None
        self._weights: Tensor | None = None
        self._user_mask: Tensor | None = None
        self._sent: tuple[Arrival, Arrival] | None = None

    @property
    def device(self) -> torch.device:
        """Where the frame came from and the result goes."""
        return self._frame.device

    @property
    def channels(self) -> int:
        """Of the result: an upscaler may drop alpha, which the frame brings back."""
        return max(self._frame.shape[2], 0 if self._upscaled is None else self._upscaled.shape[2])

    @property
    def frame_bytes(self) -> int:
        """What the frame holds on the working device: its pixels, the result and the mask, in float32."""
        height, width = self.size
        return 4 * (self._frame.numel() + height * width * (self.channels + 1))

    def begin(self, device: torch.device) -> None:
        """Bring the frame to the working device and make the canvas there; once."""
        if self._pixels is not None:
            return
        with self.report.stage("canvas"):
            self._pixels = to_device(self._frame, device)
            height, width = self.size
            if self._out is not None and device == self.device:
                self._image, self._weights = self._out(self.index)
                self._weights.zero_()
            else:
                self._image = new_pictures(height, width, self.channels, device=device)
                self._weights = torch.zeros(height, width, dtype=torch.float32, device=device)
            upscaled = None if self._upscaled is None else to_device(self._upscaled, device)
            self._draw(self._image, self._pixels, upscaled)
            if self._mask is not None:
                self._user_mask = fit_mask(to_device(self._mask, device), self.size)

    def crop(self, k: int, side: int, device: torch.device) -> Tensor:
        """(side,side,3) of face ``k``; the first call brings the frame to the device."""
        self.begin(device)
        assert self._pixels is not None
        return crop_face(self._pixels, self.faces.matrices[k], side)

    def paste(self, k: int, face: Tensor) -> None:
        """Lay a restored face (S,S,3) over the result."""
        assert self._image is not None and self._weights is not None
        with self.report.stage("paste"):
            options = self._paste
            lay_face(
                self._image, self._weights, self._placed, k, face, options.feather, options.mask_shape, self._user_mask
            )

    def finish(self) -> None:
        """All faces are pasted: start the result's way back, and let go of what is not needed any more."""
        if self._image is not None and self._weights is not None:
            self._sent = send(self._image, self.device), send(self._weights, self.device)
        self._pixels = self._image = self._weights = self._user_mask = None

    def result(self) -> RestoredFrame:
        """The finished frame; waits for it to arrive."""
        if self.error is not None:
            return RestoredFrame(self.index, None, None, self.faces, self.report, self.error)
        if self._sent is None:
            image, mask = self._untouched()
        else:
            image, mask = (arrival.wait() for arrival in self._sent)
            if self._out is not None:
                image, mask = _into(self._out(self.index), image, mask)
        return RestoredFrame(self.index, image, mask, self.faces, self.report)

    def _draw(self, image: Tensor, pixels: Tensor, upscaled: Tensor | None) -> None:
        """What the faces are pasted onto, into ``image``."""
        canvas = pixels if upscaled is None else upscaled
        image[..., : canvas.shape[2]] = enlarge(canvas, self.size)
        if self.channels > canvas.shape[2]:
            image[..., 3:] = enlarge(pixels[..., 3:], self.size)

    def _untouched(self) -> tuple[Tensor, Tensor]:
        """The result of a frame without a face to restore, made where the frame is."""
        height, width = self.size
        if self._out is not None:
            image, mask = self._out(self.index)
            mask.zero_()
        else:
            mask = torch.zeros(height, width, dtype=torch.float32, device=self.device)
            plain = self._upscaled is None and tuple(self._frame.shape[:2]) == self.size
            if plain and self._frame.dtype == torch.float32:
                return self._frame, mask
            image = new_pictures(height, width, self.channels, device=self.device)
        with self.report.stage("canvas"):
            self._draw(image, self._frame, self._upscaled)
        return image, mask


def _into(places: tuple[Tensor, Tensor], image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The result in the memory that was given for it; nothing is copied where it was made there."""
    for place, made in zip(places, (image, mask), strict=True):
        if place.data_ptr() != made.data_ptr():
            place.copy_(made)
    return places
