"""SCRFD, the detector of InsightFace, behind the ``Detector`` interface."""

from __future__ import annotations

import contextlib
import threading
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from .detector import Detections

STRIDE = 32  # the coarsest feature map: inputs must be multiples of it
NEUTRAL = 127  # the model's input mean: padding that is no edge to the network
_CONCURRENT = ("CPUExecutionProvider", "CUDAExecutionProvider")  # their sessions may run several times at once


class ScrfdDetector:
    """One pass of an SCRFD model with landmarks (``insightface.model_zoo.scrfd.SCRFD``), static or dynamic input.

    The image is padded at the right and the bottom to what the model takes; it is resized only where it is larger than
    a static input. Colours are turned to BGR here, because insightface expects what OpenCV reads. May be called from
    several threads at once: nothing is set on the model, the threshold is an argument of its ``forward``.

    model: one that gives landmarks, around a session of ours (``models.restorers.providers.open_session``).
    provider: what its session really runs, ``onnxruntime`` and the name of ONNX Runtime's provider.
    """

    name = "insightface"
    canvas = 640

    def __init__(self, model: Any, provider: str) -> None:  # Any: insightface has no type hints
        self.provider = provider
        self._model = model
        height, width = (int(n) if str(n).isdigit() else 0 for n in model.session.get_inputs()[0].shape[2:4])
        self._static_size = (height, width) if height > 0 and width > 0 else None
        concurrent = provider.split(" ")[-1] in _CONCURRENT
        self._one_at_a_time: AbstractContextManager[Any] = contextlib.nullcontext() if concurrent else threading.Lock()

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
        with self._one_at_a_time:
            scores, boxes, points = (np.concatenate(parts) for parts in self._model.forward(canvas, threshold))
        if not len(scores):
            return Detections.empty()
        rows = np.concatenate([boxes, scores.reshape(-1, 1)], axis=1)  # (M, 5): x0, y0, x1, y1, score
        order = np.argsort(-rows[:, 4], kind="stable")
        kept = order[self._model.nms(rows[order])]
        stretch = np.array([width / image.shape[1], height / image.shape[0]])
        return Detections.of(
            rows[kept, :4] * np.tile(stretch, 2), points[kept] * stretch, np.clip(rows[kept, 4], 0.0, 1.0)
        )
