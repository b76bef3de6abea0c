"""SCRFD, the detector of InsightFace, behind the ``Detector`` interface."""

from __future__ import annotations

from typing import Any

import numpy as np

from .detector import Detections

STRIDE = 32  # the coarsest feature map: inputs must be multiples of it
NEUTRAL = 127  # the model's input mean: padding that is no edge to the network


class ScrfdDetector:
    """One pass of an SCRFD model with landmarks (``insightface.model_zoo.get_model``), static or dynamic input.

    The image is padded at the right and the bottom to what the model takes; it is resized only where it is larger than
    a static input. Colours are turned to BGR here, because insightface expects what OpenCV reads.

    model: ``insightface.model_zoo.scrfd.SCRFD`` after ``prepare``, one that gives landmarks.
    provider: what its session really runs, see ``load_detector``.
    """

    name = "insightface"
    canvas = 640

    def __init__(self, model: Any, provider: str) -> None:  # Any: insightface has no type hints
        self.provider = provider
        self._model = model
        height, width = (int(n) if str(n).isdigit() else 0 for n in model.session.get_inputs()[0].shape[2:4])
        self._static_size = (height, width) if height > 0 and width > 0 else None

    def detect(self, image: np.ndarray, threshold: float) -> Detections:
        """Faces in ``image``, (H, W, 3) uint8 RGB; coordinates in its pixels."""
        height, width = image.shape[:2]
        target_h, target_w = self._static_size or tuple(-(-n // STRIDE) * STRIDE for n in (height, width))
        scale = min(1.0, target_h / height, target_w / width)
        if scale < 1.0:
            import cv2

            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        canvas = np.full((target_h, target_w, 3), NEUTRAL, dtype=np.uint8)
        canvas[: image.shape[0], : image.shape[1]] = image[:, :, ::-1]  # RGB -> BGR
        self._model.det_thresh = threshold
        # the canvas has the input's own size, so insightface has nothing left to resize
        rows, points = self._model.detect(canvas, input_size=(target_w, target_h))
        if len(rows) == 0 or points is None:
            return Detections.empty()
        stretch = np.array([width / image.shape[1], height / image.shape[0]])
        return Detections.of(rows[:, :4] * np.tile(stretch, 2), points * stretch, np.clip(rows[:, 4], 0.0, 1.0))
