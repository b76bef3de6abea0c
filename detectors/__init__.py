"""Face detectors: SCRFD, YuNet and the built-in one, and the search for faces of any size, place and rotation."""

from .detection import detect_faces, detect_frame
from .detector import Detections, Detector
from .loading import DETECTORS, DetectorError, load_detector
from .search import DetectorFile, detector_files, search_folders

__all__ = [
    "DETECTORS",
    "Detections",
    "Detector",
    "DetectorError",
    "DetectorFile",
    "detect_faces",
    "detect_frame",
    "detector_files",
    "load_detector",
    "search_folders",
]
