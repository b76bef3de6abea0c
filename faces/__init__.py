"""Pixels and geometry: detectors, selection, alignment, crop, paste, masks, blending."""

from .alignment import fit_similarity
from .blend import BLEND_MODES, blend_faces
from .changes import changed_faces
from .collection import Faces
from .color import COLOR_MATCHES, match_color
from .crop import crop_faces, crop_size_for
from .detection import detect_faces
from .detector import Detections, Detector
from .frame_matching import match_frames
from .masks import MASK_SHAPES, UserMask, check_mask_shape, faces_mask
from .paste import paste_faces, paste_into
from .selection import ORDERS, parse_select, select_faces
from .skipped import Skipped
from .templates import TEMPLATES

__all__ = [
    "BLEND_MODES",
    "COLOR_MATCHES",
    "MASK_SHAPES",
    "ORDERS",
    "TEMPLATES",
    "Detections",
    "Detector",
    "Faces",
    "Skipped",
    "UserMask",
    "blend_faces",
    "changed_faces",
    "check_mask_shape",
    "crop_faces",
    "crop_size_for",
    "detect_faces",
    "faces_mask",
    "fit_similarity",
    "match_color",
    "match_frames",
    "parse_select",
    "paste_faces",
    "paste_into",
    "select_faces",
]
