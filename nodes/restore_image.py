"""Restore Image (GPEN)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from ..restoration import restore_image
from . import host, inputs
from .detector_sessions import detector_signature, load_detector
from .gpen_model import GpenModel
from .live_preview import LivePreview
from .pairs import before_after, photo_pairs


class GPENRestoreImage:
    """Detect, restore and paste in one node."""

    CATEGORY = "GPEN"
    DESCRIPTION = (
        "Finds the faces of a picture or a batch, restores them with GPEN and pastes them back, in one step and in "
        "memory that does not grow with the batch. Put it behind any face swap."
    )
    SEARCH_ALIASES: ClassVar[list[str]] = [
        "face restore", "face restoration", "restore faces", "enhance faces", "gpen", "gfpgan", "codeformer", "reactor",
    ]  # fmt: skip
    RETURN_TYPES = ("IMAGE", "MASK", "STRING")
    RETURN_NAMES = ("image", "mask", "report")
    OUTPUT_TOOLTIPS = (
        "The frames with their restored faces.",
        "How much of every pixel is restored; 0 where it is untouched.",
        inputs.REPORT_TOOLTIP,
    )
    FUNCTION = "restore"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """Sockets and widgets."""
        return {
            "required": {
                "image": inputs.socket("IMAGE", "A picture, or a batch of frames."),
                "gpen_model": inputs.socket("GPEN_MODEL", "From Load GPEN Model."),
                **inputs.DETECTION,
                **inputs.BLENDING,
                **inputs.PASTING,
                "scale": inputs.slider(
                    1.0,
                    1.0,
                    4.0,
                    0.05,
                    "Enlarges the picture (Lanczos) before the faces are pasted, so that a 2048 px face can show.",
                ),
            },
            "optional": {
                "mask": inputs.socket(
                    "MASK", "Only faces whose centre lies where this is white are restored, and only there."
                ),
                "original_image": inputs.ORIGINAL_IMAGE,
                "upscaled_image": inputs.socket(
                    "IMAGE", "An enlarged version of image to paste onto, from an upscaler; takes the place of scale."
                ),
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

    def restore(self, image: torch.Tensor, gpen_model: GpenModel, detector: str, **options: Any) -> dict[str, Any]:
        """Run `restore_image` with ComfyUI's progress, cancel and memory manager."""
        inputs.check_model(gpen_model)
        live = LivePreview()
        done = restore_image(
            image,
            gpen_model.restorer,
            load_detector(detector, keeper=self),
            on_progress=live,
            check_cancel=host.check_cancel,
            free_memory=gpen_model.bring_to_device,
            fallbacks=gpen_model.fallbacks(),
            **options,
        )
        shown = live.end(before_after(photo_pairs(image, done.image, done.report), len(done.report.faces)))
        return {"ui": shown, "result": (host.give(done.image), host.give(done.mask), done.report.text())}
