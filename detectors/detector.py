"""What a face detector is to the rest of the pack: one look at one picture at one scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..models import CheckCancel, never_cancelled


@dataclass(frozen=True)
class Detections:
    """Raw results of one pass, best or not, sorted or not, possibly broken: ``merging`` decides what is kept.

    Convention: (x, y) in pixels of the image given, continuous, origin at its top-left corner. Landmarks are left eye,
    right eye, nose, left and right mouth corner as the viewer sees them: in an upright face the left eye has the
    smaller x.

    boxes: (M, 4) float64, x0, y0, x1, y1; may reach beyond the image
    landmarks: (M, 5, 2) float64
    scores: (M,) float64 in [0, 1]
    """

    boxes: np.ndarray
    landmarks: np.ndarray
    scores: np.ndarray

    def __post_init__(self) -> None:
        m = len(self.scores)
        expected = ((m, 4), (m, 5, 2), (m,))
        got = (np.shape(self.boxes), np.shape(self.landmarks), np.shape(self.scores))
        if got != expected:
            raise ValueError(f"boxes, landmarks, scores must have the shapes {expected}, got {got}")

    def __len__(self) -> int:
        return len(self.scores)

    @staticmethod
    def of(boxes: object, landmarks: object, scores: object) -> Detections:
        """From any array-likes, also from empty ones of any shape; copies to float64."""
        score_array = np.array(scores, dtype=np.float64).reshape(-1)
        m = len(score_array)
        return Detections(
            np.array(boxes, dtype=np.float64).reshape(m, 4),
            np.array(landmarks, dtype=np.float64).reshape(m, 5, 2),
            score_array,
        )

    @staticmethod
    def empty() -> Detections:
        """No face."""
        return Detections(np.zeros((0, 4)), np.zeros((0, 5, 2)), np.zeros(0))


class Detector(Protocol):
    """One pass of a face detector. Scales, tiles, rotations and merging are ``detect_faces``'s business.

    One instance may be called from several threads at once.

    Two optional attributes say how it wants to be used:

    * ``canvas: int``, a network for views of at most this side, 640, which sees faces of 20 to 300 pixels well: it is
      shown every picture at several scales, in tiles, and every find once more close up, several in one pass.
    * ``input_size: int``, a detector that looks for faces of all sizes by itself: it is shown whole pictures, with
      this long side at most. Without either attribute whole pictures come at their own size.
    """

    @property
    def name(self) -> str:
        """``insightface``, ``yunet`` or ``builtin``."""
        ...

    @property
    def provider(self) -> str:
        """What really runs the network, for example ``onnxruntime CPUExecutionProvider``."""
        ...

    def detect(self, image: np.ndarray, threshold: float) -> Detections:
        """Faces in ``image``, (H, W, 3) uint8 RGB, contiguous, with a score of at least ``threshold``."""
        ...


class Passes:
    """The passes of a detector over one frame: ``check_cancel`` is asked before each of them."""

    def __init__(self, detector: Detector, check_cancel: CheckCancel = never_cancelled) -> None:
        self._detector, self._check_cancel = detector, check_cancel
        self.canvas: int | None = getattr(detector, "canvas", None)
        self.input_size: int | None = getattr(detector, "input_size", None)

    def detect(self, image: np.ndarray, threshold: float) -> Detections:
        """One pass, see ``Detector.detect``. Raises whatever ``check_cancel`` raises."""
        self._check_cancel()
        return self._detector.detect(image, threshold)
