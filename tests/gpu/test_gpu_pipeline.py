"""The pipeline with its model on a CUDA device: the CPU's picture, few waits of the host, and a way out when full."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from gpen_pack.detectors import Detections
from gpen_pack.faces import TEMPLATES
from gpen_pack.models import load_gpen
from gpen_pack.restoration import FallbackStep, restore_frames, restore_image

pytestmark = pytest.mark.gpu


class Told:
    """Two faces per frame: one upright, one turned and cut by the border."""

    name = provider = "told"

    def detect(self, image: np.ndarray, threshold: float) -> Detections:
        points = TEMPLATES["gpen"].numpy()
        turned = (points - 0.5) @ np.array([[0.8, 0.6], [-0.6, 0.8]])
        places = np.stack([points * 90 + (30, 20), turned * 300 + (300, 180)])
        return Detections(np.concatenate([places.min(1), places.max(1)], 1), places, np.array([0.9, 0.8]))


def frames(count: int) -> torch.Tensor:
    small = torch.rand(count, 3, 30, 40, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(small, (480, 640), mode="bicubic").clamp(0, 1).permute(0, 2, 3, 1)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"blend_mode": "detail", "color_match": "wavelet", "mask_shape": "ellipse"},
        {"color_match": "mean_std", "scale": 1.5, "mask_shape": "box"},
    ],
)
def test_the_picture_is_that_of_the_cpu(cuda: torch.device, options: dict[str, Any]) -> None:
    image, mask = frames(3), torch.ones(1, 480, 640)
    mask[:, :, 300:] = 0.5
    expected = restore_image(image, load_gpen("builtin"), Told(), mask=mask, **options)
    on_device = load_gpen("builtin", device=cuda, dtype=torch.float32)
    for given in (image, image.to(cuda)):
        result = restore_image(given, on_device, Told(), mask=mask, **options)
        assert result.image.device == given.device
        assert (result.image.cpu() - expected.image).abs().max() < 1 / 255
        assert torch.allclose(result.mask.cpu(), expected.mask, atol=1e-4)
        assert result.report.model is not None and result.report.model["device"] == str(cuda)


def test_the_host_waits_for_a_flag_per_batch_and_for_results(cuda: torch.device) -> None:
    restorer = load_gpen("builtin", device=cuda)
    restorer.batch_size = 4
    list(restore_frames(list(frames(4)), restorer, Told()))  # warm-up: cuDNN, pinned memory
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as waits:
            warnings.simplefilter("always")
            results = list(restore_frames(list(frames(8)), restorer, Told()))
    finally:
        torch.cuda.set_sync_debug_mode(before)
    assert len(results) == 8
    said = [str(entry.message) for entry in waits if "synchron" in str(entry.message)]
    assert len(said) <= 16 / 4, "more than one flag per batch was read"


def test_a_device_without_room_for_the_network_ends_on_the_cpu(cuda: torch.device) -> None:
    on_cpu = load_gpen("builtin")

    def full(needed: int) -> None:
        torch.empty(1 << 50, dtype=torch.uint8, device=cuda)

    step = FallbackStep("on the CPU", lambda: on_cpu)
    result = restore_image(frames(1), load_gpen("builtin", device=cuda), Told(), free_memory=full, fallbacks=[step])
    assert "went on on the CPU" in result.report.text() and result.report.faces_restored == 2


def test_memory_is_given_back(cuda: torch.device) -> None:
    restorer = load_gpen("builtin", device=cuda)
    list(restore_frames(list(frames(2)), restorer, Told()))
    before = torch.cuda.memory_allocated(cuda)
    list(restore_frames(list(frames(12)), restorer, Told()))
    assert torch.cuda.memory_allocated(cuda) <= before
