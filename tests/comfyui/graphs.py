"""Graphs in API format that several tests start from."""

from __future__ import annotations

import itertools
import time
from typing import Any

TINY = "tiny.safetensors"
DETECTION = {
    "detector": "builtin", "threshold": 0.6, "select": "all", "order": "large-small", "min_face_px": 16,
    "template": "gpen",
}  # fmt: skip
BLENDING = {"fidelity": 0.2, "blend_mode": "linear", "color_match": "none"}
PASTING = {"feather": 0.1, "mask_shape": "face"}
_turns = itertools.count(1000)  # lest ComfyUI answer from its cache


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    """One entry of a graph."""
    return {"class_type": kind, "inputs": inputs}


def loader(model: str = TINY) -> dict[str, Any]:
    """Load GPEN Model with its defaults."""
    return node("GPENModelLoader", model_name=model, precision="auto", device="auto", cpu_fallback=False)


def restore_graph(photo: str, model: str = TINY, **more: Any) -> dict[str, Any]:
    """Load Image -> Restore Image -> Save, the report as text; ``more`` are inputs of Restore Image."""
    inputs = {"image": ["1", 0], "gpen_model": ["2", 0], **DETECTION, **BLENDING, **PASTING, "scale": 1.0, **more}
    return {
        "1": node("LoadImage", image=photo),
        "2": loader(model),
        "3": node("GPENRestoreImage", **inputs),
        "4": node("SaveImage", images=["3", 0], filename_prefix="test"),
        "5": node("PreviewAny", source=["3", 2]),
    }


def step_by_step(photo: str) -> dict[str, Any]:
    """Load Image -> Detect -> Restore -> Paste -> Save, the last report as text."""
    return {
        "1": node("LoadImage", image=photo),
        "2": loader(),
        "3": node("GPENFaceDetect", image=["1", 0], **DETECTION, crop_size="256"),
        "6": node("GPENFaceRestore", gpen_model=["2", 0], crops=["3", 0], **BLENDING),
        "7": node("GPENFacePasteBack", image=["1", 0], faces=["3", 1], restored=["6", 0], **PASTING),
        "4": node("SaveImage", images=["7", 0], filename_prefix="steps"),
        "5": node("PreviewAny", source=["7", 2]),
    }


def left_after_freeing(comfyui: Any) -> str:
    """What of the pack is alive when ComfyUI was told to free its memory."""
    comfyui.post("/free", {"unload_models": True, "free_memory": True})
    time.sleep(2)
    return comfyui.run({"1": node("TestLeftovers", turn=next(_turns))})["1"]["text"][0]
