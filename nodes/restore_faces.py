"""Restore Faces (GPEN)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from ..restoration import restore_crops
from . import host, inputs
from .gpen_model import GpenModel
from .live_preview import LivePreview
from .pairs import before_after, crop_pairs


class GPENFaceRestore:
    """Runs aligned crops through the network."""

    CATEGORY = "GPEN"
    DESCRIPTION = (
        "Restores aligned face crops with GPEN and blends the result with the originals. The crops may have any size "
        "and may come from any node; the result has the model's own size."
    )
    SEARCH_ALIASES: ClassVar[list[str]] = ["gpen", "restore crop", "restore aligned face"]
    RETURN_TYPES = ("IMAGE", "STRING")
    RETURN_NAMES = ("restored", "report")
    OUTPUT_TOOLTIPS = ("The restored crops at the model's size, in the order they came.", inputs.REPORT_TOOLTIP)
    FUNCTION = "restore"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """Sockets and widgets."""
        return {
            "required": {
                "gpen_model": inputs.socket("GPEN_MODEL", "From Load GPEN Model."),
                "crops": inputs.socket("IMAGE", "Aligned face crops, from Detect Faces (GPEN) or elsewhere."),
                **inputs.BLENDING,
            }
        }

    def restore(self, gpen_model: GpenModel, crops: torch.Tensor, **options: Any) -> dict[str, Any]:
        """Run `restore_crops` with ComfyUI's memory manager; the preview shows faces before and after."""
        inputs.check_model(gpen_model)
        live = LivePreview()
        done = restore_crops(
            crops,
            gpen_model.restorer,
            on_progress=live,
            check_cancel=host.check_cancel,
            free_memory=gpen_model.bring_to_device,
            fallbacks=gpen_model.fallbacks(),
            **options,
        )
        shown = live.end(before_after(crop_pairs(crops, done.restored), len(crops)))
        return {"ui": shown, "result": (host.give(done.restored), done.report.text())}
