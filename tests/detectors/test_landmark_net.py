"""The landmark network, the squares it looks at, its weights, and the examples it learns from."""

from __future__ import annotations

import math

import pytest
import torch
from gpen_pack.detectors.builtin.landmark_net import (
    INPUT_SIDE,
    MEAN_FACE,
    LandmarkNet,
    centres_of_mass,
    cut_squares,
    load_landmark_net,
    points_on_photo,
    squares_of_boxes,
    squares_of_points,
)

EYE = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], dtype=torch.float64)


def upright(x: float, y: float, side: float) -> torch.Tensor:
    return torch.tensor([[[side, 0.0, x], [0.0, side, y]]], dtype=torch.float64)


def test_squares_of_points_finds_the_similarity_back() -> None:
    angle, side = math.radians(30), 70.0
    a, b = side * math.cos(angle), side * math.sin(angle)
    square = torch.tensor([[[a, -b, 12.0], [b, a, -5.0]]], dtype=torch.float64)
    points = points_on_photo(square, MEAN_FACE[None])
    assert torch.allclose(squares_of_points(points), square, atol=1e-9)
    # turning by +30° in (x right, y down) moves the right eye down
    assert points[0, 1, 1] > points[0, 0, 1]


def test_squares_of_points_is_the_least_squares_fit() -> None:
    generator = torch.Generator().manual_seed(1)
    points = MEAN_FACE + 0.05 * torch.randn(1, 5, 2, generator=generator, dtype=torch.float64)
    square = squares_of_points(points)
    best = (points_on_photo(square, MEAN_FACE[None]) - points).square().sum()
    a, b, x, y = square[0, 0, 0], square[0, 1, 0], square[0, 0, 2], square[0, 1, 2]
    for index in range(4):
        for nudge in (-1e-3, 1e-3):
            q = torch.stack([a, b, x, y])
            q[index] += nudge
            other = torch.stack([torch.stack([q[0], -q[1], q[2]]), torch.stack([q[1], q[0], q[3]])])[None]
            assert (points_on_photo(other, MEAN_FACE[None]) - points).square().sum() > best


def test_squares_of_boxes_are_larger_and_lower() -> None:
    square = squares_of_boxes(torch.tensor([[100.0, 40.0, 150.0, 90.0]]))
    assert torch.allclose(square, upright(95.0, 38.0, 60.0))


def test_a_square_of_64_pixels_is_a_plain_cut() -> None:
    photo = torch.rand(90, 120)
    assert torch.allclose(cut_squares(photo, upright(31.0, 7.0, 64.0))[0, 0], photo[7:71, 31:95], atol=1e-4)


def test_large_squares_are_averaged_not_skipped() -> None:
    photo = torch.rand(256, 200)
    wanted = torch.nn.functional.avg_pool2d(photo[None, None, 10:202, 4:196], 3)
    assert torch.allclose(cut_squares(photo, upright(4.0, 10.0, 192.0)), wanted, atol=1e-4)


def test_squares_of_many_sizes_in_one_call_equal_single_calls() -> None:
    photo = torch.rand(200, 300)
    squares = torch.cat([upright(3, 4, 30), upright(100, 20, 150), upright(40, 10, 50), upright(-20, 90, 150)])
    together = cut_squares(photo, squares)
    for index in range(4):
        assert torch.equal(together[index], cut_squares(photo, squares[index : index + 1])[0])


def test_columns_are_x_and_rows_are_y() -> None:
    ramp = torch.arange(100.0).expand(80, 100)  # grows with x
    cut = cut_squares(ramp, upright(10.0, 10.0, 64.0))[0, 0]
    assert torch.allclose(cut[5], torch.arange(10.0, 74.0), atol=1e-3)
    assert torch.allclose(cut[:, 5], torch.full((64,), 15.0), atol=1e-3)


def test_centres_of_mass_find_a_peak() -> None:
    heat = torch.full((1, 2, 16, 16), -30.0)
    heat[0, 0, 3, 10] = 30.0
    heat[0, 1, 12, 0:2] = 30.0
    points = centres_of_mass(heat)
    assert torch.allclose(points, torch.tensor([[[10.5 / 16, 3.5 / 16], [1 / 16, 12.5 / 16]]]), atol=1e-6)


def test_brightness_and_contrast_do_not_matter() -> None:
    net = LandmarkNet().eval()
    x = torch.rand(2, 1, INPUT_SIDE, INPUT_SIDE)
    with torch.no_grad():
        points, logits = net(x)
        other_points, other_logits = net(3 * x + 5)
    assert torch.allclose(points, other_points, atol=0.01)
    assert torch.allclose(logits, other_logits, atol=0.1)


def test_foreign_weights_are_refused_by_name() -> None:
    state = LandmarkNet().state_dict()
    del state["heat.weight"]
    with pytest.raises(ValueError, match=r"heat\.weight"):
        load_landmark_net(state)
    with pytest.raises(ValueError, match="got 1"):
        load_landmark_net({"generator.input.input": torch.zeros(1, 4, 4, 4)})


def test_the_shipped_weights_are_small_half_and_sound(root) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    path = root / "models/builtin/face-landmarks.safetensors"
    assert path.stat().st_size < 1_000_000
    state = safetensors.load_file(path)
    assert {value.dtype for value in state.values()} == {torch.float16}
    assert all(value.isfinite().all() for value in state.values())
    net = load_landmark_net(state)
    assert next(net.parameters()).dtype == torch.float32
    assert not net.training


def test_the_card_is_beside_the_weights(root) -> None:
    card = (root / "models/builtin/face-landmarks.md").read_text(encoding="utf-8")
    for word in ("public domain", "held out", "adults", "SCRFD", "training/landmarks.py"):
        assert word in card
