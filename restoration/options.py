"""The options of the three stages: checked once, when they are made."""

from __future__ import annotations

from dataclasses import dataclass

from ..faces import BLEND_MODES, COLOR_MATCHES, MASK_SHAPES, TEMPLATES
from ..faces.selection import check_selection
from .checks import check_choice, check_number

LARGEST_FEATHER = 0.5
LARGEST_SCALE = 4.0


@dataclass(frozen=True)
class DetectOptions:
    """Which faces are taken, in which order, and how they are aligned.

    Attributes:
        threshold: confidence that a detection must reach, 0…1.
        select: "all", or indexes as "0,2", counted per frame after all filters and in the chosen ``order``.
        order: how the faces of a frame are numbered.
        min_face_px: smallest aligned square, in pixels of the photo.
        template: alignment, "gpen" (the authors' own) or "ffhq".

    Raises:
        TypeError, ValueError: a value that cannot be meant.
    """

    threshold: float = 0.6
    select: str = "all"
    order: str = "large-small"
    min_face_px: float = 16
    template: str = "gpen"

    def __post_init__(self) -> None:
        check_number(self.threshold, "threshold", 0, 1)
        check_number(self.min_face_px, "min_face_px", 0, 1e6)
        check_selection(self.select, self.order, self.min_face_px)
        check_choice(self.template, "template", tuple(TEMPLATES))


@dataclass(frozen=True)
class BlendOptions:
    """How much of the network's face and how much of the original's.

    Attributes:
        fidelity: 0 is the network's face, 1 the original's.
        blend_mode: "linear" cross-fades; "detail" keeps the original's low frequencies.
        color_match: "none", "mean_std" (in Lab) or "wavelet".

    Raises:
        TypeError, ValueError: a value that cannot be meant.
    """

    fidelity: float = 0.2
    blend_mode: str = "linear"
    color_match: str = "none"

    def __post_init__(self) -> None:
        check_number(self.fidelity, "fidelity", 0, 1)
        check_choice(self.blend_mode, "blend_mode", BLEND_MODES)
        check_choice(self.color_match, "color_match", COLOR_MATCHES)


@dataclass(frozen=True)
class PasteOptions:
    """The mask under which a restored face is pasted, and the size of the result.

    Attributes:
        feather: width of the soft edge as a fraction of the face, 0…0.5.
        mask_shape: "face", "ellipse" or "box".
        scale: 1…4; the canvas is enlarged so that the detail shows.

    Raises:
        TypeError, ValueError: a value that cannot be meant.
    """

    feather: float = 0.1
    mask_shape: str = "face"
    scale: float = 1.0

    def __post_init__(self) -> None:
        check_number(self.feather, "feather", 0, LARGEST_FEATHER)
        check_choice(self.mask_shape, "mask_shape", MASK_SHAPES)
        check_number(self.scale, "scale", 1, LARGEST_SCALE)
