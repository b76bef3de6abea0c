"""Stands in for ReActor in tests: the sockets and the habits of its swap node, without its models.

The swap mirrors the colours of a box, where the test photo has its face, and takes every pixel through uint8, as
ReActor does.
"""

from __future__ import annotations

from typing import Any

import torch

from .broken import Anything, BadImage, Leftovers, ShortOfMemory

_ROWS, _COLUMNS = (0.05, 0.5), (0.3, 0.6)  # of the astronaut's face, as fractions of the picture


def swap(images: torch.Tensor) -> torch.Tensor:
    """(N,H,W,3) -> the same through uint8, with another face in the box."""
    swapped = images.mul(255).to(torch.uint8).float().div(255)
    rows = slice(*(int(part * images.shape[1]) for part in _ROWS))
    columns = slice(*(int(part * images.shape[2]) for part in _COLUMNS))
    face = swapped[:, rows, columns]
    swapped[:, rows, columns] = (face * 0.8 + 0.1).clamp(0, 1)
    return swapped


class ReActorFaceSwap:
    """The real node's id, inputs and outputs, so that a workflow made for it runs."""

    CATEGORY = "tests"
    RETURN_TYPES = ("IMAGE", "FACE_MODEL", "IMAGE")
    RETURN_NAMES = ("SWAPPED_IMAGE", "FACE_MODEL", "ORIGINAL_IMAGE")
    FUNCTION = "execute"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """As in ReActor, with the choices that templates name."""
        return {
            "required": {
                "enabled": ("BOOLEAN", {"default": True}),
                "input_image": ("IMAGE",),
                "swap_model": (["inswapper_128.onnx"],),
                "facedetection": (["retinaface_resnet50"],),
                "face_restore_model": (["none"],),
                "face_restore_visibility": ("FLOAT", {"default": 1, "min": 0.1, "max": 1, "step": 0.05}),
                "codeformer_weight": ("FLOAT", {"default": 0.5, "min": 0.0, "max": 1, "step": 0.05}),
                "detect_gender_input": (["no", "female", "male"],),
                "detect_gender_source": (["no", "female", "male"],),
                "input_faces_index": ("STRING", {"default": "0"}),
                "source_faces_index": ("STRING", {"default": "0"}),
                "console_log_level": ([0, 1, 2], {"default": 1}),
            },
            "optional": {"source_image": ("IMAGE",), "face_model": ("FACE_MODEL",)},
        }

    def execute(self, enabled: bool, input_image: torch.Tensor, **_: Any) -> tuple[Any, ...]:
        """Swap, or hand on two values for three sockets where it is off, as ReActor does."""
        return (swap(input_image), None, input_image) if enabled else (input_image, None)


class ReActorHabits:
    """What a swap may hand on when its frames were flagged: fewer frames, or a black one."""

    CATEGORY = "tests"
    RETURN_TYPES = ReActorFaceSwap.RETURN_TYPES
    RETURN_NAMES = ReActorFaceSwap.RETURN_NAMES
    FUNCTION = "execute"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """Frames and the habit to show."""
        return {"required": {"input_image": ("IMAGE",), "habit": (["drops first frame", "black 512"],)}}

    def execute(self, input_image: torch.Tensor, habit: str) -> tuple[Any, ...]:
        """Swap badly."""
        if habit == "black 512":
            black = torch.zeros(1, 512, 512, 3)
            return (black, None, black)
        return (swap(input_image)[1:], None, input_image)


class MovingFrames:
    """One picture as a batch of frames that move, so that frames can be told apart."""

    CATEGORY = "tests"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "execute"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """The picture and how many frames."""
        return {"required": {"image": ("IMAGE",), "frames": ("INT", {"default": 3, "min": 1, "max": 400})}}

    def execute(self, image: torch.Tensor, frames: int) -> tuple[torch.Tensor]:
        """Every frame is shifted by two pixels more."""
        return (torch.cat([image.roll((2 * index, index), (2, 1)) for index in range(frames)]),)


NODE_CLASS_MAPPINGS = {
    "ReActorFaceSwap": ReActorFaceSwap,
    "TestReActorHabits": ReActorHabits,
    "TestMovingFrames": MovingFrames,
    "TestBadImage": BadImage,
    "TestAnything": Anything,
    "TestLeftovers": Leftovers,
    "TestShortOfMemory": ShortOfMemory,
}
