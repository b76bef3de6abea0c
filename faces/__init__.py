"""Pixels and geometry: faces and their selection, alignment, crop, masks, blending, paste. No files, no networks."""

from .collection import Faces
from .compose.blend import BLEND_MODES, blend_faces
from .compose.color import COLOR_MATCHES, match_color
from .compose.masks import MASK_SHAPES, UserMask, check_mask_shape, faces_mask
from .compose.paste import paste_faces, paste_into
from .geometry.alignment import fit_similarity
from .geometry.crop import CROP_SIZES, crop_faces, crop_size_for
from .geometry.templates import TEMPLATES
from .selection import ORDERS, parse_select, select_faces
from .skipped import Skipped
from .swap.changes import changed_faces
from .swap.frame_matching import match_frames

__all__ = [
    "BLEND_MODES",
    "COLOR_MATCHES",
    "CROP_SIZES",
    "MASK_SHAPES",
    "ORDERS",
    "TEMPLATES",
    "Faces",
    "Skipped",
    "UserMask",
    "blend_faces",
    "changed_faces",
    "check_mask_shape",
    "crop_faces",
    "crop_size_for",
    "faces_mask",
    "fit_similarity",
    "match_color",
    "match_frames",
    "parse_select",
    "paste_faces",
    "paste_into",
    "select_faces",
]
