"""Load GPEN Model."""

from __future__ import annotations

from typing import Any, ClassVar

from . import inputs, model_list
from .gpen_model import GpenModel, read_model


class GPENModelLoader:
    """Reads a GPEN file and hands its network to ComfyUI's memory manager."""

    CATEGORY = "GPEN"
    DESCRIPTION = (
        "Loads a GPEN face restoration model (.pth, .pt, .safetensors or .onnx). The weights decide what a file is, "
        "never its name. Put files into models/gpen; ReActor's folder is read too."
    )
    SEARCH_ALIASES: ClassVar[list[str]] = ["gpen", "face restore model", "GPEN-BFR", "face restoration loader"]
    RETURN_TYPES = ("GPEN_MODEL",)
    RETURN_NAMES = ("gpen_model",)
    OUTPUT_TOOLTIPS = ("The loaded network, for Restore Faces (GPEN) and Restore Image (GPEN).",)
    FUNCTION = "load"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """Widgets; the list is read from the folders at every call, the files' headers only where they changed."""
        names = model_list.model_names()
        return {
            "required": {
                "model_name": inputs.combo(
                    names,
                    names[0],
                    "Files from models/gpen and, with gpen in their names, from ReActor's models/facerestore_models. "
                    "The 2048 model gives the finest detail; the built-in one needs no download.",
                ),
                "precision": inputs.combo(
                    inputs.PRECISIONS,
                    "auto",
                    "fp32 is true float32. auto lets NVIDIA GPUs use TF32 in convolutions, and uses bf16 if the "
                    "memory is too small for one face; the report says which ran. bf16 and fp16 halve the memory; "
                    "a face that overflows in fp16 is repeated in float32.",
                ),
                "device": inputs.combo(inputs.DEVICES, "auto", "auto is ComfyUI's own device."),
                "cpu_fallback": (
                    "BOOLEAN",
                    {
                        "default": False,
                        "tooltip": "If the GPU's memory is too small even for one face, continue on the CPU, "
                        "slowly, instead of stopping.",
                    },
                ),
            }
        }

    @classmethod
    def VALIDATE_INPUTS(cls, model_name: str | None = None) -> bool | str:
        """True, or the sentence that says where to put which file. None: the name comes through a link."""
        return (model_name is not None and model_list.why_no_model(model_name)) or True

    @classmethod
    def IS_CHANGED(cls, model_name: str, **_: Any) -> str:
        """Size and time of the file, so that a replaced one is read again."""
        return model_list.file_signature(model_name)

    def load(self, model_name: str, precision: str, device: str, cpu_fallback: bool) -> tuple[GpenModel]:
        """Read the file into a socket object."""
        path = model_list.model_path(model_name)
        return (read_model(path, precision, on_cpu=device == "cpu", cpu_fallback=cpu_fallback),)
