"""What a run takes: which files, how they are restored (plain values that can be sent), and the loaded networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..detectors import Detector
    from ..models import Restorer

OnProgress = Callable[[float], None]
"""``on_progress(pictures)``: how many pictures' worth of work is done, in fractions."""

CORE_OPTIONS = ("threshold", "select", "order", "min_face_px", "fidelity", "blend_mode", "color_match", "feather",
                "mask_shape", "scale", "crop_size")  # fmt: skip


@dataclass(frozen=True)
class Files:
    """The files that a user names.

    Attributes:
        inputs: pictures, folders, and patterns such as ``shots/*.jpg``.
        output: a file; a folder for several pictures.
        mask, original_image, upscaled_image: inputs beside the picture; folders where ``output`` is one.
        mask_out, compare: outputs beside the picture; folders where ``output`` is one.
        save_crops: the folder for crops before restoration.
        in_use: further files that are read and must not be overwritten (the model's, the detector's).
    """

    inputs: tuple[str, ...]
    output: str
    mask: Path | None = None
    original_image: Path | None = None
    upscaled_image: Path | None = None
    mask_out: Path | None = None
    compare: Path | None = None
    save_crops: Path | None = None
    in_use: tuple[Path, ...] = ()


@dataclass(frozen=True)
class RestoreOptions:
    """How every picture of a run is restored; names, units and ranges are those of ``restore_image``.

    Attributes:
        template: of the alignment; None: the model's own.
        aligned: inputs are aligned crops, outputs restored crops at the model's size.
        color: write colour for grey inputs.
        quality: 1 to 100, of JPEG and WebP.
        skip_existing: leave pictures out whose output is there.
    """

    threshold: float = 0.6
    select: str = "all"
    order: str = "large-small"
    min_face_px: float = 16
    template: str | None = None
    fidelity: float = 0.2
    blend_mode: str = "linear"
    color_match: str = "none"
    feather: float = 0.1
    mask_shape: str = "face"
    scale: float = 1.0
    crop_size: int | str = "auto"
    aligned: bool = False
    color: bool = False
    quality: int = 95
    skip_existing: bool = False

    def core(self) -> dict[str, Any]:
        """The keyword arguments of ``restore_image`` and ``restore_frames``, ``template`` left out."""
        return {name: getattr(self, name) for name in CORE_OPTIONS}


@dataclass
class Networks:
    """What is loaded once for all pictures; no detector for crops that are aligned already."""

    restorer: Restorer
    detector: Detector | None
    template: str = "gpen"
