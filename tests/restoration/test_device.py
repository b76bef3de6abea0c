"""A frame goes to the working device once and comes back once; between the two nothing is read but one flag per batch.

PyTorch's meta device stands in for an accelerator: it computes shapes only, so whatever wants a value from it shows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gpen_pack.detectors import Detections
from gpen_pack.faces import TEMPLATES
from gpen_pack.faces.geometry import warp
from gpen_pack.restoration import restore_image
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

META = torch.device("meta")
TABLE = 20_000  # values; anything larger that is uploaded is a picture


class Traffic(TorchDispatchMode):
    """Counts what crosses between the host and the meta device, and answers with zeros and True."""

    def __init__(self) -> None:
        super().__init__()
        self.up: list[tuple[int, ...]] = []
        self.down: list[tuple[int, ...]] = []
        self.read: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = str(func)
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        on_meta = any(tensor.device == META for tensor in tensors)
        if on_meta and "_local_scalar_dense" in name:
            self.read.append(name)
            return True
        if on_meta and any(word in name for word in ("nonzero", "masked_select", "is_nonzero", "aten.equal")):
            raise AssertionError(f"{name} makes the host wait")
        if "_to_copy" in name and kwargs.get("device") is not None:
            source, target = args[0].device, torch.device(kwargs["device"])
            if META in (source, target) and source != target:
                (self.up if target == META else self.down).append(tuple(args[0].shape))
                if source == META:
                    return torch.zeros(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        if "aten.copy_" in name and {args[0].device, args[1].device} == {META, torch.device("cpu")}:
            (self.up if args[0].device == META else self.down).append(tuple(args[1].shape))
            return args[0]
        return func(*args, **kwargs)


class OnMeta:
    """A restorer on the meta device that reads one flag per batch, as the real ones do."""

    device = META
    batch_size = 2

    class config:
        in_size = out_size = 64

    def __init__(self) -> None:
        self.calls: list[int] = []

    def restore(self, crops: torch.Tensor) -> torch.Tensor:
        assert crops.device == META, "the crops were not made on the model's device"
        self.calls.append(len(crops))
        result = 1 - crops
        assert bool(torch.isfinite(result).all())
        return result


class Corners:
    """Two faces per frame, one of them turned and cut by the border."""

    name = provider = "test"

    def detect(self, image: np.ndarray, threshold: float) -> Detections:
        points = TEMPLATES["gpen"].numpy()
        turned = (points - 0.5) @ np.array([[0.8, 0.6], [-0.6, 0.8]])
        places = np.stack([points * 90 + (30, 20), turned * 300 + (300, 180)])
        boxes = np.concatenate([places.min(1), places.max(1)], 1)
        return Detections(boxes, places, np.array([0.9, 0.8]))


@pytest.mark.parametrize(
    ("blend_mode", "color_match", "scale"),
    [("linear", "none", 1.0), ("detail", "mean_std", 1.7), ("linear", "wavelet", 1.0)],
)
def test_nothing_is_read_back_but_one_flag_per_batch(
    monkeypatch: pytest.MonkeyPatch, blend_mode: str, color_match: str, scale: float
) -> None:
    monkeypatch.setitem(warp.TILE, "meta", 2048)
    frames, mask = torch.rand(3, 240, 320, 4), torch.rand(3, 240, 320)
    mask[:, ::2] = 1.0
    restorer = OnMeta()
    traffic = Traffic()
    with traffic:
        result = restore_image(
            frames, restorer, Corners(), mask=mask, scale=scale,  # type: ignore[arg-type]
            blend_mode=blend_mode, color_match=color_match,
        )  # fmt: skip
    assert result.report.faces_restored == sum(restorer.calls) > 3
    assert len(traffic.read) == len(restorer.calls), f"read back: {len(traffic.read)} in {len(restorer.calls)} batches"
    pictures = [shape for shape in traffic.up if np.prod(shape) > TABLE]
    assert sorted(pictures) == sorted([(240, 320, 4), (240, 320)] * 3), "a frame and its mask go up once"
    size = (round(240 * scale), round(320 * scale))
    assert sorted(traffic.down) == sorted([(*size, 4), size] * 3), "a result comes back once"


def test_a_frame_without_a_face_is_not_uploaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(warp.TILE, "meta", 2048)

    class Nobody(Corners):
        def detect(self, image: np.ndarray, threshold: float) -> Detections:
            return Detections.empty()

    traffic = Traffic()
    frames = torch.rand(2, 240, 320, 3)
    with traffic:
        result = restore_image(frames, OnMeta(), Nobody())  # type: ignore[arg-type]
    assert not traffic.up and not traffic.down and not traffic.read
    assert torch.equal(result.image, frames)


def test_a_device_that_cannot_warp_leaves_the_frames_on_the_cpu() -> None:
    class Elsewhere(OnMeta):
        def restore(self, crops: torch.Tensor) -> torch.Tensor:
            assert crops.device.type == "cpu"
            return 1 - crops

    frames = torch.rand(1, 240, 320, 3)
    assert restore_image(frames, Elsewhere(), Corners()).report.faces_restored == 2  # type: ignore[arg-type]


@pytest.mark.parametrize("faces", [1, 3])
def test_at_most_three_passes_look_for_values_that_are_not_finite(faces: int) -> None:
    """Full passes over a frame: ``sum`` and ``isfinite`` over as many values as it has."""
    height, width = 240, 320
    counted: list[str] = []

    class Count(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            name = str(func)
            looks = ("aten.sum", "isfinite", "isnan", "aten.isinf", "nan_to_num")
            if any(word in name for word in looks) and args[0].numel() >= height * width * 3:
                counted.append(name)
            return func(*args, **(kwargs or {}))

    class Cpu(OnMeta):
        device = torch.device("cpu")

        def restore(self, crops: torch.Tensor) -> torch.Tensor:
            return 1 - crops

    class Some(Corners):
        def detect(self, image: np.ndarray, threshold: float) -> Detections:
            found = super().detect(image, threshold)
            which = np.array([0] * faces)
            spread = np.arange(faces)[:, None] * 95.0
            boxes, points = found.boxes[which], found.landmarks[which]
            return Detections(
                boxes + np.concatenate([spread, spread * 0] * 2, 1),
                points + np.stack([spread, spread * 0], -1),
                found.scores[which],
            )

    with Count():
        report = restore_image(torch.rand(1, height, width, 3), Cpu(), Some()).report  # type: ignore[arg-type]
    assert report.faces_restored == faces
    assert len(counted) <= 3, counted
