"""Stands in for ReActor in tests: the sockets and the habits of its swap node, without its models.

The swap paints a patch over the face, as a real one changes it, and takes every other pixel through uint8.
"""

from __future__ import annotations

from typing import Any

import torch


class ReActorFaceSwapStandIn:
    """SWAPPED_IMAGE, FACE_MODEL, ORIGINAL_IMAGE, and what can go wrong with them."""

    CATEGORY = "tests"
    RETURN_TYPES = ("IMAGE", "FACE_MODEL", "IMAGE")
    RETURN_NAMES = ("SWAPPED_IMAGE", "FACE_MODEL", "ORIGINAL_IMAGE")
    FUNCTION = "execute"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """The box that is swapped, as fractions of the picture, and the habit to show."""
        return {
            "required": {
                "enabled": ("BOOLEAN", {"default": True}),
                "input_image": ("IMAGE",),
                "habit": (["all frames", "drops first frame", "black 512"],),
                "left": ("FLOAT", {"default": 0.3, "step": 0.01}),
                "top": ("FLOAT", {"default": 0.1, "step": 0.01}),
                "right": ("FLOAT", {"default": 0.55, "step": 0.01}),
                "bottom": ("FLOAT", {"default": 0.45, "step": 0.01}),
            }
        }

    def execute(
        self, enabled: bool, input_image: torch.Tensor, habit: str, left: float, top: float, right: float, bottom: float
    ) -> tuple[Any, ...]:
        """Swap."""
        if not enabled:
            return (input_image, None)  # two values for three sockets, as ReActor does
        if habit == "black 512":
            black = torch.zeros(1, 512, 512, 3)
            return (black, None, black)
        swapped = input_image.mul(255).to(torch.uint8).float().div(255)
        rows = slice(int(top * swapped.shape[1]), int(bottom * swapped.shape[1]))
        columns = slice(int(left * swapped.shape[2]), int(right * swapped.shape[2]))
        face = swapped[:, rows, columns]
        swapped[:, rows, columns] = (face.flip(3) * 0.7 + 0.15).clamp(0, 1)
        if habit == "drops first frame":
            swapped = swapped[1:]
        return (swapped, None, input_image)


NODE_CLASS_MAPPINGS = {"ReActorFaceSwapStandIn": ReActorFaceSwapStandIn}
NODE_DISPLAY_NAME_MAPPINGS = {"ReActorFaceSwapStandIn": "Stand-in for ReActor (tests)"}
