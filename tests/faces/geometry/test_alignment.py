"""Templates, the least-squares similarity, and the Faces that are built from them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from gpen_pack.faces.collection import Faces
from gpen_pack.faces.geometry.alignment import alignable, apply_affine, fit_similarity, invert_affine
from gpen_pack.faces.geometry.templates import TEMPLATES, template_points


def similarity(scale: float, degrees: float, x: float, y: float) -> torch.Tensor:
    """(2, 3): scale, turn (clockwise as seen, y points down), move."""
    a = math.radians(degrees)
    c, s = scale * math.cos(a), scale * math.sin(a)
    return torch.tensor([[c, -s, x], [s, c, y]], dtype=torch.float64)


def umeyama(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The paper's recipe by singular values, as the reference."""
    p, q = source - source.mean(0), target - target.mean(0)
    u, d, vt = np.linalg.svd(q.T @ p / len(p))
    sign = np.diag([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ sign @ vt
    scale = np.trace(np.diag(d) @ sign) / p.var(0).sum()
    return np.column_stack([scale * rotation, target.mean(0) - scale * rotation @ source.mean(0)])


def test_gpen_template_is_the_authors_formula() -> None:
    published = [(0.39461, 0.47438), (0.60436, 0.47322), (0.50015, 0.59367), (0.41398, 0.71646), (0.58768, 0.71550)]
    assert torch.allclose(TEMPLATES["gpen"], torch.tensor(published, dtype=torch.float64), atol=5e-6)
    assert TEMPLATES["gpen"][0, 0] == (30.29459953 + 8 + 28) / 168
    assert TEMPLATES["gpen"][4, 1] == (92.20410156 + 28) / 168


def test_ffhq_template_shows_the_face_larger() -> None:
    assert torch.allclose(TEMPLATES["ffhq"][2] * 512, torch.tensor([256.63416, 314.01935], dtype=torch.float64))
    scale = torch.linalg.det(fit_similarity(TEMPLATES["gpen"], TEMPLATES["ffhq"])[:, :2]).sqrt()
    assert float(scale) == pytest.approx(1.116, abs=0.001)


def test_unknown_template_is_named() -> None:
    with pytest.raises(ValueError, match=r"'arcface'.*gpen, ffhq"):
        template_points("arcface")


def test_fit_finds_a_similarity_again_batched() -> None:
    maps = torch.stack([similarity(0.3, 170, 4, -7), similarity(250, -33, 812.5, 95.25), similarity(7, 90, 0, 0)])
    source = torch.rand(3, 5, 2, dtype=torch.float64)
    fitted = fit_similarity(source, apply_affine(maps, source))
    assert torch.allclose(fitted, maps, atol=1e-9)


def test_fit_maps_x_y_in_that_order() -> None:
    # a quarter turn clockwise on the screen: right becomes down
    source = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    fitted = fit_similarity(source, torch.tensor([[10.0, 20.0], [10.0, 21.0], [8.0, 20.0]]))
    assert torch.allclose(fitted, torch.tensor([[0, -1, 10], [1, 0, 20]], dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize("mirrored", [False, True])
def test_fit_equals_umeyama_and_never_reflects(mirrored: bool) -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        source = rng.normal(size=(5, 2)) * [3, 1] + [100, 40]
        target = source @ rng.normal(size=(2, 2)) + rng.normal(size=(5, 2)) * 0.2
        if mirrored:
            target[:, 0] *= -1
        fitted = fit_similarity(torch.from_numpy(source), torch.from_numpy(target))
        assert np.allclose(fitted.numpy(), umeyama(source, target), atol=1e-8)
        assert float(torch.linalg.det(fitted[:, :2])) > 0


DEGENERATE = {
    "coincident": [[40.0, 50.0]] * 5,
    "almost coincident": [[4000.0, 50.0 + 1e-9 * k] for k in range(5)],
    "collinear": [[10.0 + 3 * k, 20.0 + 7 * k] for k in range(5)],
    "level": [[10.0 + 3 * k, 20.0] for k in range(5)],
    "nan": [[30.0, 30.0], [60.0, 30.0], [float("nan"), 45.0], [33.0, 60.0], [57.0, 60.0]],
    "infinite": [[30.0, 30.0], [60.0, float("inf")], [45.0, 45.0], [33.0, 60.0], [57.0, 60.0]],
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_landmarks_raise(name: str) -> None:
    good = TEMPLATES["gpen"] * 100
    points = torch.stack([good, torch.tensor(DEGENERATE[name], dtype=torch.float64)])
    assert alignable(points, TEMPLATES["gpen"]).tolist() == [True, False]
    with pytest.raises(ValueError, match="coincide or lie on one line"):
        fit_similarity(points[1], TEMPLATES["gpen"])
    with pytest.raises(ValueError, match=r"face 1 cannot be aligned.*drop this detection"):
        Faces.from_landmarks(points, [0, 0], (200, 300))


def test_landmarks_arranged_unlike_a_face_have_no_scale() -> None:
    # no rotation and scale of these explains any of the template
    template = TEMPLATES["gpen"] - TEMPLATES["gpen"].mean(0)
    moments = template.T @ template
    odd = torch.linalg.solve(moments, (template * torch.tensor([1.0, -1.0])).T).T  # mirrored and whitened
    assert not bool(alignable(odd * 100, TEMPLATES["gpen"]))
    with pytest.raises(ValueError, match="no scale"):
        fit_similarity(odd * 100, TEMPLATES["gpen"])


def faces_at(*maps: torch.Tensor, size: tuple[int, int] = (300, 400), template: str = "gpen") -> Faces:
    landmarks = torch.stack([apply_affine(m, TEMPLATES[template]) for m in maps])
    return Faces.from_landmarks(landmarks, [0] * len(maps), size, template, frame_count=1)


@pytest.mark.parametrize("template", ["gpen", "ffhq"])
def test_matrices_put_the_template_on_the_landmarks(template: str) -> None:
    maps = similarity(120, 25, 90, 30), similarity(60, -140, 200, 250)
    faces = faces_at(*maps, template=template)
    assert torch.allclose(faces.matrices, torch.stack(maps), atol=1e-9)
    assert torch.allclose(faces.sizes, torch.tensor([120.0, 60.0], dtype=torch.float64))
    assert torch.allclose(faces.centers[0], apply_affine(maps[0], torch.tensor([[0.5, 0.5]]))[0])


def test_error_is_least_in_the_crop() -> None:
    landmarks = TEMPLATES["gpen"] * 200 + torch.randn(5, 2, dtype=torch.float64) * 8
    faces = Faces.from_landmarks(landmarks[None], [0], (300, 300))

    def error(photo_to_crop: torch.Tensor) -> float:
        return float((apply_affine(photo_to_crop, landmarks) - TEMPLATES["gpen"]).square().sum())

    fitted = invert_affine(faces.matrices[0])
    assert torch.allclose(apply_affine(fitted, apply_affine(faces.matrices[0], landmarks)), landmarks)
    for nudge in (similarity(1.002, 0, 0, 0), similarity(1, 0.1, 0, 0), similarity(1, 0, 1e-3, 0)):
        linear = nudge[:, :2] @ fitted[:, :2]
        moved = torch.cat((linear, nudge[:, :2] @ fitted[:, 2:] + nudge[:, 2:]), 1)
        assert error(moved) > error(fitted)


def test_from_landmarks_takes_numpy_torch_and_lists_and_copies() -> None:
    points = (TEMPLATES["gpen"] * 80).numpy()[None].astype(np.float32)
    a = Faces.from_landmarks(points, np.array([2]), (90, 100))
    b = Faces.from_landmarks(torch.from_numpy(points).clone(), torch.tensor([2]), (90, 100))
    c = Faces.from_landmarks(points.tolist(), [2], (90, 100))
    points += 5
    for faces in (a, b, c):
        assert faces.landmarks.dtype == torch.float64
        assert faces.frame_indices.tolist() == [2]
        assert faces.frame_count == 3
        assert faces.scores.tolist() == [1]
        assert torch.equal(faces.matrices, a.matrices)
    x0, y0, x1, y1 = a.boxes[0].tolist()
    assert x0 < 0.39 * 80 < 0.61 * 80 < x1
    assert y0 < 0.47 * 80 < 0.72 * 80 < y1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"landmarks": torch.rand(2, 4, 2)}, r"\(M, 5, 2\)"),
        ({"frame_indices": [0, 0]}, r"frame_indices \(1,\)"),
        ({"frame_indices": [-1]}, "frame indices"),
        ({"frame_count": 1, "frame_indices": [1]}, "frame indices"),
        ({"boxes": torch.zeros(2, 4)}, r"boxes \(1, 4\)"),
        ({"scores": [0.5, 0.5]}, r"scores \(1,\)"),
        ({"image_size": (0, 50)}, "image_size"),
    ],
)
def test_wrong_arguments_are_named(changes: dict, message: str) -> None:
    arguments = {"landmarks": TEMPLATES["gpen"][None] * 50, "frame_indices": [0], "image_size": (50, 60)} | changes
    with pytest.raises(ValueError, match=message):
        Faces.from_landmarks(**arguments)


def test_parts_of_a_collection() -> None:
    maps = [similarity(50 + k, 0, 5 * k, 9) for k in range(4)]
    landmarks = torch.stack([apply_affine(m, TEMPLATES["gpen"]) for m in maps])
    faces = Faces.from_landmarks(landmarks, [0, 2, 0, 1], (80, 90), scores=[0.1, 0.2, 0.3, 0.4], frame_count=5)
    assert len(faces) == 4
    assert faces[[2, 0]].scores.tolist() == [0.3, 0.1]
    assert faces[faces.sizes > 51.5].scores.tolist() == [0.3, 0.4]
    assert faces[1].frame_indices.tolist() == [2]
    assert faces[-1].scores.tolist() == [0.4]
    assert faces[1:3].scores.tolist() == [0.2, 0.3]
    assert faces.of_frame(0).scores.tolist() == [0.1, 0.3]
    assert len(faces.of_frame(4)) == len(faces[[]]) == 0
    assert faces.of_frame(4).matrices.shape == (0, 2, 3)
    assert faces.of_frame(0).frame_count == 5
    assert [len(face) for face in faces] == [1] * 4
    with pytest.raises(IndexError):
        faces[4]


def test_no_faces() -> None:
    faces = Faces.empty((30, 40), 3)
    assert len(faces) == 0
    assert faces.frame_count == 3
    assert faces.sizes.shape == (0,)
    assert faces.centers.shape == (0, 2)
    assert len(faces.scaled_to((60, 80))) == 0


def test_scaling_multiplies_coordinates() -> None:
    faces = faces_at(similarity(120, 25, 90, 30))
    larger = faces.scaled_to((900, 1200))
    assert larger.image_size == (900, 1200)
    for name in ("landmarks", "matrices", "boxes", "sizes", "centers"):
        assert torch.allclose(getattr(larger, name), getattr(faces, name) * 3)


def test_scaling_keeps_x_and_y_apart_where_rounding_did() -> None:
    faces = faces_at(similarity(120, 0, 90, 30), size=(301, 400))
    half = faces.scaled_to((150, 200))
    assert torch.allclose(half.landmarks[0, :, 0], faces.landmarks[0, :, 0] / 2)
    assert torch.allclose(half.landmarks[0, :, 1], faces.landmarks[0, :, 1] * 150 / 301)


@pytest.mark.parametrize("size", [(400, 300), (300, 500), (512, 512), (600, 804), (0, 0)])
def test_another_aspect_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=rf"400×300.*got {size[1]}×{size[0]}.*resized, not a cropped"):
        faces_at(similarity(120, 0, 90, 30)).scaled_to(size)


def test_images_must_be_the_same_frames() -> None:
    landmarks = TEMPLATES["gpen"][None] * 80
    told = Faces.from_landmarks(landmarks, [1], (90, 100), frame_count=2)
    guessed = Faces.from_landmarks(landmarks, [1], (90, 100))
    for faces in (told, guessed):
        assert faces.matched_to(torch.zeros(2, 180, 200, 3)).image_size == (180, 200)
        with pytest.raises(ValueError, match=r"expected 2 frame\(s\).*got 1"):
            faces.matched_to(torch.zeros(1, 90, 100, 3))
        with pytest.raises(ValueError, match=r"\(N, H, W, 3 or 4\)"):
            faces.matched_to(torch.zeros(2, 3, 90, 100))
    with pytest.raises(ValueError, match="got 3"):
        told.matched_to(torch.zeros(3, 90, 100, 3))
    assert len(guessed.matched_to(torch.zeros(3, 90, 100, 3))) == 1  # nobody said that there are only two


def test_batched_fit_equals_single_ones() -> None:
    landmarks = TEMPLATES["ffhq"] * 90 + torch.randn(7, 5, 2, dtype=torch.float64) * 3
    together = Faces.from_landmarks(landmarks, [0] * 7, (100, 100), "ffhq").matrices
    for k in range(7):
        alone = Faces.from_landmarks(landmarks[k : k + 1], [0], (100, 100), "ffhq").matrices[0]
        assert torch.allclose(alone, together[k], atol=1e-12)
