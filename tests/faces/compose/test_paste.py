"""Paste: what changes and what must not, how overlaps and masks combine, and how well a large face shrinks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from gpen_pack.faces.collection import Faces
from gpen_pack.faces.compose.masks import MASK_SHAPES, FaceMask
from gpen_pack.faces.compose.paste import paste_faces, paste_into
from gpen_pack.faces.geometry.alignment import apply_affine, invert_affine
from gpen_pack.faces.geometry.crop import crop_faces
from gpen_pack.faces.geometry.templates import TEMPLATES


def turned(side: float, degrees: float, x: float, y: float) -> torch.Tensor:
    """(2, 3): a unit square of ``side`` photo pixels, turned about its centre, which lies at (x, y)."""
    a = math.radians(degrees)
    linear = side * torch.tensor([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]], dtype=torch.float64)
    centre = torch.tensor([[x], [y]], dtype=torch.float64)
    return torch.cat((linear, centre - linear.sum(1, keepdim=True) / 2), 1)


def faces_in(images: torch.Tensor, *maps: torch.Tensor, frames: list[int] | None = None) -> Faces:
    landmarks = torch.stack([apply_affine(m, TEMPLATES["gpen"]) for m in maps])
    size = (images.shape[1], images.shape[2])
    return Faces.from_landmarks(landmarks, frames or [0] * len(maps), size, frame_count=images.shape[0])


def psnr(a: torch.Tensor | np.ndarray, b: torch.Tensor | np.ndarray) -> float:
    return -10 * math.log10(float(((a - b) ** 2).mean()) + 1e-20)


# what changes


@pytest.mark.parametrize("shape", MASK_SHAPES)
@pytest.mark.parametrize("degrees", [0, 21])
def test_mask_is_the_weight_really_used(shape: str, degrees: float) -> None:
    images = torch.zeros(1, 120, 160, 3)
    faces = faces_in(images, turned(90, degrees, 77.3, 60.6))
    image, mask = paste_faces(images, faces, torch.ones(1, 200, 200, 3), 0.1, shape)
    assert image.shape == (1, 120, 160, 3)
    assert torch.allclose(image, mask[..., None].expand_as(image), atol=1e-5)
    assert mask.max() == 1
    assert mask.min() == 0
    own = FaceMask.of(faces, 0, 0.1, shape)
    x0, y0, x1, y1 = own.box
    assert torch.equal(mask[0, y0:y1, x0:x1], own.weights())


@pytest.mark.parametrize("levels", [255, 65535])
@pytest.mark.parametrize("shape", MASK_SHAPES)
def test_pixels_outside_the_mask_are_the_same_bits(levels: int, shape: str) -> None:
    images = torch.randint(0, levels + 1, (2, 90, 110, 4)).float() / levels
    kept = images.clone()
    faces = faces_in(images, turned(50, 30, 40, 40), turned(60, -10, 105, 80), frames=[1, 1])
    restored = torch.rand(2, 64, 64, 3)
    image, mask = paste_faces(images, faces, restored, 0.2, shape)
    assert torch.equal(images, kept)
    untouched = mask == 0
    assert torch.equal(image[untouched], images[untouched])
    assert torch.equal(image[..., 3], images[..., 3])
    assert torch.equal(image[0], images[0])
    assert not torch.equal(image[1], images[1])
    assert (image[mask == 1][:, :3] != images[mask == 1][:, :3]).float().mean() > 0.99


def test_infinite_and_negative_zero_pixels_outside_stay() -> None:
    images = torch.rand(1, 60, 60, 3)
    images[0, 0, 0] = float("inf")
    images[0, 20, 2] = float("nan")
    images[0, 15, 15] = -0.0  # inside the face's rectangle, outside its shape
    faces = faces_in(images, turned(50, 45, 30, 30))
    image, mask = paste_faces(images, faces, torch.rand(1, 32, 32, 3))
    assert mask[0, 15, 15] == 0
    assert torch.equal(image.view(torch.int32)[mask == 0], images.view(torch.int32)[mask == 0])


def test_restored_face_lies_where_its_pixels_belong() -> None:
    # the restored face says where it lies in its crop; x and y must not be swapped, nor shifted by half a pixel
    side = 128
    c = (torch.arange(side) + 0.5) / side
    restored = torch.stack((c.expand(side, side), c[:, None].expand(side, side), torch.zeros(side, side)), -1)[None]
    images = torch.rand(1, 100, 150, 3)
    for size, degrees in [(70, 0), (70, 25), (30, -100), (300, 10)]:
        matrix = turned(size, degrees, 80.2, 47.7)
        image, mask = paste_faces(images, faces_in(images, matrix), restored, 0.05, "box")
        i, j = torch.nonzero(mask[0] == 1, as_tuple=True)
        uv = apply_affine(invert_affine(matrix), torch.stack((j + 0.5, i + 0.5), -1)).float()
        coarser = max(1 / side, 1 / size)
        inner = ((uv > 4 * coarser) & (uv < 1 - 4 * coarser)).all(1)  # no filter looks over the crop's border from here
        assert inner.sum() > 400
        assert torch.allclose(image[0, i, j, :2][inner], uv[inner], atol=0.04 * coarser)


def test_a_crop_of_whole_pixels_is_pasted_as_it_is() -> None:
    images = torch.rand(1, 100, 120, 3)
    restored = torch.rand(1, 64, 64, 3)
    matrix = torch.tensor([[64, 0, 23], [0, 64, 11]], dtype=torch.float64)
    image, mask = paste_faces(images, faces_in(images, matrix), restored, 0.1)
    full = mask[0] == 1
    assert full.sum() > 500
    laid = images[0].clone()
    laid[11:75, 23:87] = restored[0]
    assert torch.equal(image[0][full], laid[full])


@pytest.mark.parametrize("size", [256, 512, 1024])
def test_untouched_crops_change_almost_nothing(astronaut: torch.Tensor, size: int) -> None:
    faces = faces_in(astronaut, turned(194, 3, 223.7, 118.4))
    image, mask = paste_faces(astronaut, faces, crop_faces(astronaut, faces, size))
    touched = mask > 0
    assert touched.sum() > 10000
    assert psnr(image[touched], astronaut[touched]) > 41


# overlaps and masks


def test_overlapping_faces_leave_no_seam() -> None:
    images = torch.full((1, 100, 160, 3), 0.2)
    faces = faces_in(images, turned(80, 10, 60, 50), turned(80, -10, 85, 52))
    image, mask = paste_faces(images, faces, torch.full((2, 64, 64, 3), 0.8), 0.2, "box")
    single = [faces[[k]] for k in range(2)]
    weights = [paste_faces(images, face, torch.full((1, 64, 64, 3), 0.8), 0.2, "box")[1] for face in single]
    assert torch.allclose(mask, 1 - (1 - weights[0]) * (1 - weights[1]), atol=1e-6)
    assert ((weights[0] > 0.1) & (weights[1] > 0.1)).sum() > 1000
    # where both are whole faces of one grey there is that grey, and nowhere a step
    assert torch.allclose(image, 0.2 + 0.6 * mask[..., None], atol=1e-5)
    assert image[0, :, :, 0].diff(dim=1).abs().max() < 0.1


def test_the_later_face_lies_on_top() -> None:
    images = torch.zeros(1, 80, 80, 3)
    faces = faces_in(images, turned(60, 0, 38, 40), turned(60, 0, 42, 40))
    restored = torch.stack([torch.full((32, 32, 3), 0.3), torch.full((32, 32, 3), 0.9)])
    assert paste_faces(images, faces, restored)[0][0, 45, 40, 0] == pytest.approx(0.9, abs=1e-5)
    swapped = paste_faces(images, faces[[1, 0]], restored.flip(0))[0]
    assert swapped[0, 45, 40, 0] == pytest.approx(0.3, abs=1e-5)


def test_users_mask_multiplies() -> None:
    images = torch.zeros(2, 80, 100, 3)
    faces = faces_in(images, turned(60, 0, 50, 40), turned(60, 0, 50, 40), frames=[0, 1])
    restored = torch.ones(2, 32, 32, 3)
    plain = paste_faces(images, faces, restored)[1]
    user = torch.zeros(2, 80, 100)
    user[0, :, 50:] = 1
    user[1] = 0.25
    image, mask = paste_faces(images, faces, restored, mask=user)
    assert torch.allclose(mask, plain * user, atol=1e-6)
    assert torch.allclose(image, mask[..., None].expand_as(image), atol=1e-5)
    assert torch.equal(image[0, :, :50], images[0, :, :50])
    one_for_all = paste_faces(images, faces, restored, mask=user[:1])[1]
    assert torch.allclose(one_for_all, plain * user[:1], atol=1e-6)
    halves = torch.tensor([[[0.0, 1.0]]]).repeat_interleave(4, 2)
    resized = paste_faces(images, faces, restored, mask=halves)[1]
    assert (resized[:, :, :37] == 0).all()
    assert torch.allclose(resized[:, :, 63:], plain[:, :, 63:], atol=1e-6)
    assert torch.equal(paste_faces(images, faces, restored, mask=torch.zeros(1, 64, 64))[1], plain)
    assert paste_faces(images, faces, restored, mask=torch.zeros(1, 32, 32))[1].max() == 0
    with pytest.raises(ValueError, match="expected 1 or 2, got 3"):
        paste_faces(images, faces, restored, mask=torch.ones(3, 8, 8))


def test_in_place_on_buffers_is_the_same() -> None:
    images = torch.rand(1, 80, 100, 4)
    faces = faces_in(images, turned(60, 5, 45, 40), turned(40, 0, 60, 50))
    restored = torch.rand(2, 48, 48, 3)
    user = torch.rand(1, 20, 25)
    image, mask = paste_faces(images, faces, restored, 0.2, "ellipse", user)
    frame, frame_mask = images[0].clone(), torch.zeros(80, 100)
    for k in range(2):  # face by face, as they come out of the network
        paste_into(frame, frame_mask, faces[[k]], restored[[k]], 0.2, "ellipse", user[0])
    assert torch.equal(frame, image[0])
    assert torch.equal(frame_mask, mask[0])
    wider = torch.zeros(90, 120, 4)
    view = wider[5:85, 10:110]
    view.copy_(images[0])
    paste_into(view, torch.zeros(80, 100), faces, restored, 0.2, "ellipse", user)
    assert torch.equal(view, image[0])
    assert wider[:5].abs().max() == wider[:, 110:].abs().max() == 0


# quality


def lanczos(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)


@pytest.mark.parametrize("degrees", [0, 8, 20, 45, -70])
def test_a_large_face_shrinks_without_aliasing_or_softness(degrees: float) -> None:
    # a 1024 px face into 200 px: rings up to 1.5 times as fine as the photo's pixels
    side, size = 1024, 200
    rate = 1.5 * 0.5 * size / side / (side / 2)  # cycles a crop pixel, for each crop pixel of radius

    def scene(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return 0.5 + 0.45 * np.cos(math.pi * rate * ((x - side / 2) ** 2 + (y - side / 2) ** 2))

    y, x = np.mgrid[:side, :side] + 0.5
    restored = torch.from_numpy(scene(x, y)).float()[None, :, :, None].expand(-1, -1, -1, 3)
    images = torch.rand(1, 300, 310, 3)
    matrix = turned(size, degrees, 155.3, 150.2)
    image, mask = paste_faces(images, faces_in(images, matrix), restored, 0.02, "box")
    pasted = image[0, 60:240, 65:245, 0].double().numpy()

    per = 12  # dense samples a photo pixel, reduced by Lanczos' kernel over the photo's pixels
    back = invert_affine(matrix).numpy() * side
    across, down = (np.arange(-3 * per, (180 + 3) * per) + 0.5) / per + 65, 0
    down = across - 5
    gx, gy = np.meshgrid(across, down)
    dense = scene(back[0, 0] * gx + back[0, 1] * gy + back[0, 2], back[1, 0] * gx + back[1, 1] * gy + back[1, 2])
    weights = lanczos(np.arange(180)[:, None] + 65.5 - across)
    weights /= weights.sum(1, keepdims=True)
    expected = weights @ dense @ weights.T

    c = np.arange(180) + 0.5
    radius = np.hypot(c + 65 - 155.3, (c + 60 - 150.2)[:, None]) / (size / 2)
    disc = (radius < 0.85) & (mask[0, 60:240, 65:245] == 1).numpy()
    assert psnr(pasted[disc], expected[disc]) > 29
    centres = scene(
        back[0, 0] * (c + 65) + back[0, 1] * (c + 60)[:, None] + back[0, 2],
        back[1, 0] * (c + 65) + back[1, 1] * (c + 60)[:, None] + back[1, 2],
    )
    assert psnr(centres[disc], expected[disc]) < 20  # what a warp without a prefilter gives
    shown = disc & (radius > 0.15) & (radius < 0.5)
    assert 0.98 < (pasted[shown] - 0.5).std() / (expected[shown] - 0.5).std() < 1.03


@pytest.mark.parametrize("degrees", [0, 10, 45])
@pytest.mark.parametrize("shape", MASK_SHAPES)
def test_a_fine_checkerboard_becomes_grey(degrees: float, shape: str) -> None:
    side = 2048
    restored = ((torch.arange(side)[:, None] + torch.arange(side)) % 2).float()[None, :, :, None].expand(-1, -1, -1, 3)
    images = torch.full((1, 330, 340, 3), 0.5)
    image, _ = paste_faces(images, faces_in(images, turned(300, degrees, 171, 163)), restored, 0.1, shape)
    assert (image - 0.5).abs().max() < 0.005


def test_enlarged_canvas_shows_the_large_face(astronaut: torch.Tensor) -> None:
    # the astronaut plays the restored face; on a canvas eight times as large it comes back at its own size
    images = torch.zeros(1, 64, 64, 3)
    matrix = torch.tensor([[64, 0, 0], [0, 64, 0]], dtype=torch.float64)
    image, mask = paste_faces(torch.zeros(1, 512, 512, 3), faces_in(images, matrix), astronaut)
    assert torch.equal(image[mask == 1], astronaut[mask == 1])


# what it takes


def test_no_faces_returns_the_image_whatever_restored_holds() -> None:
    images = torch.rand(2, 30, 40, 3)
    for restored in (torch.zeros(1, 64, 64, 3), torch.full((3, 5, 7, 1), float("nan")), torch.zeros(0)):
        image, mask = paste_faces(images, Faces.empty((30, 40), 2), restored)
        assert torch.equal(image, images)
        assert mask.shape == (2, 30, 40)
        assert mask.max() == 0


@pytest.mark.parametrize("side", [1, 7, 33, 512])
def test_restored_of_any_square_size(side: int) -> None:
    images = torch.rand(1, 60, 60, 3)
    faces = faces_in(images, turned(40, 0, 30, 30))
    image, _ = paste_faces(images, faces, torch.full((1, side, side, 3), 0.75))
    assert image[0, 32, 30].tolist() == pytest.approx([0.75] * 3, abs=1e-4)


def test_other_layouts_and_types() -> None:
    images = torch.rand(1, 60, 70, 3)
    faces = faces_in(images, turned(40, 12, 30, 30))
    restored = torch.rand(1, 90, 90, 3)
    expected, mask = paste_faces(images, faces, restored)
    planar = images.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    assert torch.equal(paste_faces(planar, faces, restored)[0], expected)
    planar = restored.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    assert torch.allclose(paste_faces(images, faces, planar)[0], expected, atol=1e-6)
    alpha = torch.cat((restored, torch.rand(1, 90, 90, 1)), -1)
    assert torch.allclose(paste_faces(images, faces, alpha)[0], expected, atol=1e-6)
    half, half_mask = paste_faces(images.half(), faces, restored.half())
    assert half.dtype == half_mask.dtype == torch.float32
    assert torch.allclose(half, expected, atol=2e-3)
    assert torch.equal(half[mask == 0], images.half().float()[mask == 0])
    graded = restored.clone().requires_grad_()
    assert not paste_faces(images, faces, graded)[0].requires_grad
    expanded = images[:, :1, :1].expand(1, 60, 70, 3)
    paste_faces(expanded, faces, restored)  # one pixel's memory must not be written many times
    assert torch.equal(expanded[0, 0, 0], images[0, 0, 0])


def test_restored_out_of_range_is_clipped() -> None:
    images = torch.rand(1, 60, 60, 3)
    faces = faces_in(images, turned(40, 0, 30, 30))
    image, _ = paste_faces(images, faces, torch.full((1, 64, 64, 3), 1.5))
    assert image.max() <= 1


def test_faces_outside_the_photo_change_nothing() -> None:
    images = torch.rand(1, 60, 60, 3)
    faces = faces_in(images, turned(40, 0, -100, 30), turned(40, 20, 30, 500))
    image, mask = paste_faces(images, faces, torch.rand(2, 64, 64, 3))
    assert torch.equal(image, images)
    assert mask.max() == 0


@pytest.mark.parametrize(
    ("restored", "message"),
    [
        (torch.zeros(1, 8, 8, 3), r"expected 2 picture\(s\).*got 1"),
        (torch.zeros(3, 8, 8, 3), r"expected 2 picture\(s\).*got 3"),
        (torch.zeros(2, 8, 9, 3), r"square faces \(M, S, S, 3\), got \(2, 8, 9, 3\)"),
        (torch.zeros(2, 3, 8, 8), "square faces"),
        (torch.zeros(8, 8, 3), "square faces"),
    ],
)
def test_restored_that_does_not_belong(restored: torch.Tensor, message: str) -> None:
    images = torch.rand(1, 60, 60, 3)
    faces = faces_in(images, turned(40, 0, 20, 30), turned(40, 0, 40, 30))
    with pytest.raises(ValueError, match=message):
        paste_faces(images, faces, restored)
    frame = images[0].clone()
    with pytest.raises(ValueError, match=message):
        paste_into(frame, torch.zeros(60, 60), faces, restored)
    assert torch.equal(frame, images[0])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_restored_that_is_not_finite(value: float) -> None:
    images = torch.rand(1, 60, 60, 3)
    before = images.clone()
    faces = faces_in(images, turned(40, 0, 20, 30), turned(40, 0, 40, 30))
    restored = torch.rand(2, 32, 32, 3)
    restored[1, 16, 16, 0] = value
    with pytest.raises(ValueError, match=r"face 1 holds values that are not finite.*wider precision"):
        paste_faces(images, faces, restored)
    assert torch.equal(images, before)
    with pytest.raises(ValueError, match=r"face 1 holds values that are not finite"):
        paste_into(images[0], torch.zeros(60, 60), faces, restored)


def test_a_corner_that_no_mask_shows_is_not_looked_at() -> None:
    images = torch.rand(1, 60, 60, 3)
    faces = faces_in(images, turned(40, 0, 30, 30))
    restored = torch.rand(1, 320, 320, 3)
    expected = paste_faces(images, faces, restored)[0]
    restored[0, 0, 319] = float("nan")
    assert torch.equal(paste_faces(images, faces, restored)[0], expected)


def test_images_that_do_not_belong() -> None:
    images = torch.rand(2, 60, 80, 3)
    faces = faces_in(images, turned(40, 0, 20, 30), frames=[1])
    restored = torch.rand(1, 8, 8, 3)
    with pytest.raises(ValueError, match=r"expected 2 frame\(s\).*got 1"):
        paste_faces(images[:1], faces, restored)
    with pytest.raises(ValueError, match="same aspect"):
        paste_faces(images[:, :, :70], faces, restored)
    with pytest.raises(ValueError, match="same aspect"):
        paste_into(torch.rand(60, 60, 3), torch.zeros(60, 60), faces, restored)
    assert paste_faces(torch.rand(2, 121, 160, 3), faces, restored)[0].shape == (2, 121, 160, 3)


@pytest.mark.parametrize(
    ("frame", "frame_mask"),
    [
        (torch.zeros(60, 80, 3, dtype=torch.float16), torch.zeros(60, 80)),
        (torch.zeros(60, 80, 1), torch.zeros(60, 80)),
        (torch.zeros(1, 60, 80, 3), torch.zeros(60, 80)),
        (torch.zeros(60, 80, 3), torch.zeros(80, 60)),
        (torch.zeros(60, 80, 3), torch.zeros(60, 80, dtype=torch.float64)),
    ],
)
def test_bad_buffers(frame: torch.Tensor, frame_mask: torch.Tensor) -> None:
    faces = faces_in(torch.zeros(1, 60, 80, 3), turned(40, 0, 20, 30))
    with pytest.raises(ValueError, match=r"expected.*float32, got"):
        paste_into(frame, frame_mask, faces, torch.rand(1, 8, 8, 3))


def test_bad_settings_before_any_work() -> None:
    images = torch.rand(1, 60, 80, 3)
    faces = faces_in(images, turned(40, 0, 20, 30))
    with pytest.raises(ValueError, match=r"0 … 0\.5"):
        paste_faces(images, faces, torch.rand(1, 8, 8, 3), 0.6)
    with pytest.raises(ValueError, match="face, ellipse, box"):
        paste_faces(images, faces, torch.rand(1, 8, 8, 3), 0.1, "circle")
