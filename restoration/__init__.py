"""The core that nodes, command line and scripts share: detect, crop, restore, blend, paste, and say what happened."""

from .callbacks import CheckCancel, FreeMemory, OnProgress
from .detectors import DetectorError, detector_files, load_detector
from .finding import Detected, detect
from .image import OnCrops, RestoredImage, restore_image
from .ladder import OutOfMemoryError, Rung, is_out_of_memory
from .pasting import Pasted, paste
from .report import FaceNote, Report
from .restoring import Restored, restore_crops

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
    "detector_files",
    "is_out_of_memory",
    "load_detector",
    "paste",
    "restore_crops",
    "restore_image",
]
