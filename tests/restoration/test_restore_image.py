"""The paragraph and its three stages, with a detector and a restorer whose answers are known."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from gpen_pack.detectors import Detections
from gpen_pack.faces import TEMPLATES, Skipped, crop_faces
from gpen_pack.models import load_gpen
from gpen_pack.models.restorers.restorer import SquareSizes
from gpen_pack.restoration import Report, detect, paste, restore_crops, restore_image


class SquareDetector:
    """Every saturated blue, green or red square is a face that fills it, landmarks where the template has them."""

    name = "squares"
    provider = "test"

    def detect(self, image: np.ndarray, threshold: float) -> Detections:
        boxes = []
        for channel in range(3):
            others = [c for c in range(3) if c != channel]
            where = (image[..., channel] > 200) & (image[..., others] < 60).all(axis=-1)
            if where.sum() >= 64:
                rows, columns = np.nonzero(where)
                boxes.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        if not boxes:
            return Detections.of([], [], [])
        box = np.array(boxes, np.float64)
        points = TEMPLATES["gpen"].numpy() * (box[:, None, 2:] - box[:, None, :2]) + box[:, None, :2]
        return Detections(box, points, np.linspace(0.9, 0.8, len(box)))


class Inverter:
    """A model that gives the negative of the crop, at its own size: what it touched is plain to see."""

    name = "inverter"
    path = None
    template = "gpen"
    module = None
    provider = "test"
    warnings: tuple[str, ...] = ("a warning of the model",)
    dtype = torch.float32
    device = torch.device("cpu")

    def __init__(self, size: int = 64, batch_size: int = 1) -> None:
        self.config = SquareSizes(size, size)
        self.batch_size = batch_size
        self.calls: list[int] = []

    def restore(self, crops: torch.Tensor, check_cancel: Any = None) -> torch.Tensor:
        self.calls.append(len(crops))
        self.check_cancel = check_cancel
        x = torch.nn.functional.interpolate(crops.permute(0, 3, 1, 2), (self.config.out_size,) * 2, mode="area")
        return 1 - x.permute(0, 2, 3, 1)


SQUARES = {"blue": (2, 20, 30, 48), "green": (1, 90, 110, 32)}  # channel, top, left, side


def picture(*names: str, height: int = 160, width: int = 200, channels: int = 3) -> torch.Tensor:
    image = torch.rand(height, width, channels) * 0.2 + 0.4
    for name in names:
        channel, top, left, side = SQUARES[name]
        image[top : top + side, left : left + side, :3] = 0.1
        image[top : top + side, left : left + side, channel] = 0.95
    return image


def run(image: torch.Tensor, **options: Any) -> Any:
    options.setdefault("fidelity", 0.0)
    restorer, detector = options.pop("restorer", Inverter()), options.pop("detector", SquareDetector())
    return restore_image(image, restorer, detector, **options)


def centre(image: torch.Tensor, name: str, frame: int = 0, scale: float = 1) -> torch.Tensor:
    _, top, left, side = SQUARES[name]
    return image[frame, int((top + side / 2) * scale), int((left + side / 2) * scale), :3]


def test_faces_are_restored_and_the_rest_is_bit_for_bit() -> None:
    image = torch.stack([picture("blue", "green"), picture(), picture("green")])
    before = image.clone()
    result, mask, report = run(image)
    assert torch.equal(image, before), "the input was written into"
    assert torch.equal(result[mask == 0], image[mask == 0])
    assert not mask[1].any() and (mask == 0).float().mean() > 0.8
    for frame, name in ((0, "blue"), (0, "green"), (2, "green")):
        assert torch.allclose(centre(result, name, frame), 1 - centre(image, name, frame), atol=0.02)
    assert (report.frames, report.faces_found, report.faces_restored, report.faces_pasted) == (3, 3, 3, 3)
    assert [round(face.size or 0) for face in report.faces] == [48, 32, 32]
    assert {"detect", "crop", "restore", "paste"} <= set(report.milliseconds)


def test_report_is_json_and_text() -> None:
    _, _, report = run(picture("blue", "green")[None], select="0", restorer=Inverter(256))
    told = json.loads(json.dumps(report.to_dict()))
    assert told["faces_found"] == 2 and told["faces_restored"] == 1 and len(told["skipped"]) == 1
    assert told["model"] == {
        "name": "inverter", "in_size": 256, "out_size": 256, "device": "cpu", "precision": "fp32", "provider": "test",
        "advice": None,
    }  # fmt: skip
    assert told["detector"] == {"name": "squares", "provider": "test"}
    text = report.text()
    assert "2 faces found, 1 restored" in text and "left as it was, 1×" in text
    assert "256 px cannot show in a 48 px face" in text and "a warning of the model" in text


def test_the_report_says_that_the_built_in_model_is_the_least() -> None:
    crops = torch.rand(1, 64, 64, 3)
    told = restore_crops(crops, load_gpen("builtin")).report
    assert "GPEN-BFR-2048 gives far more" in told.text() and told.to_dict()["model"]["advice"]
    assert "far more" not in restore_crops(crops, Inverter()).report.text()


@pytest.mark.parametrize("of_model", ["gpen", "ffhq"])
@pytest.mark.parametrize("chosen", ["gpen", "ffhq"])
def test_a_template_that_is_not_the_models_is_said(of_model: str, chosen: str) -> None:
    restorer = Inverter()
    restorer.template = of_model
    report = run(picture("blue")[None], restorer=restorer, template=chosen).report
    said = [sentence for sentence in report.warnings if f"choose template {of_model}" in sentence]
    assert len(said) == (of_model != chosen)
    without = run(picture()[None], restorer=restorer, template=chosen).report
    assert not any("template" in sentence for sentence in without.warnings), "there was no face to align"


def test_fidelity_one_keeps_the_face_and_says_so() -> None:
    image = picture("blue")[None]
    result, _, report = run(image, fidelity=1.0)
    assert (result - image).abs().mean() < 0.01
    assert "nothing of the restoration shows" in report.text()


def test_faces_that_select_leaves_out_share_a_line() -> None:
    skipped = [Skipped("not_selected", 0, number=n, values={"order": "large-small", "select": "0"}) for n in (2, 1, 3)]
    lines = Report(frames=1, skipped=[*skipped, Skipped("outside_mask", 0)]).text().splitlines()
    assert "left as it was, 3×: faces 1, 2, 3 (large-small) are not among select 0" in lines
    assert "left as it was, 1×: its centre lies outside the mask" in lines
    (line,) = Report(frames=2, skipped=skipped[:1]).text().splitlines()[1:]
    assert line == "left as it was, 1×: face 2 (large-small) is not among select 0 (frame 0)"


def test_order_and_select_decide_what_is_restored() -> None:
    image = picture("blue", "green")[None]
    for order, name, other in (("large-small", "blue", "green"), ("small-large", "green", "blue")):
        result = run(image, select="0", order=order).image
        assert not torch.allclose(centre(result, name), centre(image, name), atol=0.1)
        assert torch.equal(centre(result, other), centre(image, other))


def test_min_face_px_names_what_it_left_out() -> None:
    _, _, report = run(picture("blue", "green")[None], min_face_px=40)
    assert report.faces_restored == 1 and len(report.skipped) == 1
    assert round(report.skipped[0].size or 0) == 32


def test_mask_chooses_and_multiplies() -> None:
    image = picture("blue", "green")[None]
    mask = torch.zeros(1, 160, 200)
    mask[:, :80] = 1  # the upper half: the blue square alone
    mask[:, :40] = 0.75
    result, weights, report = run(image, mask=mask)
    assert report.faces_restored == 1
    assert torch.equal(result[0, 80:], image[0, 80:])
    assert 0 < weights[0, :40].max() <= 0.76


def test_an_empty_mask_of_one_frame_of_64_pixels_is_not_load_images_none() -> None:
    images = torch.stack([picture("blue", height=64, width=64)] * 2)
    mask = torch.stack([torch.zeros(64, 64), torch.ones(64, 64)])
    crops, faces = detect(images, SquareDetector())[:2]
    pasted = paste(images, faces, 1 - crops, mask=mask)[0]
    assert torch.equal(pasted[0], images[0]) and not torch.equal(pasted[1], images[1])


def test_original_image_keeps_unswapped_faces() -> None:
    original = picture("blue", "green")[None]
    swapped = original.clone()
    swapped[:, 94:118, 114:138, 0] += 0.1  # the green face was swapped …
    swapped = (swapped * 255).round() / 255  # … and all went through 8 bits
    result, _, report = run(swapped, original_image=original)
    assert report.faces_restored == 1
    assert torch.equal(centre(result, "blue"), centre(swapped, "blue"))
    assert not torch.allclose(centre(result, "green"), centre(swapped, "green"), atol=0.1)


def test_scale_enlarges_the_canvas_and_pastes_there() -> None:
    image = picture("blue")[None]
    result, mask, report = run(image, scale=2.0, restorer=Inverter(96))
    assert result.shape == (1, 320, 400, 3) and mask.shape == (1, 320, 400)
    assert torch.allclose(centre(result, "blue", scale=2), 1 - centre(image, "blue"), atol=0.03)
    flat = torch.nn.functional.interpolate(result.permute(0, 3, 1, 2), (160, 200), mode="area").permute(0, 2, 3, 1)
    untouched = mask[:, ::2, ::2] == 0
    assert (flat - image)[untouched].abs().mean() < 0.02, "the enlargement moved the picture"
    assert not any("cannot show" in sentence for sentence in report.warnings)


def test_upscaled_image_is_the_canvas() -> None:
    image = picture("blue")[None]
    canvas = torch.zeros(1, 480, 600, 4)
    canvas[..., 3] = 0.25
    result, mask, report = run(image, upscaled_image=canvas, scale=2.0)
    assert result.shape == canvas.shape
    assert torch.equal(result[mask == 0], canvas[mask == 0])
    assert torch.equal(result[..., 3], canvas[..., 3])
    assert torch.allclose(centre(result, "blue", scale=3), 1 - centre(image, "blue"), atol=0.03)
    assert any("scale 2 was not used" in sentence for sentence in report.warnings)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 0.5}, "scale: expected a number from 1 to 4"),
        ({"scale": float("nan")}, "scale"),
        ({"fidelity": 1.5}, "fidelity: expected a number from 0 to 1"),
        ({"feather": 0.9}, "feather"),
        ({"threshold": -1.0}, "threshold"),
        ({"blend_mode": "add"}, "blend_mode: expected one of linear, detail, got 'add'"),
        ({"color_match": "lab"}, "color_match"),
        ({"mask_shape": "star"}, "mask_shape"),
        ({"template": "arcface"}, "template"),
        ({"order": "random"}, "order"),
        ({"select": "x"}, "select"),
        ({"upscaled_image": torch.rand(2, 320, 400, 3)}, "upscaled_image: expected 1 frames"),
        ({"upscaled_image": torch.rand(1, 320, 320, 3)}, "upscaled_image: expected the aspect"),
        ({"mask": torch.rand(3, 160, 200)}, "mask"),
    ],
)
def test_mistakes_are_said(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(picture("blue")[None], **options)


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (torch.zeros(0, 8, 8, 3), ValueError, "empty"),
        (torch.zeros(8, 8, 3), ValueError, "expected"),
        (torch.zeros(1, 8, 8, 2), ValueError, "expected"),
        (torch.zeros(1, 8, 8, 3, dtype=torch.uint8), TypeError, "divide by 255"),
        (np.zeros((1, 8, 8, 3)), TypeError, "tensor"),
        (torch.full((1, 8, 8, 3), float("inf")), ValueError, "NaN or infinite"),
    ],
)
def test_images_that_cannot_be_meant(image: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        run(image)


def test_a_one_pixel_picture_passes() -> None:
    image = torch.rand(1, 1, 1, 3)
    result, mask, report = run(image)
    assert torch.equal(result, image) and not mask.any() and report.faces_found == 0


def test_progress_ends_full_and_cancel_stops_between_faces() -> None:
    image = torch.stack([picture("blue", "green")] * 2)
    steps: list[tuple[int, int]] = []
    previews = 0

    def on_progress(done: int, total: int, preview: torch.Tensor | None) -> None:
        nonlocal previews
        steps.append((done, total))
        previews += preview is not None

    run(image, on_progress=on_progress)
    assert steps[-1][0] == steps[-1][1] and previews == 4
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)

    class Stop(BaseException):
        pass

    restorer, calls = Inverter(), 0

    def check_cancel() -> None:
        nonlocal calls
        calls += 1
        if restorer.calls:
            raise Stop

    with pytest.raises(Stop):
        run(image, restorer=restorer, check_cancel=check_cancel)
    assert len(restorer.calls) == 1, "more than one face was restored after the cancel"
    with pytest.raises(Stop):
        restorer.check_cancel()  # what the network was given asks the host: it can be cancelled within a face


def test_cancel_stops_between_the_passes_over_one_frame() -> None:
    class Stop(BaseException):
        pass

    passes = 0

    def check_cancel() -> None:
        if passes:
            raise Stop

    class Counting(SquareDetector):
        canvas = 64  # so the frame is shown in tiles and at several scales

        def detect(self, image: np.ndarray, threshold: float) -> Detections:
            nonlocal passes
            passes += 1
            return super().detect(image, threshold)

    with pytest.raises(Stop):
        run(picture("blue", "green", height=640, width=640)[None], detector=Counting(), check_cancel=check_cancel)
    assert passes == 1


def test_memory_is_asked_for_before_the_network_runs() -> None:
    asked: list[int] = []
    restorer = Inverter()

    def free_memory(amount: int) -> None:
        assert not restorer.calls
        asked.append(amount)

    run(picture("blue")[None], restorer=restorer, free_memory=free_memory)
    assert len(asked) == 1 and asked[0] > 64 * 64 * 3 * 4
    asked.clear()
    run(picture()[None], free_memory=free_memory)
    assert asked == [], "no face, no memory"


def test_batches_do_not_change_the_result() -> None:
    image = torch.stack([picture("blue", "green"), picture("green")])
    one, four = Inverter(batch_size=1), Inverter(batch_size=4)
    first, second = run(image, restorer=one), run(image, restorer=four)
    assert torch.allclose(first.image, second.image, atol=1e-6) and torch.equal(first.mask, second.mask)
    assert one.calls == [1, 1, 1] and four.calls == [3], "crops of two frames share a batch"


def test_crops_can_be_seen_before_they_are_restored() -> None:
    image = torch.stack([picture("blue"), picture("green")])
    seen: list[tuple[int, int, tuple[int, ...]]] = []
    run(image, on_crops=lambda frame, faces, crops: seen.append((frame, len(faces), tuple(crops.shape))), crop_size=96)
    assert seen == [(0, 1, (1, 96, 96, 3)), (1, 1, (1, 96, 96, 3))]


def test_three_stages_equal_the_paragraph() -> None:
    image = torch.stack([picture("blue", "green"), picture(), picture("green")])
    found = detect(image, SquareDetector(), crop_size=64)
    assert found.crops.shape == (3, 64, 64, 3)
    assert found.face_mask.shape == (3, 160, 200) and not found.face_mask[1].any()
    restored = restore_crops(found.crops, Inverter(), fidelity=0.3, blend_mode="detail", color_match="wavelet")
    pasted = paste(image, found.faces, restored.restored, feather=0.2, mask_shape="ellipse")
    whole = run(image, fidelity=0.3, blend_mode="detail", color_match="wavelet", feather=0.2, mask_shape="ellipse")
    assert torch.allclose(pasted.image, whole.image, atol=1e-5)
    assert torch.allclose(pasted.mask, whole.mask, atol=1e-6)
    for report in (found.report, restored.report, pasted.report):
        assert report.text() and json.dumps(report.to_dict())


def test_crop_size_auto_is_the_smallest_that_holds_the_largest_face() -> None:
    found = detect(picture("blue", "green")[None], SquareDetector())
    assert found.crops.shape == (2, 256, 256, 3)
    image = torch.nn.functional.interpolate(picture("blue")[None].permute(0, 3, 1, 2), scale_factor=6)
    assert detect(image.permute(0, 2, 3, 1), SquareDetector()).crops.shape == (1, 512, 512, 3)


def test_no_face_gives_one_black_crop_that_stays_black() -> None:
    found = detect(picture()[None], SquareDetector(), crop_size=128)
    assert found.crops.shape == (1, 128, 128, 3) and not found.crops.any() and len(found.faces) == 0
    restorer = Inverter()
    restored = restore_crops(found.crops, restorer)
    assert restorer.calls == [] and not restored.restored.any() and restored.restored.shape == (1, 64, 64, 3)
    image = picture()[None]
    assert torch.equal(paste(image, found.faces, torch.rand(5, 9, 9, 3)).image, image)


def test_alpha_of_crops_is_ignored() -> None:
    found = detect(picture("blue")[None], SquareDetector(), crop_size=64)
    with_alpha = torch.cat((found.crops, torch.rand(1, 64, 64, 1)), dim=3)
    assert torch.equal(restore_crops(with_alpha, Inverter()).restored, restore_crops(found.crops, Inverter()).restored)


def test_detection_is_what_the_crops_show() -> None:
    image = picture("blue")[None]
    found = detect(image, SquareDetector(), crop_size=48)
    assert torch.allclose(found.crops, crop_faces(image, found.faces, 48))
    assert torch.allclose(found.crops[0], image[0, 20:68, 30:78], atol=1e-4)


def test_alpha_survives_an_enlargement_without_one() -> None:
    image = picture("blue", channels=4)[None]
    result, _, _ = run(image, upscaled_image=torch.rand(1, 320, 400, 3))
    assert result.shape == (1, 320, 400, 4)
    shrunk = torch.nn.functional.interpolate(result[..., 3][None], (160, 200), mode="area")[0]
    assert (shrunk - image[..., 3]).abs().mean() < 0.05


def test_a_face_larger_than_the_model_is_said() -> None:
    image = torch.nn.functional.interpolate(picture("blue")[None].permute(0, 3, 1, 2), scale_factor=4)
    _, _, report = run(image.permute(0, 2, 3, 1), restorer=Inverter(64))
    assert "a 192 px face is larger than this model's 64 px" in report.text()
