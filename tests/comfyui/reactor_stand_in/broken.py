"""What a broken neighbour could hand on, and a look at what the pack keeps; for tests only."""

from __future__ import annotations

import copy
import gc
import sys
from typing import Any, ClassVar

import torch


class BadImage:
    """Pictures that a broken node could hand on."""

    CATEGORY = "tests"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "execute"
    HABITS: ClassVar[list[str]] = [
        "nan", "empty", "fp16", "rgba", "non-contiguous", "other aspect", "two frames", "no face",
        "no face in the second",
    ]  # fmt: skip

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """The picture and what to do to it."""
        return {"required": {"image": ("IMAGE",), "habit": (cls.HABITS,)}}

    def execute(self, image: torch.Tensor, habit: str) -> tuple[torch.Tensor]:
        """Break it."""
        image = image.clone()
        if habit == "nan":
            image[:, 0, 0] = float("nan")
        made = {
            "empty": lambda: image[:0],
            "fp16": lambda: image.half(),
            "rgba": lambda: torch.cat((image, torch.full_like(image[..., :1], 0.25)), 3),
            "non-contiguous": lambda: image.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1),
            "other aspect": lambda: image[:, :, : image.shape[2] // 2],
            "two frames": lambda: image.repeat(2, 1, 1, 1),
            "no face": lambda: torch.full_like(image, 0.5),
            "no face in the second": lambda: torch.cat((image, torch.full_like(image, 0.5))),
        }
        return (made[habit]() if habit in made else image,)


class AnyType(str):
    """Fits every socket, as the wildcards of many packs do."""

    __slots__ = ()

    def __ne__(self, other: object) -> bool:
        return False


class Anything:
    """A value of another type than the socket that it is plugged into."""

    CATEGORY = "tests"
    RETURN_TYPES = (AnyType("*"),)
    FUNCTION = "execute"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """Which value."""
        return {"required": {"what": (["text", "latent", "number"],)}}

    def execute(self, what: str) -> tuple[Any]:
        """Give it."""
        return ({"text": "a face", "latent": {"samples": torch.zeros(1, 4, 8, 8)}, "number": 7}[what],)


class ShortOfMemory:
    """A model whose network runs out of memory above so many faces at once, as it would on a small GPU."""

    CATEGORY = "tests"
    RETURN_TYPES = ("GPEN_MODEL",)
    FUNCTION = "execute"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """The model and how many faces fit."""
        return {"required": {"gpen_model": ("GPEN_MODEL",), "fits": ("INT", {"default": 0, "min": 0, "max": 16})}}

    def execute(self, gpen_model: Any, fits: int) -> tuple[Any]:
        """A copy, for ComfyUI keeps the model that it was given."""
        model = copy.copy(gpen_model)
        module = sys.modules[type(gpen_model).__module__]

        def fallbacks() -> list[Any]:
            """Those of a GPU with bf16: a CPU has no narrower way."""
            bf16 = model._step("in bf16", lambda: module.read_model(model.path, "bf16"))
            return [bf16] if model.precision == "auto" else []

        model.fallbacks = fallbacks
        model.restorer = copy.copy(gpen_model.restorer)
        restore = model.restorer.restore

        def run(crops: torch.Tensor, *rest: Any) -> torch.Tensor:
            if len(crops) > fits:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB")
            return restore(crops, *rest)

        model.restorer.restore = run
        return (model,)


class Leftovers:
    """How many networks and detector sessions of the pack are alive in this process."""

    CATEGORY = "tests"
    RETURN_TYPES = ()
    FUNCTION = "execute"
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """A number, lest ComfyUI answer from its cache."""
        return {"required": {"turn": ("INT", {"default": 0, "min": 0, "max": 1 << 30})}}

    def execute(self, turn: int) -> dict[str, Any]:
        """Count."""
        gc.collect()
        module = next(found for name, found in sys.modules.items() if name.endswith(".nodes.detector_sessions"))
        networks = sum(type(thing).__name__ == "GpenModel" for thing in gc.get_objects())
        return {"ui": {"text": [f"{networks} networks, {len(module._sessions)} sessions"]}}
