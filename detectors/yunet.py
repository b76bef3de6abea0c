"""YuNet, the detector of OpenCV, behind the ``Detector`` interface."""

from __future__ import annotations

import math
import queue
from collections.abc import Callable
from typing import Any

import numpy as np

from .detector import Detections


class YuNetDetector:
    """One pass of ``cv2.FaceDetectorYN`` (OpenCV 4.8 to 5).

    Its points come as right eye, left eye, nose, right and left mouth corner of the person, which in an upright face is
    left eye, right eye, nose, left and right mouth corner as the viewer sees them: the order of ``Detections``.

    Its score is the square root of two probabilities' product; here it is the product, which puts the usual threshold
    of 0.6 where it is for SCRFD: of YuNet's own scores real faces have 0.85 and more, wheels and gravel up to 0.75.

    May be called from several threads at once: OpenCV's object holds the input size and the threshold, so each call
    borrows one that no other call uses; there are as many as calls ever ran at once (3 ms and 1 MB each).

    create: makes a ``cv2.FaceDetectorYN``; called once here, then where all others are in use.
    provider: what runs it, ``opencv``, its version and ``cpu``.

    Raises whatever ``create`` raises.
    """

    name = "yunet"
    canvas = 640

    def __init__(self, create: Callable[[], Any], provider: str = "opencv cpu") -> None:  # a cv2 class without hints
        self.provider = provider
        self._create = create
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._idle.put(create())

    def detect(self, image: np.ndarray, threshold: float) -> Detections:
        """Faces in ``image``, (H, W, 3) uint8 RGB; coordinates in its pixels."""
        try:
            net = self._idle.get_nowait()
        except queue.Empty:
            net = self._create()
        # not given back after an error: what state it is in is unknown
        net.setInputSize((image.shape[1], image.shape[0]))
        net.setScoreThreshold(math.sqrt(max(threshold, 0.0)))
        _, rows = net.detect(np.ascontiguousarray(image[:, :, ::-1]))  # RGB -> BGR
        self._idle.put(net)
        if rows is None or len(rows) == 0:
            return Detections.empty()
        rows = np.asarray(rows, dtype=np.float64)  # (M, 15): x, y, width, height, five points, score
        boxes = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1)
        return Detections.of(boxes, rows[:, 4:14].reshape(-1, 5, 2), np.clip(rows[:, 14], 0.0, 1.0) ** 2)
