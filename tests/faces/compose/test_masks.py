"""Mask shapes: where they are 0 and 1, how soft, and that they follow the face."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from gpen_pack.faces.collection import Faces
from gpen_pack.faces.compose.masks import MASK_SHAPES, FaceMask, UserMask, add_weights, check_mask_shape, faces_mask
from gpen_pack.faces.compose.outlines import _sides, face_shape
from gpen_pack.faces.geometry.alignment import apply_affine
from gpen_pack.faces.geometry.templates import TEMPLATES

SIZE = (240, 320)


def turned(side: float, degrees: float, x: float, y: float) -> torch.Tensor:
    """(2, 3): a unit square of ``side`` photo pixels, turned about its centre, which lies at (x, y)."""
    a = math.radians(degrees)
    linear = side * torch.tensor([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]], dtype=torch.float64)
    centre = torch.tensor([[x], [y]], dtype=torch.float64)
    return torch.cat((linear, centre - linear.sum(1, keepdim=True) / 2), 1)


def one_face(matrix: torch.Tensor, points: torch.Tensor = TEMPLATES["gpen"], size: tuple[int, int] = SIZE) -> Faces:
    return Faces.from_landmarks(apply_affine(matrix, points)[None], [0], size, frame_count=1)


def whole(mask: FaceMask, size: tuple[int, int] = SIZE) -> torch.Tensor:
    """The weights of every pixel of the photo, whatever the mask's own box."""
    return dataclasses.replace(mask, box=(0, 0, size[1], size[0])).weights()


def boxed(mask: FaceMask, size: tuple[int, int] = SIZE) -> torch.Tensor:
    out = torch.zeros(size)
    x0, y0, x1, y1 = mask.box
    out[y0:y1, x0:x1] = mask.weights()
    return out


@pytest.mark.parametrize("shape", MASK_SHAPES)
@pytest.mark.parametrize("feather", [0, 0.02, 0.1, 0.3, 0.5])
@pytest.mark.parametrize("degrees", [0, 28, -110])
def test_the_box_holds_all_and_nothing_leaves_the_square(shape: str, feather: float, degrees: float) -> None:
    matrix = turned(150, degrees, 170, 110)
    mask = FaceMask.of(one_face(matrix), 0, feather, shape)
    weights = whole(mask)
    assert torch.equal(weights, boxed(mask))
    assert 0 <= weights.min() <= weights.max() <= 1
    i, j = torch.nonzero(weights, as_tuple=True)
    uv = apply_affine(mask.back, torch.stack((j + 0.5, i + 0.5), -1))
    assert uv.min() > 0
    assert uv.max() < 1
    centre = weights[110, 170]
    assert centre > 0.95
    if feather <= 0.3:
        assert centre == 1


@pytest.mark.parametrize("shape", MASK_SHAPES)
def test_no_feather_is_hard_but_not_jagged(shape: str) -> None:
    weights = whole(FaceMask.of(one_face(turned(150, 20, 160, 120)), 0, 0, shape))
    soft = ((weights > 0) & (weights < 1)).sum()
    edge_pixels = 4 * 150  # about the outline's length
    assert 0.3 * edge_pixels < soft < 3 * edge_pixels
    assert (weights == 1).sum() > 5 * soft


@pytest.mark.parametrize("shape", MASK_SHAPES)
def test_feather_is_the_width_of_the_edge(shape: str) -> None:
    side = 200
    for feather in (0.05, 0.1, 0.2):
        weights = whole(FaceMask.of(one_face(turned(side, 0, 160, 120)), 0, feather, shape))
        row = weights[120, 160:]  # outwards from the centre
        soft = int(((row > 0) & (row < 1)).sum())
        assert soft == pytest.approx(feather * side, rel=0.25, abs=2)
        assert (row.diff() <= 0).all()


def test_box_is_symmetric_and_reaches_the_square() -> None:
    weights = whole(FaceMask.of(one_face(turned(160, 0, 160, 120)), 0, 0.1, "box"))
    assert torch.allclose(weights, weights.flip(0), atol=1e-5)
    assert torch.allclose(weights, weights.flip(1), atol=1e-5)
    assert weights[120, 80] > 0  # the square's outermost pixel
    assert weights[120, 79] == 0
    assert (weights[120, 96:224] == 1).all()


@pytest.mark.parametrize("template", ["gpen", "ffhq"])
def test_face_holds_brow_cheeks_and_chin_and_no_corner(template: str) -> None:
    points = TEMPLATES[template]
    faces = Faces.from_landmarks(points[None] * 200, [0], (200, 200), template, frame_count=1)
    weights = faces_mask(faces, 0.05)[0]
    grow = 1.116 if template == "ffhq" else 1.0

    def at(u: float, v: float) -> float:
        # places on the gpen template, about the middle of the face
        x, y = 0.5 + (u - 0.5) * grow, float(points[2, 1]) + (v - 0.5937) * grow
        return float(weights[int(y * 200), int(x * 200)])

    for u, v in [(0.5, 0.3), (0.5, 0.84), (0.33, 0.5), (0.67, 0.5), (0.39, 0.47), (0.6, 0.47), (0.4, 0.72)]:
        assert at(u, v) == 1, (u, v)
    for u, v in [(0.1, 0.1), (0.9, 0.1), (0.12, 0.9), (0.88, 0.9), (0.08, 0.5), (0.5, 0.02)]:
        assert at(u, v) == 0, (u, v)


def test_face_turns_with_the_head() -> None:
    upright = whole(FaceMask.of(one_face(turned(140, 0, 120, 120), size=(240, 240)), 0), (240, 240))
    quarter = whole(FaceMask.of(one_face(turned(140, 90, 120, 120), size=(240, 240)), 0), (240, 240))
    assert torch.allclose(quarter, upright.rot90(-1), atol=1e-4)  # positive angles turn clockwise on the screen
    assert not torch.allclose(quarter, upright, atol=0.1)


def test_face_is_mirrored_with_the_landmarks() -> None:
    points = TEMPLATES["gpen"] + torch.tensor([[0, 0], [0, 0], [0.05, 0], [0.01, 0], [0.01, 0]], dtype=torch.float64)
    flipped = (points * torch.tensor([-1.0, 1.0]) + torch.tensor([1.0, 0.0]))[[1, 0, 2, 4, 3]]
    a, b = face_shape(points), face_shape(flipped)
    assert a.centre[0] == pytest.approx(1 - b.centre[0])
    assert a.centre[1] == pytest.approx(b.centre[1])
    assert a.radii[:2] == pytest.approx(b.radii[1::-1])
    assert a.radii[2:] == pytest.approx(b.radii[2:])


def test_a_turned_head_moves_the_outline_away_from_the_nose() -> None:
    nose_right = TEMPLATES["gpen"].clone()
    nose_right[2, 0] += 0.06
    assert face_shape(nose_right).centre[0] < face_shape(TEMPLATES["gpen"]).centre[0] - 0.03


def test_faces_at_and_beyond_the_border() -> None:
    cut = FaceMask.of(one_face(turned(150, 10, 3, 238)), 0)
    assert cut.box[0] == 0
    assert cut.box[3] == SIZE[0]
    assert torch.equal(whole(cut), boxed(cut))
    for x, y in [(-200, 100), (100, 900), (900, -900)]:
        assert FaceMask.of(one_face(turned(150, 10, x, y)), 0, 0.1, "box").empty


def test_a_face_smaller_than_a_pixel() -> None:
    weights = faces_mask(one_face(turned(0.6, 10, 100.5, 50.5)))
    assert weights.sum() < 2


@pytest.mark.parametrize("feather", [-0.01, 0.51, float("nan")])
def test_feather_out_of_range(feather: float) -> None:
    with pytest.raises(ValueError, match=r"0 … 0\.5"):
        FaceMask.of(one_face(turned(100, 0, 100, 100)), 0, feather)


def test_what_is_kept_of_a_shape_outlives_inference_mode() -> None:
    _sides.cache_clear()
    with torch.inference_mode():
        face_shape(TEMPLATES["gpen"]).outline(1.0)
    kept = _sides(2.5)
    assert _sides.cache_info().hits == 1
    assert not kept.is_inference()


def test_unknown_shape_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'oval'.*face, ellipse, box"):
        check_mask_shape("oval")


def test_faces_mask_lies_in_its_frames() -> None:
    maps = [turned(100, 0, 100, 100), turned(80, 0, 200, 120), turned(90, 5, 60, 60)]
    landmarks = torch.stack([apply_affine(m, TEMPLATES["gpen"]) for m in maps])
    faces = Faces.from_landmarks(landmarks, [0, 0, 2], SIZE, frame_count=4)
    mask = faces_mask(faces)
    assert mask.shape == (4, *SIZE)
    assert mask[1].max() == mask[3].max() == 0
    assert mask[0, 110, 100] == mask[0, 125, 200] == mask[2, 65, 60] == 1
    assert mask[2, 120, 200] == 0


def test_union_never_loses_a_weight() -> None:
    total = torch.tensor([0.0, 0.0, 0.5, 1.0])
    add_weights(total, torch.tensor([0.0, 1e-12, 0.5, 0.3]))
    assert total.tolist() == [0, pytest.approx(1e-12), 0.75, 1]


def fitted(mask: torch.Tensor, frame_count: int, size: tuple[int, int], index: int = 0) -> torch.Tensor:
    user_mask = UserMask.of(mask, frame_count, size)
    assert user_mask is not None
    return user_mask.frame(index)


def test_users_mask_is_fitted_edge_to_edge() -> None:
    mask = torch.zeros(1, 10, 20)
    mask[:, :, 10:] = 1
    large = fitted(mask, 3, (40, 80))
    assert large.shape == (40, 80)
    assert (large[:, :38] == 0).all()
    assert (large[:, 42:] == 1).all()
    assert large.mean() == pytest.approx(0.5, abs=0.01)
    small = fitted(large, 3, (4, 8))
    assert torch.allclose(small[0], torch.tensor([0.0] * 4 + [1.0] * 4), atol=0.15)


def test_every_frame_has_its_own_mask_or_all_have_one() -> None:
    masks = torch.rand(3, 10, 20)
    user_mask = UserMask.of(masks, 3, (5, 10))
    assert user_mask is not None
    assert all(torch.equal(user_mask.frame(i), fitted(masks[i], 1, (5, 10))) for i in (2, 0, 1))
    one = UserMask.of(masks[0], 3, (5, 10))
    assert one is not None
    assert one.frame(2) is one.frame(0), "one mask for all frames is resized once"
    assert torch.equal(one.frame(0), user_mask.frame(0))


def test_load_images_empty_mask_is_absent() -> None:
    assert UserMask.of(None, 2, (8, 8)) is None
    assert UserMask.of(torch.zeros(1, 64, 64), 2, (100, 100)) is None
    assert UserMask.of(torch.zeros(64, 64), 2, (100, 100)) is None
    assert not fitted(torch.zeros(1, 65, 64), 2, (100, 100)).any()
    half = torch.cat((torch.zeros(1, 64, 64), torch.ones(1, 64, 64)))
    assert not fitted(half, 2, (100, 100)).any(), "a black frame among others is a black frame"


def test_bad_masks_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 1 or 2, got 3"):
        UserMask.of(torch.ones(3, 8, 8), 2, (8, 8))
    with pytest.raises(ValueError, match="not finite"):
        UserMask.of(torch.full((1, 8, 8), float("nan")), 2, (8, 8))
    assert fitted(torch.tensor([[[-1.0, 2.0]]]), 1, (1, 2)).tolist() == [[0, 1]]
