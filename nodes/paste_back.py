"""Paste Faces Back (GPEN)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from ..faces import Faces
from ..restoration import paste
from . import host, inputs


class GPENFacePasteBack:
    """Pastes restored faces back into their frames."""

    CATEGORY = "GPEN"
    DESCRIPTION = (
        "Pastes restored faces back into their frames without a seam; every other pixel stays bit for bit as it was. "
        "The image may be an enlarged version of the one the faces were found in."
    )
    SEARCH_ALIASES: ClassVar[list[str]] = ["paste face", "face composite", "uncrop", "paste back"]
    RETURN_TYPES = ("IMAGE", "MASK", "STRING")
    RETURN_NAMES = ("image", "mask", "report")
    OUTPUT_TOOLTIPS = (
        "The frames with their restored faces.",
        "How much of every pixel is restored; 0 where it is untouched.",
        inputs.REPORT_TOOLTIP,
    )
    FUNCTION = "paste"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """Sockets and widgets."""
        return {
            "required": {
                "image": inputs.socket("IMAGE", "The image the faces were found in, or an enlarged version of it."),
                "faces": inputs.socket("GPEN_FACES", "From Detect Faces (GPEN)."),
                "restored": inputs.socket("IMAGE", "One square image per face, in the order of the crops."),
                **inputs.PASTING,
            },
            "optional": {"mask": inputs.socket("MASK", "Multiplies what is pasted: black keeps the image.")},
        }

    def paste(
        self, image: torch.Tensor, faces: Faces, restored: torch.Tensor, **options: Any
    ) -> tuple[torch.Tensor, torch.Tensor, str]:
        """Run `paste` with ComfyUI's progress and cancel."""
        done = paste(image, faces, restored, on_progress=host.progress(), check_cancel=host.check_cancel, **options)
        return host.give(done.image), host.give(done.mask), done.report.text()
