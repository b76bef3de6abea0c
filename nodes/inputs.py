"""The widgets, each defined once: type, default, range, tooltip."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..detectors import DETECTORS
from ..faces import (
    BLEND_MODES,
    COLOR_MATCHES,
    CROP_SIZES,
    MASK_SHAPES,
    ORDERS,
    TEMPLATES,
    parse_select,
)
from .gpen_model import DTYPES, GpenModel

Spec = tuple[Any, dict[str, Any]]

PRECISIONS = ("auto", *DTYPES)
DEVICES = ("auto", "cpu")


def combo(choices: Iterable[str], default: str, tooltip: str) -> Spec:
    """A list to choose from."""
    return list(choices), {"default": default, "tooltip": tooltip}


def slider(default: float, low: float, high: float, step: float, tooltip: str) -> Spec:
    """A number drawn as a slider."""
    options = {"default": default, "min": low, "max": high, "step": step, "round": False, "display": "slider"}
    return "FLOAT", {**options, "tooltip": tooltip}


def socket(kind: str, tooltip: str) -> Spec:
    """An input socket."""
    return kind, {"tooltip": tooltip}


DETECTION: dict[str, Spec] = {
    "detector": combo(
        DETECTORS,
        "auto",
        "What finds the faces. auto takes InsightFace's SCRFD where a model of it lies, else OpenCV's YuNet, else the "
        "built-in one; the report says which.",
    ),
    "threshold": slider(
        0.6, 0.0, 1.0, 0.01, "Minimum confidence of a detection. Lower values find more faces and more false ones."
    ),
    "select": (
        "STRING",
        {
            "default": "all",
            "tooltip": "all, or indexes such as 0 or 0,2 or 0-2, counted from 0 in every frame after all filters and "
            "in the chosen order.",
        },
    ),
    "order": combo(ORDERS, "large-small", "How the faces of a frame are numbered for select."),
    "min_face_px": (
        "INT",
        {
            "default": 16,
            "min": 1,
            "max": 8192,
            "tooltip": "Faces whose aligned square has a smaller side, in pixels of the image, are skipped.",
        },
    ),
    "template": combo(
        TEMPLATES,
        "gpen",
        "How faces are aligned. gpen is the authors' own; ffhq, used by most other tools, shows the network a face "
        "11.6 % larger.",
    ),
}

BLENDING: dict[str, Spec] = {
    "fidelity": slider(
        0.2, 0.0, 1.0, 0.01, "0 is GPEN's face, 1 the original's. The authors' setting for the 2048 model is 0.2."
    ),
    "blend_mode": combo(
        BLEND_MODES,
        "linear",
        "linear cross-fades the two faces; detail keeps the original's light, colour and likeness and takes GPEN's "
        "fine detail, where fidelity moves the cut between the two.",
    ),
    "color_match": combo(
        COLOR_MATCHES, "none", "Gives the restored face the original's colours: mean and spread in Lab, or wavelet."
    ),
}

PASTING: dict[str, Spec] = {
    "feather": slider(0.1, 0.0, 0.5, 0.01, "Width of the soft edge, as a fraction of the face."),
    "mask_shape": combo(MASK_SHAPES, "face", "What is pasted: the shape of the face, an ellipse, or the whole square."),
}

ORIGINAL_IMAGE = socket(
    "IMAGE",
    "The picture before a face swap (ReActor's ORIGINAL_IMAGE): only faces that differ between the two are restored.",
)

CROP_SIZE = combo(
    ("auto", *map(str, CROP_SIZES)),
    "auto",
    "Side of the crops in pixels. auto is the smallest not below the largest face.",
)

REPORT_TOOLTIP = "Faces found, restored and skipped, with reasons; device, precision and time."


def why_no_selection(select: str | None) -> str | None:
    """None where ``select`` is valid, or linked and not known yet; else what it accepts."""
    if select is None:
        return None
    try:
        parse_select(select)
    except ValueError as error:
        return str(error)
    return None


def check_model(value: Any) -> None:
    """Refuse what another node made under the same type name.

    Raises:
        TypeError: it is not what Load GPEN Model gives.
    """
    if not isinstance(value, GpenModel):
        raise TypeError(f"gpen_model: expected what Load GPEN Model gives, got {type(value).__name__}")
