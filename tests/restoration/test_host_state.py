"""What a host may have changed in its process does not change a result: default dtype, autocast, default device."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from gpen_pack.detectors import Detections, load_detector
from gpen_pack.faces import crop_faces
from gpen_pack.models import load_gpen
from gpen_pack.restoration import detect, paste, restore_crops, restore_image


@contextlib.contextmanager
def default_dtype() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextlib.contextmanager
def default_device() -> Iterator[None]:
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


def autocast() -> Any:
    return torch.autocast("cpu", dtype=torch.bfloat16)


STATES = {"default dtype": default_dtype, "default device": default_device, "autocast": autocast}


class Told:
    """Where the astronaut's face is, without a detector."""

    name = provider = "told"

    def detect(self, image: Any, threshold: float) -> Detections:
        points = [[[196.0, 112.0], [245.0, 108.0], [226.0, 136.0], [204.0, 165.0], [241.0, 162.0]]]
        return Detections.of([[170.0, 60.0, 275.0, 200.0]], points, [0.9])


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(
    "options",
    [{}, {"blend_mode": "detail", "color_match": "wavelet", "mask_shape": "ellipse"}, {"color_match": "mean_std"}],
)
def test_the_pipeline(astronaut: torch.Tensor, state: str, options: dict[str, Any]) -> None:
    options = {**options, "mask": torch.ones(1, 100, 100) * 0.9, "original_image": astronaut * 0.5, "scale": 1.25}
    plain = restore_image(astronaut, load_gpen("builtin"), Told(), **options)
    with STATES[state]():
        result = restore_image(astronaut, load_gpen("builtin"), Told(), **options)
    assert result.image.dtype == result.mask.dtype == torch.float32 and result.image.device.type == "cpu"
    assert plain.report.faces_restored == result.report.faces_restored == 1
    assert (result.image - plain.image).abs().max() < 1e-5
    assert torch.allclose(result.mask, plain.mask, atol=1e-6)


@pytest.mark.parametrize("state", STATES)
def test_the_stages(astronaut: torch.Tensor, state: str) -> None:
    restorer = load_gpen("builtin")

    def run() -> torch.Tensor:
        found = detect(astronaut, Told())
        assert torch.equal(crop_faces(astronaut, found.faces, 256), found.crops)
        return paste(astronaut, found.faces, restore_crops(found.crops, restorer).restored).image

    plain = run()
    with STATES[state]():
        result = run()
    assert result.dtype == torch.float32 and (result - plain).abs().max() < 1e-5


@pytest.mark.parametrize("state", STATES)
def test_the_built_in_detector(astronaut: torch.Tensor, state: str) -> None:
    detector = load_detector("builtin")
    plain = detect(astronaut, detector).faces
    with STATES[state]():
        found = detect(astronaut, load_detector("builtin")).faces
    assert len(plain) == len(found) == 1
    assert torch.allclose(plain.landmarks, found.landmarks, atol=1e-3)
