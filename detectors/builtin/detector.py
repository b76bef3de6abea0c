"""The built-in face detector: scikit-image's LBP cascade proposes, our landmark network decides.

It needs no file but the cascade's XML, which comes in scikit-image's wheel, and 0.8 MB of weights of our own. It finds
upright, roughly frontal faces; for anything harder there are SCRFD and YuNet.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..detector import Detections
from .landmark_net import (
    cut_squares,
    load_landmark_net,
    mirror_points,
    points_on_photo,
    run_landmark_net,
    shaken_squares,
    squares_of_boxes,
    squares_of_points,
)
from .large_faces import agree, propose_large_faces

SMALLEST_BOX = 24  # pixels; the cascade's window, no face can be found below
SCALE_STEP = 1.1  # between two sizes of the cascade's window
STEP_RATIO = 1.5  # its stride in window pixels; with 1.1 it misses no more than 1.2 and 1.0 do, in 60 % of the time
SAME_BOX = 0.4  # intersection over union from which raw boxes are one proposal
SAME_FACE = 0.35  # distance of centres, in sides of the larger square, under which two answers are one face
FOUND = 0.6  # score under which the cascade's best proposal is no face, and a large one is looked for without it
COARSE, FINER = 320, (1280, 2560, 5312)  # long sides at which the picture is searched
MOST_PIXELS = 9.2e6  # of the finest of them
PLAIN, PLAIN_SHARE = 0.9, 0.15  # score and side, in shorter sides of the picture, of a face that ends the search
SQUARE_TO_BOX = 1.2  # side of the aligned square to side of the cascade's box
STEADY_LOGIT = 4.5  # the mean logit of shaken squares at which a score is a half
HINT = 0.3  # score from which a sparse grid's answer is a reason to look closely
SPARSE_SCALE, SPARSE_RATIO = 1.3, 3.0  # the sparse grid's, instead of SCALE_STEP and STEP_RATIO
_FACE_BOX = ((0.14, 0.06), (0.86, 0.94))  # the face's box on its well-placed square (u, v), as SCRFD would draw it


class BuiltinDetector:
    """Frontal-face detector without any downloaded file; see :class:`faces.detector.Detector`.

    cascade_xml_path: ``skimage.data.lbp_frontal_face_cascade_filename()``.
    landmark_state_dict: the tensors of ``models/builtin/face-landmarks.safetensors``.

    ``input_size`` is the long side, in pixels, from which an image had better be given smaller: the smallest face
    found is 24 pixels wide at any size, and time grows with the area. Deterministic, and one instance may be called
    from several threads at once.

    Raises ImportError (what to install) without scikit-image, FileNotFoundError without the XML, ValueError for
    other weights.
    """

    name = "builtin"
    provider = "scikit-image cascade + torch cpu"
    input_size = 5312

    def __init__(self, cascade_xml_path: str | Path, landmark_state_dict: Mapping[str, Tensor]) -> None:
        self._cascade_boxes = self.cascade_boxes_of(cascade_xml_path)
        self.net = load_landmark_net(landmark_state_dict)

    @staticmethod
    def cascade_boxes_of(cascade_xml_path: str | Path) -> Callable[..., np.ndarray]:
        """The bare cascade: (H, W, 3) uint8 or (H, W) float -> its raw boxes, sorted, (M, 4) float64 x0, y0, x1, y1.

        Optional: the largest box's side in pixels, and how much coarser than usual the grid of boxes is.
        """
        try:
            from skimage.feature import Cascade
        except ImportError as error:
            raise ImportError("The built-in detector needs scikit-image: pip install scikit-image") from error
        if not Path(cascade_xml_path).is_file():
            raise FileNotFoundError(
                f"{cascade_xml_path}: the LBP cascade's XML is not there; it comes with scikit-image "
                "(skimage.data.lbp_frontal_face_cascade_filename()); reinstall scikit-image"
            )
        cascade: Any = Cascade(str(cascade_xml_path))

        def boxes(image: np.ndarray, largest: float = math.inf, sparse: bool = False) -> np.ndarray:
            shortest = int(min(*image.shape[:2], largest))
            if shortest < SMALLEST_BOX:
                return np.zeros((0, 4))
            raw = cascade.detect_multi_scale(
                image,
                scale_factor=SPARSE_SCALE if sparse else SCALE_STEP,
                step_ratio=SPARSE_RATIO if sparse else STEP_RATIO,
                min_size=(SMALLEST_BOX, SMALLEST_BOX),
                max_size=(shortest, shortest),
                min_neighbor_number=1,
                intersection_score_threshold=2.0,  # never reached: nothing is merged, every raw box comes back
            )
            found = [(r["c"], r["r"], r["c"] + r["width"], r["r"] + r["height"]) for r in raw]
            return np.array(sorted(found), dtype=np.float64).reshape(-1, 4)

        return boxes

    def detect(self, image: np.ndarray, threshold: float) -> Detections:
        """Faces in ``image`` (H, W, 3) uint8 RGB, at this one scale, with a score of at least ``threshold``.

        Convention: photo coordinates, origin at the image's top-left corner. Scores are calibrated for 0.6.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"expected an RGB image (H, W, 3) uint8, got {image.shape} {image.dtype}")
        grey = image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32) / np.float32(255)
        with torch.no_grad(), torch.autocast("cpu", enabled=False):  # the host's choices do not change the result
            photo = torch.from_numpy(grey)
            answers = self._cascade_answers(photo)
            if not (answers.scores >= max(threshold, FOUND)).any() and min(grey.shape) >= SMALLEST_BOX:
                large = propose_large_faces(self.net, photo)
                judged = self._judge(photo, large)
                # what is a face only at low resolution is none
                answers = _Answers.together([answers, judged.where(agree(judged.squares, large))])
            answers = self._steady(photo, answers.where(answers.scores >= threshold))
        kept = _distinct(answers.squares, answers.scores, threshold)
        answers = answers.where(torch.tensor(kept, dtype=torch.int64, device="cpu"))
        return Detections.of(_boxes(answers.squares), answers.points.numpy(), answers.scores.numpy())

    def _cascade_answers(self, photo: Tensor) -> _Answers:
        """The cascade's proposals in a photo (H, W), coarse to fine, judged on the photo itself.

        The picture is first searched at ``COARSE`` pixels. Finer sizes are searched for faces too small for the one
        before: where no large face is plain, where a sparse grid finds one, and where faces found are that small.
        """
        long, short = max(photo.shape), min(photo.shape)
        sides = [COARSE, *(side for side in FINER if side < 1.3 * long)]
        while len(sides) > 1 and min(sides[-1], long) ** 2 * short / long > MOST_PIXELS:
            sides.pop()
        answers = self._proposed(photo, min(1.0, COARSE / long))
        for coarser, side in itertools.pairwise(sides):
            scale, step = min(1.0, side / long), min(side, long) / coarser
            if step <= 1.0:
                break
            plain = answers.where(answers.scores >= PLAIN)
            small = plain.sides() * coarser / long < 2 * SMALLEST_BOX * SQUARE_TO_BOX
            if len(plain.scores) and not small.any() and (plain.sides() > PLAIN_SHARE * short).any():
                hints = self._proposed(photo, scale, step * SMALLEST_BOX, sparse=True)
                hints = hints.where(hints.scores >= HINT)
                together = _Answers.together([plain, hints])
                if len(_distinct(together.squares, together.scores, HINT)) <= len(
                    _distinct(plain.squares, plain.scores, HINT)
                ):
                    break
            answers = _Answers.together([answers, self._proposed(photo, scale, step * SMALLEST_BOX * 1.1)])
        return answers

    def _proposed(self, photo: Tensor, scale: float, largest: float = math.inf, sparse: bool = False) -> _Answers:
        """The answers to the cascade's boxes up to a side of ``largest`` pixels in the photo reduced by ``scale``."""
        height, width = photo.shape
        small = photo
        if scale < 1:
            size = [max(1, round(height * scale)), max(1, round(width * scale))]
            small = F.interpolate(photo[None, None], size, mode="bilinear", antialias=True)[0, 0]
        boxes = torch.from_numpy(merge_boxes(self._cascade_boxes(small.numpy(), largest, sparse)))
        to_photo = boxes.new_tensor([width / small.shape[1], height / small.shape[0]]).repeat(2)
        return self._judge(photo, squares_of_boxes(boxes * to_photo))

    def _judge(self, grey: Tensor, squares: Tensor) -> _Answers:
        """Refine squares (M, 2, 3), then look at them as they are and mirrored."""
        points, _ = run_landmark_net(self.net, cut_squares(grey, squares))
        squares = squares_of_points(points_on_photo(squares, points))
        seen = cut_squares(grey, squares)
        points, logits = run_landmark_net(self.net, seen)
        mirrored, mirrored_logits = run_landmark_net(self.net, seen.flip(-1))
        points = points_on_photo(squares, (points + mirror_points(mirrored)) / 2)
        return _Answers(squares_of_points(points), points, ((logits + mirrored_logits) / 2).double().sigmoid())

    def _steady(self, grey: Tensor, answers: _Answers) -> _Answers:
        """The answers that are surer upright than upside down, with the scores of squares a little off, if lower.

        Those are beside, larger, smaller and turned. On a face their mean logit is 8 and more; a kitten's is 3.
        """
        if not len(answers.scores):
            return answers
        flip = answers.squares.new_tensor([[-1.0, 0.0, 1.0], [0.0, -1.0, 1.0], [0.0, 0.0, 1.0]])
        upright, over = (self._shaken_logits(grey, squares) for squares in (answers.squares, answers.squares @ flip))
        steady = (upright - STEADY_LOGIT).sigmoid()
        return _Answers(answers.squares, answers.points, torch.minimum(answers.scores, steady)).where(upright > over)

    def _shaken_logits(self, grey: Tensor, squares: Tensor) -> Tensor:
        shaken = shaken_squares(squares)  # [M,K,2,3]
        _, logits = run_landmark_net(self.net, cut_squares(grey, shaken.flatten(0, 1)))
        return logits.view(shaken.shape[:2]).double().mean(1)


class _Answers(NamedTuple):
    """Aligned squares (M, 2, 3), points (M, 5, 2) on the photo, scores (M,), all float64."""

    squares: Tensor
    points: Tensor
    scores: Tensor

    def where(self, chosen: Tensor) -> _Answers:
        """Those of a mask or of indexes."""
        return _Answers(*(part[chosen] for part in self))

    def sides(self) -> Tensor:
        """(M,): the sides of the squares in pixels."""
        return torch.linalg.det(self.squares[:, :, :2]).clamp(min=0).sqrt()

    @staticmethod
    def together(parts: list[_Answers]) -> _Answers:
        """All of several."""
        return _Answers(*(torch.cat(list(column)) for column in zip(*parts, strict=True)))


def merge_boxes(boxes: np.ndarray) -> np.ndarray:
    """Raw boxes (M, 4) to proposals (K, 4): the box with most neighbours takes them in, their mean stays; and so on.

    Deterministic for boxes in a fixed order; neighbours overlap by more than ``SAME_BOX`` (intersection over union).
    """
    if not len(boxes):
        return boxes
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(2)
    near = shared / (area[:, None] + area[None] - shared) > SAME_BOX
    left = np.ones(len(boxes), dtype=bool)
    merged = []
    while left.any():
        first = int(np.argmax((near & left).sum(1) * left))
        members = near[first] & left
        merged.append(boxes[members].mean(0))
        left &= ~members
    return np.array(merged)


def _distinct(squares: Tensor, scores: Tensor, threshold: float) -> list[int]:
    """Indexes of the best answer for every face, best first; answers agree where their refined squares do."""
    half = squares.new_tensor([0.5, 0.5, 1.0])
    centres, sides = squares @ half, torch.linalg.det(squares[:, :, :2]).clamp(min=0).sqrt()
    kept: list[int] = []
    for index in torch.argsort(scores, descending=True, stable=True).tolist():
        if scores[index] < threshold:
            break
        reach = SAME_FACE * torch.maximum(sides[kept], sides[index])
        if not (torch.linalg.norm(centres[kept] - centres[index], dim=-1) < reach).any():
            kept.append(index)
    return kept


def _boxes(squares: Tensor) -> np.ndarray:
    """Upright boxes (M, 4) around the faces on their well-placed squares, as large as on an upright face."""
    (u0, v0), (u1, v1) = _FACE_BOX
    centre = squares @ squares.new_tensor([(u0 + u1) / 2, (v0 + v1) / 2, 1.0])
    half = torch.linalg.det(squares[:, :, :2]).clamp(min=0).sqrt()[:, None] * squares.new_tensor([u1 - u0, v1 - v0]) / 2
    return torch.cat([centre - half, centre + half], -1).numpy()
