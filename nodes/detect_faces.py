"""Detect Faces (GPEN)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from ..restoration import detect
from . import host, inputs
from .detector_sessions import detector_signature, load_detector
from .preview import numbered_faces


class GPENFaceDetect:
    """Detects, selects, aligns and crops faces."""

    CATEGORY = "GPEN"
    DESCRIPTION = (
        "Finds the faces of a picture or a batch of frames and cuts them out, aligned as GPEN expects them. Without "
        "any face it gives one black crop and a count of 0, and the graph goes on."
    )
    SEARCH_ALIASES: ClassVar[list[str]] = ["face detection", "crop faces", "align faces", "scrfd", "yunet"]
    RETURN_TYPES = ("IMAGE", "GPEN_FACES", "MASK", "INT", "STRING")
    RETURN_NAMES = ("crops", "faces", "face_mask", "count", "report")
    OUTPUT_TOOLTIPS = (
        "Aligned square crops, one per face over all frames.",
        "Position and alignment of every face, for Paste Faces Back (GPEN).",
        "Masks of the faces, one per frame.",
        "Number of selected faces.",
        inputs.REPORT_TOOLTIP,
    )
    FUNCTION = "detect"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """Sockets and widgets."""
        return {
            "required": {
                "image": inputs.socket("IMAGE", "A picture, or a batch of frames."),
                **inputs.DETECTION,
                "crop_size": inputs.CROP_SIZE,
            },
            "optional": {
                "mask": inputs.socket("MASK", "Only faces whose centre lies where this is white are taken."),
                "original_image": inputs.ORIGINAL_IMAGE,
            },
        }

    @classmethod
    def VALIDATE_INPUTS(cls, select: str | None = None) -> bool | str:
        """True, or what ``select`` accepts."""
        return inputs.why_no_selection(select) or True

    @classmethod
    def IS_CHANGED(cls, detector: str = "auto", **_: Any) -> str:
        """Path, size and time of the detector's files: one that is added, replaced or removed may find other faces."""
        return repr(detector_signature(detector))

    def detect(self, image: torch.Tensor, detector: str, **options: Any) -> dict[str, Any]:
        """Run `detect` with ComfyUI's progress and cancel; the preview shows the faces with their numbers."""
        found = detect(
            image,
            load_detector(detector, keeper=self),
            on_progress=host.progress(),
            check_cancel=host.check_cancel,
            **options,
        )
        crops, face_mask = host.give(found.crops), host.give(found.face_mask)
        shown = host.show(numbered_faces(image, found.faces, found.report))
        return {"ui": shown, "result": (crops, found.faces, face_mask, len(found.faces), found.report.text())}
