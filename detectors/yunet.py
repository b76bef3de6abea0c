"""YuNet, the detector of OpenCV, behind the ``Detector`` interface."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .detector import Detections


class YuNetDetector:
    """One pass of ``cv2.FaceDetectorYN`` (OpenCV 4.8 to 5).

    Its points come as right eye, left eye, nose, right and left mouth corner of the person, which in an upright face is
    left eye, right eye, nose, left and right mouth corner as the viewer sees them: the order of ``Detections``.

    Its score is the square root of two probabilities' product; here it is the product, which puts the usual threshold
    of 0.6 where it is for SCRFD: of YuNet's own scores real faces have 0.85 and more, wheels and gravel up to 0.75.

    net: ``cv2.FaceDetectorYN``; its input size and score threshold are set here at every pass.
    provider: what runs it, see ``load_detector``.
    """

    name = "yunet"
    canvas = 640

    def __init__(self, net: Any, provider: str = "opencv cpu") -> None:  # Any: a cv2 class without type hints
        self.provider = provider
        self._net = net

    def detect(self, image: np.ndarray, threshold: float) -> Detections:
        """Faces in ``image``, (H, W, 3) uint8 RGB; coordinates in its pixels."""
        self._net.setInputSize((image.shape[1], image.shape[0]))
        self._net.setScoreThreshold(math.sqrt(max(threshold, 0.0)))
        _, rows = self._net.detect(np.ascontiguousarray(image[:, :, ::-1]))  # RGB -> BGR
        if rows is None or len(rows) == 0:
            return Detections.empty()
        rows = np.asarray(rows, dtype=np.float64)  # (M, 15): x, y, width, height, five points, score
        boxes = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1)
        return Detections.of(boxes, rows[:, 4:14].reshape(-1, 5, 2), np.clip(rows[:, 14], 0.0, 1.0) ** 2)
