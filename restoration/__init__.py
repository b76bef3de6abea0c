"""The pipeline that nodes, command line and scripts share: detect, crop, restore, blend, paste, report."""

from ..detectors import DetectorError, load_detector
from .callbacks import CheckCancel, FreeMemory, OnProgress
from .frames import FrameRun, OnCrops, restore_frames
from .image import RestoredImage, restore_image
from .reporting.report import FaceNote, Report
from .running.fallback import FallbackStep, OutOfMemoryError
from .running.memory import is_out_of_memory
from .stages.detecting import Detected, detect
from .stages.flight import RestoredFrame
from .stages.pasting import Pasted, paste
from .stages.restoring import Restored, restore_crops

__all__ = [
    "CheckCancel",
    "Detected",
    "DetectorError",
    "FaceNote",
    "FallbackStep",
    "FrameRun",
    "FreeMemory",
    "OnCrops",
    "OnProgress",
    "OutOfMemoryError",
    "Pasted",
    "Report",
    "Restored",
    "RestoredFrame",
    "RestoredImage",
    "detect",
    "is_out_of_memory",
    "load_detector",
    "paste",
    "restore_crops",
    "restore_frames",
    "restore_image",
]
