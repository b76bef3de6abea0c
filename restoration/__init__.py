"""The core that nodes, command line and scripts share: detect, crop, restore, blend, paste, and say what happened."""

from ..detectors import DetectorError, load_detector
from .callbacks import CheckCancel, FreeMemory, OnProgress
from .detect_stage import Detected, detect
from .fallback import OutOfMemoryError, Rung, is_out_of_memory
from .image import OnCrops, RestoredImage, restore_image
from .paste_stage import Pasted, paste
from .report import FaceNote, Report
from .restore_stage import Restored, restore_crops

__all__ = [
    "CheckCancel",
    "Detected",
    "DetectorError",
    "FaceNote",
    "FreeMemory",
    "OnCrops",
    "OnProgress",
    "OutOfMemoryError",
    "Pasted",
    "Report",
    "Restored",
    "RestoredImage",
    "Rung",
    "detect",
    "is_out_of_memory",
    "load_detector",
    "paste",
    "restore_crops",
    "restore_image",
]
