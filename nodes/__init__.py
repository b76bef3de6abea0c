"""The five nodes under the ids that saved workflows hold on to."""

from __future__ import annotations

import sys
from typing import Any

from . import host
from .detect_faces import GPENFaceDetect
from .load_model import GPENModelLoader
from .paste_back import GPENFacePasteBack
from .restore_faces import GPENFaceRestore
from .restore_image import GPENRestoreImage

NODE_CLASS_MAPPINGS: dict[str, Any] = {
    "GPENModelLoader": GPENModelLoader,
    "GPENFaceDetect": GPENFaceDetect,
    "GPENFaceRestore": GPENFaceRestore,
    "GPENFacePasteBack": GPENFacePasteBack,
    "GPENRestoreImage": GPENRestoreImage,
}

NODE_DISPLAY_NAME_MAPPINGS: dict[str, str] = {
    "GPENModelLoader": "Load GPEN Model",
    "GPENFaceDetect": "Detect Faces (GPEN)",
    "GPENFaceRestore": "Restore Faces (GPEN)",
    "GPENFacePasteBack": "Paste Faces Back (GPEN)",
    "GPENRestoreImage": "Restore Image (GPEN)",
}

if "folder_paths" in sys.modules:  # absent where a script or a test imports the nodes
    host.register_folder()
