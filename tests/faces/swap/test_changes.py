"""Comparison with the picture before the swap: which frame belongs to which, and which faces have changed."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from gpen_pack.faces.collection import Faces
from gpen_pack.faces.compose.smoothing import resize_square
from gpen_pack.faces.geometry.templates import TEMPLATES
from gpen_pack.faces.swap.changes import changed_faces, match_frames
from gpen_pack.faces.swap.frame_matching import _lay_into
from torch import Tensor

SIZE = (120, 200)


def through_8_bits(frames: Tensor) -> Tensor:
    """What a swap node does to every pixel: truncated to 8 bits and back."""
    return (frames * 255).to(torch.uint8).float() / 255


def video(count: int, *, speed: float, noise: float, seed: int = 0, size: tuple[int, int] = SIZE) -> Tensor:
    """(count, H, W, 3): a window that moves over a smooth scene, a figure that moves in it, and a sensor's noise."""
    generator = torch.Generator().manual_seed(seed)
    height, width = size
    scene = resize_square(torch.rand(24, 24, 3, generator=generator), 512).clamp(0, 1)
    frames = torch.empty(count, height, width, 3)
    for index in range(count):
        x, y = 20 + speed * index, 10 + 0.5 * speed * index
        rows = (torch.arange(height) + y)[:, None].remainder(511)
        columns = (torch.arange(width) + x)[None].remainder(511)
        r, c = rows.long(), columns.long()
        fr, fc = (rows - r)[..., None], (columns - c)[..., None]
        upper = scene[r, c] * (1 - fc) + scene[r, c + 1] * fc
        lower = scene[r + 1, c] * (1 - fc) + scene[r + 1, c + 1] * fc
        frame = upper * (1 - fr) + lower * fr
        left = 20 + 4 * index % 120
        frame[30:100, left : left + 50] = 0.3 + 0.4 * scene[:70, :50][: max(0, height - 30)]
        frames[index] = frame + noise * torch.randn(height, width, 3, generator=generator)
    return through_8_bits(frames.clamp(0, 1))


def swapped(frames: Tensor, seed: int = 1) -> Tensor:
    """Another face in a third of the frame's area, the rest through 8 bits."""
    generator = torch.Generator().manual_seed(seed)
    result = frames.clone()
    height, width = frames.shape[1:3]
    face = result[:, height // 6 : height - height // 5, width // 4 : width - width // 4]
    texture = torch.rand(face.shape[1:], generator=generator)
    face.copy_((0.6 * face + 0.4 * texture).clamp(0, 1))
    return through_8_bits(result)


def dropped(count: int, *indexes: int) -> list[int]:
    return [index for index in range(count) if index not in indexes]


@pytest.mark.parametrize(
    ("speed", "noise"),
    [(3.0, 0.0), (0.5, 0.0), (0.0, 0.0), (0.0, 0.01), (0.3, 0.02), (2.0, 0.05)],
    ids=["moving", "slow", "tripod", "tripod noise", "slow noise", "noisy"],
)
def test_dropped_frames_are_found(speed: float, noise: float) -> None:
    originals = video(24, speed=speed, noise=noise)
    for gone in ((0,), (23,), (11,), (3, 4, 5, 17), (0, 1, 22, 23), tuple(range(0, 24, 2))):
        kept = dropped(24, *gone)
        assert match_frames(swapped(originals[kept]), originals) == kept, f"without {gone}"


def test_a_swapped_face_does_not_outvote_the_scene() -> None:
    # every swapped face is, pixel by pixel, the next frame's original face: only the rest of the frame tells the truth
    originals = video(20, speed=0.5, noise=0.01)
    area = (slice(None), slice(20, 100), slice(50, 150))
    flicker = (0.2 + 0.6 * torch.rand(20, 1, 1, 1)) * torch.rand(20, 80, 100, 3)
    originals[area] = flicker
    kept = dropped(20, 4, 12, 19)
    images = originals[kept].clone()
    images[area] = flicker[[index + 1 for index in kept]]
    assert match_frames(through_8_bits(images), originals) == kept


def test_one_frame_of_many() -> None:
    originals = video(20, speed=1.0, noise=0.01)
    for index in (0, 7, 19):
        assert match_frames(swapped(originals[index : index + 1]), originals) == [index]


def test_surplus_images_have_no_partner() -> None:
    images = video(9, speed=1.0, noise=0.01)
    assert match_frames(swapped(images), images[[1, 2, 6]]) == [None, 0, 1, None, None, None, 2, None, None]


def test_a_frame_after_heavy_grading_still_keeps_its_place() -> None:
    # a node in between has changed every pixel: the order and the remaining likeness must do
    originals = video(16, speed=3.0, noise=0.0)
    kept = dropped(16, 2, 9)
    graded = (swapped(originals[kept]) * 0.95 + 0.02).clamp(0, 1)
    assert match_frames(graded, originals) == kept


def test_matching_rises_even_where_the_scene_repeats() -> None:
    loop = video(6, speed=3.0, noise=0.0)
    originals = torch.cat([loop, loop])
    kept = [0, 2, 4, 6, 8, 10]
    partners = match_frames(swapped(originals[kept]), originals)
    numbers = [partner for partner in partners if partner is not None]
    assert len(numbers) == 6 and numbers == sorted(set(numbers))
    assert [n % 6 for n in numbers] == [0, 2, 4, 0, 2, 4]


def test_the_cheapest_alignment_is_the_true_minimum() -> None:
    # against trying out every rising choice
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        few, many = 4, 8
        costs = torch.rand(few, many - few + 1, generator=generator)
        sums = {
            places: sum(float(costs[i, place - i]) for i, place in enumerate(places))
            for places in combinations(range(many), few)
        }
        assert _lay_into(costs) == list(min(sums, key=sums.__getitem__))


def test_equal_counts_belong_together_whatever_they_show() -> None:
    assert match_frames(torch.rand(3, 8, 8, 3), torch.rand(3, 8, 8, 3)) == [0, 1, 2]


def test_frames_of_another_size_have_no_partner() -> None:
    # ReActor's single black frame for a whole batch
    black = torch.zeros(1, 512, 512, 3)
    assert match_frames(black, torch.rand(4, 20, 30, 3)) == [None]
    assert match_frames(torch.rand(4, 20, 30, 3), black) == [None] * 4
    assert match_frames(black, black) == [0]
    assert match_frames(torch.rand(2, 20, 30, 3), torch.rand(0, 20, 30, 3)) == [None, None]
    assert match_frames(torch.rand(0, 20, 30, 3), torch.rand(2, 20, 30, 3)) == []


def test_matching_takes_any_type_and_number_of_channels() -> None:
    originals = video(10, speed=1.0, noise=0.01)
    kept = dropped(10, 4)
    images = swapped(originals[kept])
    alpha = torch.rand(9, *SIZE, 1)
    assert match_frames(torch.cat([images, alpha], dim=3), originals) == kept
    assert match_frames(images.half(), originals) == kept
    assert match_frames(images, originals.half()) == kept
    assert match_frames(images[..., :1], originals) == kept


def test_large_frames_are_sampled_not_read() -> None:
    # 60 frames of full HD from one stored row: expanded views, no pixels of their own
    row = video(60, speed=2.0, noise=0.0, size=(1, 1920))
    originals = row.expand(60, 1080, 1920, 3)
    kept = dropped(60, 5, 6, 30)
    images = row[kept].expand(57, 1080, 1920, 3)
    assert match_frames(images, originals) == kept


FACES_AT = ((40.0, 60.0, 44.0), (150.0, 60.0, 44.0))


def two_faces(frames: int = 1, size: tuple[int, int] = SIZE, angle: float = 0.0) -> Faces:
    """Two faces in every frame, their aligned squares 44 px wide."""
    turn = torch.tensor(angle).deg2rad().double()
    rotation = torch.stack([torch.stack([turn.cos(), -turn.sin()]), torch.stack([turn.sin(), turn.cos()])])
    points = [
        (TEMPLATES["gpen"] - 0.5) * side @ rotation.mT + torch.tensor([x, y], dtype=torch.float64)
        for x, y, side in FACES_AT
    ]
    landmarks = torch.stack(points * frames)
    indexes = torch.arange(frames).repeat_interleave(2)
    return Faces.from_landmarks(landmarks, indexes, size, frame_count=frames)


def with_new_face(frames: Tensor, which: int, strength: float = 0.1) -> Tensor:
    """The face ``which`` of ``two_faces`` painted over: its middle, as a swap does."""
    x, y, side = FACES_AT[which]
    result = frames.clone()
    reach = int(side * 0.3)
    patch = result[:, int(y) - reach : int(y) + reach, int(x) - reach : int(x) + reach]
    patch.add_(strength * torch.randn(patch.shape[1:3])[None, :, :, None])
    return result.clamp_(0, 1)


def test_only_the_changed_face_is_kept() -> None:
    original = video(1, speed=0, noise=0.02)
    for which in (0, 1):
        image = through_8_bits(with_new_face(original, which))
        faces, skipped = changed_faces(two_faces(), image, original)
        assert faces.centers[:, 0].round().tolist() == [FACES_AT[which][0]]
        assert len(skipped) == 1
        assert skipped[0].reason == "not changed by the swap" and skipped[0].frame == 0
        assert skipped[0].size == pytest.approx(44) and skipped[0].box is not None


@pytest.mark.parametrize("offset", [1 / 255, -1 / 255])
def test_the_swaps_own_rounding_is_no_change(offset: float) -> None:
    original = video(1, speed=0, noise=0.02).clamp(0.1, 0.9)
    moved = original + offset * torch.randint(0, 2, original.shape)
    for image in (moved, through_8_bits(original), through_8_bits(moved).half()):
        faces, skipped = changed_faces(two_faces(), image, original)
        assert len(faces) == 0 and len(skipped) == 2
    assert len(changed_faces(two_faces(), original.half(), original)[0]) == 0
    assert len(changed_faces(two_faces(), original.bfloat16(), original)[0]) == 0
    assert len(changed_faces(two_faces(), original + 2 * offset, original)[0]) == 2  # just above it


def test_a_few_pixels_in_a_face_are_no_swap() -> None:
    original = video(1, speed=0, noise=0.0)
    image = original.clone()
    image[:, 55:57, 38:42] = 1 - image[:, 55:57, 38:42]  # a watermark's corner, or a neighbour's soft border
    assert len(changed_faces(two_faces(), image, original)[0]) == 0


def test_a_change_beside_the_face_is_no_change_of_the_face() -> None:
    original = video(1, speed=0, noise=0.0)
    image = original.clone()
    image[:, :40] = 0  # hair and wall above
    image[:, :, 60:130] = 0  # everything between the two
    assert len(changed_faces(two_faces(), image, original)[0]) == 0


@pytest.mark.parametrize("angle", [0.0, 35.0, 90.0, 180.0, -70.0])
def test_the_comparison_turns_with_the_face(angle: float) -> None:
    # the mouth alone has changed: it lies below the middle of an upright face, to the left of one turned by 90 degrees
    original = video(1, speed=0, noise=0.0)
    faces = two_faces(angle=angle)
    mouth = faces.matrices[0] @ torch.tensor([0.5, 0.715, 1.0], dtype=torch.float64)
    x, y = (int(value) for value in mouth)
    image = original.clone()
    image[:, y - 4 : y + 4, x - 4 : x + 4] = 1 - image[:, y - 4 : y + 4, x - 4 : x + 4].round()
    kept, _ = changed_faces(faces, image, original)
    assert kept.centers.round().tolist() == faces.centers[:1].round().tolist()


def test_faces_of_a_shortened_video_are_compared_with_their_own_frames() -> None:
    originals = video(8, speed=2.0, noise=0.01)
    kept = dropped(8, 3)
    images = originals[kept].clone()
    images[5:6] = with_new_face(images[5:6], 1)
    faces, skipped = changed_faces(two_faces(7), through_8_bits(images), originals)
    assert faces.frame_indices.tolist() == [5]
    assert len(skipped) == 13 and {entry.reason for entry in skipped} == {"not changed by the swap"}
    again, _ = changed_faces(two_faces(7), through_8_bits(images), originals, match_frames(images, originals))
    assert torch.equal(again.landmarks, faces.landmarks)


def test_a_frame_without_a_partner_is_left_and_named() -> None:
    images = video(3, speed=2.0, noise=0.01)
    images[1:2] = with_new_face(images[1:2], 0)
    originals = video(3, speed=2.0, noise=0.01)[:2]
    faces, skipped = changed_faces(two_faces(3), images, originals)
    assert centre_frames(faces) == [1]
    lonely = [entry for entry in skipped if entry.frame == 2]
    assert len(lonely) == 2
    assert lonely[0].reason == "no original for this frame (original_image has 2 frames, the image 3): left untouched"
    # named also where it has no face
    faces, skipped = changed_faces(Faces.empty(SIZE, 3, "gpen"), images, originals)
    assert len(faces) == 0
    assert [(entry.frame, entry.box) for entry in skipped] == [(2, None)]


def centre_frames(faces: Faces) -> list[int]:
    return faces.frame_indices.tolist()


def test_an_original_of_another_size_is_named() -> None:
    image = video(1, speed=0, noise=0.0)
    faces, skipped = changed_faces(two_faces(), image, torch.zeros(1, 512, 512, 3))
    assert len(faces) == 0 and len(skipped) == 2
    assert "original_image is 512×512, the image 200×120" in skipped[0].reason


def test_without_originals_every_face_stays() -> None:
    faces = two_faces()
    assert changed_faces(faces, torch.rand(1, *SIZE, 3), None) == (faces, ())


def test_faces_at_and_beyond_the_border() -> None:
    template = (TEMPLATES["gpen"] - 0.5) * 60
    centres = torch.tensor([[0.0, 60.0], [-22.0, 60.0], [-200.0, 60.0]], dtype=torch.float64)
    faces = Faces.from_landmarks(template + centres[:, None], torch.zeros(3, dtype=torch.int64), SIZE)
    original = video(1, speed=0, noise=0.0).clamp(0, 0.9)
    kept, skipped = changed_faces(faces, original + 0.05, original)
    assert kept.centers[:, 0].round().tolist() == [0.0, -22.0]
    assert [entry.reason for entry in skipped] == ["it lies outside the picture"]
    assert len(changed_faces(faces, original, original)[0]) == 0


def test_any_type_and_number_of_channels_and_no_writing() -> None:
    original = video(1, speed=0, noise=0.02)
    image = through_8_bits(with_new_face(original, 0))
    rgba = torch.cat([image, torch.rand(1, *SIZE, 1)], dim=3)
    opaque = torch.cat([original, torch.ones(1, *SIZE, 1)], dim=3)
    copies = rgba.clone(), original.clone()
    for a, b in ((rgba, original), (image, opaque), (rgba, opaque), (image.half(), original), (image, original.half())):
        faces, _ = changed_faces(two_faces(), a, b)
        assert faces.centers[:, 0].round().tolist() == [40.0]
    assert torch.equal(rgba, copies[0]) and torch.equal(original, copies[1])


def test_broken_pixels_are_a_change() -> None:
    original = video(1, speed=0, noise=0.0)
    assert len(changed_faces(two_faces(), original * float("nan"), original)[0]) == 2


def test_mistakes_are_sentences() -> None:
    frames = torch.rand(2, *SIZE, 3)
    with pytest.raises(ValueError, match="original_image must be an IMAGE"):
        changed_faces(two_faces(2), frames, frames[0])
    with pytest.raises(ValueError, match="found in 1 frames of 200×120, but image has 2 of 200×120"):
        changed_faces(two_faces(1), frames, frames)
    with pytest.raises(ValueError, match="but image has 2 of 100×120"):
        changed_faces(two_faces(2), frames[:, :, :100], frames)
