"""Crops: where they lie, what is beyond the border, and how well they shrink and enlarge."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from gpen_pack.faces.collection import Faces
from gpen_pack.faces.geometry import warp as resample
from gpen_pack.faces.geometry.alignment import apply_affine
from gpen_pack.faces.geometry.crop import crop_faces, crop_size_for
from gpen_pack.faces.geometry.filtering import reflect
from gpen_pack.faces.geometry.templates import TEMPLATES


def turned(side: float, degrees: float, x: float, y: float) -> torch.Tensor:
    """(2, 3): a unit square of ``side`` photo pixels, turned about its centre, which lies at (x, y)."""
    a = math.radians(degrees)
    linear = side * torch.tensor([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]], dtype=torch.float64)
    centre = torch.tensor([[x], [y]], dtype=torch.float64)
    return torch.cat((linear, centre - linear.sum(1, keepdim=True) / 2), 1)


def one_face(images: torch.Tensor, *maps: torch.Tensor, frames: list[int] | None = None) -> Faces:
    landmarks = torch.stack([apply_affine(m, TEMPLATES["gpen"]) for m in maps])
    size = (images.shape[1], images.shape[2])
    return Faces.from_landmarks(landmarks, frames or [0] * len(maps), size, frame_count=images.shape[0])


def square(left: float, top: float, side: float) -> torch.Tensor:
    return torch.tensor([[side, 0, left], [0, side, top]], dtype=torch.float64)


def lanczos(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)


def ideal(scene: Callable[[np.ndarray, np.ndarray], np.ndarray], matrix: torch.Tensor, size: int) -> np.ndarray:
    """The crop of an analytic scene(x, y): dense samples, reduced by Lanczos' kernel over the crop's own pixels."""
    linear, shift = matrix[:, :2].numpy(), matrix[:, 2].numpy()
    per = max(4, math.ceil(3 * math.hypot(*linear[:, 0]) / size))
    t = (np.arange(-3 * per, (size + 3) * per) + 0.5) / per  # in crop pixels, three more at either side
    u, v = np.meshgrid(t / size, t / size)
    dense = scene(linear[0, 0] * u + linear[0, 1] * v + shift[0], linear[1, 0] * u + linear[1, 1] * v + shift[1])
    weights = lanczos((np.arange(size)[:, None] + 0.5) - t)
    weights /= weights.sum(1, keepdims=True)
    return weights @ dense @ weights.T


def photograph(scene: Callable[[np.ndarray, np.ndarray], np.ndarray], height: int, width: int) -> torch.Tensor:
    y, x = np.mgrid[:height, :width] + 0.5
    return torch.from_numpy(scene(x, y)).float()[None, :, :, None].expand(-1, -1, -1, 3)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return -10 * math.log10(float(np.square(a - b).mean()) + 1e-20)


# where


@pytest.mark.parametrize(("left", "top", "side"), [(13, 29, 64), (0, 0, 100), (60, 36, 64)])
def test_a_square_of_whole_pixels_is_the_slice(left: int, top: int, side: int) -> None:
    images = torch.rand(2, 100, 124, 3)
    faces = one_face(images, square(left, top, side), frames=[1])
    crop = crop_faces(images, faces, side)
    assert torch.equal(crop[0], images[1, top : top + side, left : left + side])


def test_x_and_y_and_the_half_pixel() -> None:
    # every pixel says where it is: the crop must say where it was taken
    height, width = 90, 140
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    images = torch.stack((x / width, y / height, torch.zeros_like(x)), -1)[None]
    for side, degrees in [(40, 0), (40, 30), (40, -120), (20, 7), (30, 90)]:
        matrix = turned(side, degrees, 83, 41)
        for size in (16, 33, 128):
            crop = crop_faces(images, one_face(images, matrix), size)[0]
            u = (torch.arange(size, dtype=torch.float64) + 0.5) / size
            uv = torch.stack((u.expand(size, size), u[:, None].expand(size, size)), -1)  # [row, column, (u, v)]
            expected = apply_affine(matrix, uv.reshape(-1, 2)).reshape(size, size, 2)
            near = 0.04 * max(1, side / size)
            assert torch.allclose(crop[..., 0] * width, expected[..., 0].float(), atol=near)
            assert torch.allclose(crop[..., 1] * height, expected[..., 1].float(), atol=near)


def test_landmarks_land_on_the_template() -> None:
    matrix = turned(150, 20, 210, 160)
    landmarks = apply_affine(matrix, TEMPLATES["gpen"])
    y, x = torch.meshgrid(torch.arange(320) + 0.5, torch.arange(400) + 0.5, indexing="ij")
    for k in range(5):
        spot = torch.exp(-((x - landmarks[k, 0]) ** 2 + (y - landmarks[k, 1]) ** 2) / 18).float()
        images = spot[None, :, :, None].expand(-1, -1, -1, 3)
        crop = crop_faces(images, one_face(images, matrix), 512)[0, :, :, 0]
        c = torch.arange(512) + 0.5
        found = torch.stack(((crop.sum(0) * c).sum(), (crop.sum(1) * c).sum())) / crop.sum() / 512
        assert torch.allclose(found.double(), TEMPLATES["gpen"][k], atol=0.1 / 512)


def test_frames_and_the_order_of_faces() -> None:
    images = torch.stack([torch.full((50, 60, 3), value) for value in (0.1, 0.5, 0.9)])
    faces = one_face(images, *[square(10, 10, 30)] * 4, frames=[2, 0, 1, 0])
    assert torch.allclose(crop_faces(images, faces, 20)[:, 3, 4, 0], torch.tensor([0.9, 0.1, 0.5, 0.1]))


def test_frames_of_another_size() -> None:
    images = torch.rand(1, 40, 50, 3)
    faces = one_face(images, square(10, 5, 16))
    twice = images.repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert torch.equal(crop_faces(twice, faces, 32)[0], twice[0, 10:42, 20:52])
    with pytest.raises(ValueError, match="same aspect"):
        crop_faces(images[:, :30], faces, 32)


# the border


@pytest.mark.parametrize("degrees", [0, 33])
@pytest.mark.parametrize("side", [30, 90])
@pytest.mark.parametrize(("x", "y"), [(2.3, 3.4), (47.3, 20.6), (-60.2, 90.3), (400.4, -333.3)])
def test_border_is_mirrored_however_far(degrees: float, side: float, x: float, y: float) -> None:
    images = torch.rand(1, 40, 50, 3)
    periods = 20  # of mirror images at either side
    rows = reflect(torch.arange(-40 * periods, 40 * (periods + 1)), 40)
    columns = reflect(torch.arange(-50 * periods, 50 * (periods + 1)), 50)
    world = images[:, rows][:, :, columns]
    matrix = turned(side, degrees, x, y)
    inside = matrix.clone()
    inside[:, 2] += torch.tensor([50 * periods, 40 * periods], dtype=torch.float64)
    expected = crop_faces(world, one_face(world, inside), 60)
    assert torch.allclose(crop_faces(images, one_face(images, matrix), 60), expected, atol=2e-4)


def test_mirror_repeats_the_edge_pixel() -> None:
    assert reflect(torch.arange(-5, 8), 3).tolist() == [1, 2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0, 1]


@pytest.mark.parametrize("side", [5_000, 200_000])
def test_a_square_of_absurd_size_shows_the_mean(side: float) -> None:
    images = torch.rand(1, 20, 30, 3)
    crop = crop_faces(images, one_face(images, turned(side, 30, 9, 9)), 8)
    assert torch.allclose(crop, images.mean((1, 2)).expand_as(crop), atol=0.01)


# quality


@pytest.mark.parametrize("degrees", [0, 12, 30, 45])
@pytest.mark.parametrize(("side", "size", "finest"), [(800, 150, 1.6), (300, 200, 1.3)])
def test_shrinking_neither_aliases_nor_softens(degrees: float, side: int, size: int, finest: float) -> None:
    # rings that are too fine for the crop where they touch its sides, but not for the photo
    centre, limit = (side * 0.75 + 0.3, side * 0.75 - 0.1), 0.5 * size / side
    rate = finest * limit / (side / 2)  # cycles a pixel, for each pixel of radius

    def scene(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        square = (x - centre[0]) ** 2 + (y - centre[1]) ** 2
        fade = np.clip((0.47 - rate * np.sqrt(square)) / 0.03, 0, 1)
        return 0.5 + 0.45 * fade * np.cos(math.pi * rate * square)

    matrix = turned(side, degrees, *centre)
    images = photograph(scene, round(side * 1.5), round(side * 1.5))
    crop = crop_faces(images, one_face(images, matrix), size)[0, :, :, 0].double().numpy()
    expected = ideal(scene, matrix, size)
    plain = scene(*_centres(matrix, size))  # what point sampling gives
    c = np.arange(size) + 0.5 - size / 2
    radius = np.hypot(c, c[:, None]) / (size / 2)
    disc = radius < 0.97
    assert psnr(crop[disc], expected[disc]) > 28
    assert psnr(plain[disc], expected[disc]) < 20
    # what the crop can hold is there: the contrast of the rings up to 0.7 of its limit
    ring = (radius * finest > 0.2) & (radius * finest < 0.7)
    ratio = (crop[ring] - 0.5).std() / (expected[ring] - 0.5).std()
    assert 0.98 < ratio < 1.03
    # what it cannot hold is gone
    beyond = disc & (radius * finest > 1.4)
    assert not beyond.any() or (crop[beyond] - 0.5).std() < 0.06


def _centres(matrix: torch.Tensor, size: int) -> tuple[np.ndarray, np.ndarray]:
    u = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    v, u = torch.meshgrid(u, u, indexing="ij")
    xy = apply_affine(matrix, torch.stack((u, v), -1).reshape(-1, 2)).reshape(size, size, 2).numpy()
    return xy[..., 0], xy[..., 1]


@pytest.mark.parametrize("degrees", [0, 3, 25, 45, 90])
def test_a_fine_checkerboard_becomes_grey(degrees: float) -> None:
    images = ((torch.arange(1500)[:, None] + torch.arange(1600)) % 2).float()[None, :, :, None].expand(-1, -1, -1, 3)
    crop = crop_faces(images, one_face(images, turned(1400, degrees, 801.3, 749.7)), 256)[0]
    assert (crop[8:-8, 8:-8] - 0.5).abs().max() < 0.004


def test_a_selfie_into_the_largest_crop() -> None:
    # 3000 px into 2048: stripes of 2.4 photo pixels cannot be shown and must not come back as wider ones
    x = torch.arange(3200) + 0.5
    images = (0.5 + 0.5 * torch.cos(2 * math.pi * x / 2.4)).expand(3100, -1)[None, :, :, None].expand(-1, -1, -1, 3)
    faces = one_face(images, turned(3000, 2, 1600, 1550))
    crop = crop_faces(images, faces, 2048)[0]
    assert crop.shape == (2048, 2048, 3)
    assert (crop[20:-20, 20:-20] - 0.5).abs().max() < 0.12


def keys(x: np.ndarray) -> np.ndarray:
    x = np.abs(x)
    return np.where(x < 1, (1.5 * x - 2.5) * x * x + 1, np.where(x < 2, ((-0.5 * x + 2.5) * x - 4) * x + 2, 0))


@pytest.mark.parametrize(("side", "degrees"), [(150, 0), (150, 20), (40, -75)])
def test_enlarging_is_bicubic(astronaut: torch.Tensor, side: float, degrees: float) -> None:
    matrix, size = turned(side, degrees, 225.2, 120.7), 200
    crop = crop_faces(astronaut, one_face(astronaut, matrix), size)[0].double().numpy()
    x, y = _centres(matrix, size)
    left, top = np.floor(x - 0.5).astype(int), np.floor(y - 0.5).astype(int)
    picture, expected = astronaut[0].double().numpy(), np.zeros((size, size, 3))
    for i in range(-1, 3):
        for j in range(-1, 3):
            weight = keys(x - 0.5 - left - j) * keys(y - 0.5 - top - i)
            expected += weight[..., None] * picture[np.clip(top + i, 0, 511), np.clip(left + j, 0, 511)]
    assert psnr(crop, expected.clip(0, 1)) > 47


def test_pieces_make_no_difference(astronaut: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    faces = one_face(astronaut, turned(200, 10, 225, 120), turned(480, -30, 250, 260), turned(300, 80, 20, 500))
    at_once = crop_faces(astronaut, faces, 128)
    monkeypatch.setitem(resample.TILE, "cpu", 37)
    assert torch.allclose(crop_faces(astronaut, faces, 128), at_once, atol=1e-4)


def test_threads_make_no_difference(astronaut: torch.Tensor) -> None:
    faces = one_face(astronaut, turned(200, 10, 225, 120))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = crop_faces(astronaut, faces, 101)
        torch.set_num_threads(3)
        three = crop_faces(astronaut, faces, 101)
    finally:
        torch.set_num_threads(threads)
    assert torch.allclose(one, three, atol=1e-6)


# what it takes


@pytest.mark.parametrize("size", [20, 77, 300])
def test_other_layouts_and_types(size: int) -> None:
    images = torch.rand(2, 90, 80, 3)
    faces = one_face(images, turned(60, 15, 40, 45), turned(70, 0, 10, 10), frames=[1, 0])
    expected = crop_faces(images, faces, size)
    kept = images.clone()
    planar = images.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    assert torch.allclose(crop_faces(planar, faces, size), expected, atol=1e-6)
    alpha = torch.cat((images, torch.rand(2, 90, 80, 1)), -1)
    assert torch.allclose(crop_faces(alpha, faces, size), expected, atol=1e-6)
    wider = torch.rand(2, 100, 95, 3)
    wider[:, 4:94, 3:83] = images
    assert torch.allclose(crop_faces(wider[:, 4:94, 3:83], faces, size), expected, atol=1e-6)
    half = crop_faces(images.half(), faces, size)
    assert half.dtype == torch.float32
    assert torch.allclose(half, expected, atol=2e-3)
    assert torch.equal(images, kept)


def test_result_stays_in_range() -> None:
    images = (torch.rand(1, 100, 100, 3) > 0.5).float()
    for size in (30, 200):
        crop = crop_faces(images, one_face(images, turned(70, 10, 50, 50)), size)
        assert crop.min() >= 0
        assert crop.max() <= 1


@pytest.mark.parametrize("size", [0, -1, 12.5])
def test_bad_size(size: float) -> None:
    images = torch.rand(1, 20, 20, 3)
    with pytest.raises(ValueError, match="whole number"):
        crop_faces(images, one_face(images, square(0, 0, 20)), size)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_pixels_that_are_not_finite(value: float) -> None:
    images = torch.rand(2, 40, 40, 3)
    images[1, 20, 20, 1] = value
    with pytest.raises(ValueError, match=r"frame 1.*not finite.*face 0"):
        crop_faces(images, one_face(images, turned(30, 5, 20, 20), frames=[1]), 64)


def test_no_faces_and_one_pixel() -> None:
    images = torch.rand(1, 30, 40, 3)
    assert crop_faces(images, Faces.empty((30, 40), 1), 64).shape == (0, 64, 64, 3)
    dot = torch.full((1, 1, 1, 3), 0.3)
    assert torch.allclose(crop_faces(dot, one_face(dot, turned(0.7, 10, 0.5, 0.5)), 16), torch.tensor(0.3))


def test_automatic_size() -> None:
    images = torch.zeros(1, 10, 10, 3)
    for side, size in [(30, 256), (256, 256), (257, 512), (1000, 1024), (1025, 2048), (5000, 2048)]:
        assert crop_size_for(one_face(images, square(0, 0, 20), square(0, 0, side))) == size
    assert crop_size_for(Faces.empty((10, 10), 1)) == 256
