"""The nodes at work: pictures of all kinds, no face, cancel, mistakes."""

from __future__ import annotations

from typing import Any

import pytest
import torch


def test_four_nodes_do_what_the_one_does(nodes: Any, model_file: str, picture: Any, run: Any, load: Any) -> None:
    model, image = load(nodes, model_file), picture(2)
    crops, faces, face_mask, count, _ = run(nodes["GPENFaceDetect"], image=image)
    assert (count, crops.shape[0], len(faces), face_mask.shape) == (2, 2, 2, (2, 128, 160))
    restored, _ = run(nodes["GPENFaceRestore"], gpen_model=model, crops=crops, fidelity=0.0)
    assert restored.shape == (2, 64, 64, 3)
    pasted, mask, _ = run(nodes["GPENFacePasteBack"], image=image, faces=faces, restored=restored)
    once, once_mask, report = run(nodes["GPENRestoreImage"], image=image, gpen_model=model, fidelity=0.0)
    assert torch.allclose(mask, once_mask)
    assert (pasted - once).abs().max() < 0.15  # crops of 256 px against crops of the model's own 64
    assert torch.equal(once[mask == 0], image[mask == 0]), "untouched pixels changed"
    assert (once - image).abs().amax() > 0.05, "nothing was pasted"
    assert "2 faces found" in report and "torch" in report


def test_no_face_passes_through(nodes: Any, model_file: str, run: Any, load: Any) -> None:
    model, image = load(nodes, model_file), torch.full((1, 64, 64, 3), 0.5)
    crops, faces, face_mask, count, report = run(nodes["GPENFaceDetect"], image=image)
    assert count == 0 and len(faces) == 0 and crops.shape[0] == 1 and not crops.any() and not face_mask.any()
    assert "no face" in report
    restored, _ = run(nodes["GPENFaceRestore"], gpen_model=model, crops=crops)
    pasted, mask, _ = run(nodes["GPENFacePasteBack"], image=image, faces=faces, restored=restored)
    assert torch.equal(pasted, image) and not mask.any()
    once, mask, report = run(nodes["GPENRestoreImage"], image=image, gpen_model=model)
    assert torch.equal(once, image) and not mask.any() and "no face" in report


def test_cancel_raises_the_hosts_own_exception(
    host: Any, nodes: Any, model_file: str, picture: Any, run: Any, load: Any, cancelled: type[BaseException]
) -> None:
    model = load(nodes, model_file)
    host.cancelled = True
    with pytest.raises(cancelled):
        run(nodes["GPENRestoreImage"], image=picture(), gpen_model=model)
    with pytest.raises(cancelled):
        run(nodes["GPENFaceRestore"], gpen_model=model, crops=torch.rand(2, 64, 64, 3))


def test_inputs_are_never_written_into(nodes: Any, model_file: str, picture: Any, run: Any, load: Any) -> None:
    model = load(nodes, model_file)
    for image in (picture(1, 4), picture(2).half(), picture(1).permute(0, 2, 1, 3)):
        before = image.clone()
        result = run(nodes["GPENRestoreImage"], image=image, gpen_model=model)[0]
        assert torch.equal(image, before)
        assert result.shape == image.shape


def test_alpha_is_kept(nodes: Any, model_file: str, picture: Any, run: Any, load: Any) -> None:
    image = picture(1, 4)
    result = run(nodes["GPENRestoreImage"], image=image, gpen_model=load(nodes, model_file))[0]
    assert torch.equal(result[..., 3], image[..., 3])


def test_load_images_empty_mask_counts_as_absent(
    nodes: Any, model_file: str, picture: Any, run: Any, load: Any
) -> None:
    image, model = picture(), load(nodes, model_file)
    plain = run(nodes["GPENRestoreImage"], image=image, gpen_model=model)
    empty = run(nodes["GPENRestoreImage"], image=image, gpen_model=model, mask=torch.zeros(1, 64, 64))
    assert torch.equal(plain[0], empty[0]) and plain[1].any()


def test_mistakes_are_said(nodes: Any, model_file: str, picture: Any, run: Any, load: Any) -> None:
    model, image = load(nodes, model_file), picture()
    _, faces, *_ = run(nodes["GPENFaceDetect"], image=image)
    with pytest.raises(ValueError, match="expected"):
        run(nodes["GPENFacePasteBack"], image=image, faces=faces, restored=torch.rand(3, 64, 64, 3))
    with pytest.raises(ValueError, match="expected"):
        run(nodes["GPENFacePasteBack"], image=torch.rand(1, 160, 160, 3), faces=faces, restored=torch.rand(1, 8, 8, 3))
    with pytest.raises(ValueError, match="NaN"):
        run(nodes["GPENRestoreImage"], image=image * float("nan"), gpen_model=model)
    with pytest.raises(ValueError, match="empty"):
        run(nodes["GPENRestoreImage"], image=image[:0], gpen_model=model)
    with pytest.raises(ValueError, match="select"):
        run(nodes["GPENRestoreImage"], image=image, gpen_model=model, select="first")
    with pytest.raises(TypeError, match="faces"):
        run(nodes["GPENFacePasteBack"], image=image, faces=image, restored=image)


def test_what_another_node_calls_gpen_model_is_refused(nodes: Any, picture: Any, run: Any) -> None:
    for name, image in (("GPENRestoreImage", "image"), ("GPENFaceRestore", "crops")):
        with pytest.raises(TypeError, match=r"expected what Load GPEN Model gives, got dict"):
            run(nodes[name], gpen_model={}, **{image: picture()})


def test_cancel_stops_between_the_frames_of_a_paste(
    host: Any, nodes: Any, picture: Any, run: Any, cancelled: Any
) -> None:
    image = picture(3)
    crops, faces, *_ = run(nodes["GPENFaceDetect"], image=image)
    before = len(host.progress)

    class Impatient(list):  # type: ignore[type-arg]
        def append(self, entry: Any) -> None:
            super().append(entry)
            host.cancelled = True

    host.progress = Impatient(host.progress)
    with pytest.raises(cancelled):
        run(nodes["GPENFacePasteBack"], image=image, faces=faces, restored=crops)
    assert len(host.progress) == before + 1, "one frame more than it took to notice"


def test_results_take_the_hosts_intermediate_type(
    nodes: Any, model_file: str, picture: Any, run: Any, load: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    management = sys.modules["comfy.model_management"]
    monkeypatch.setattr(management, "intermediate_dtype", lambda: torch.float16, raising=False)
    image, mask, _ = run(nodes["GPENRestoreImage"], gpen_model=load(nodes, model_file), image=picture())
    assert image.dtype == mask.dtype == torch.float16


def test_faces_of_other_frames_or_another_aspect_are_refused(nodes: Any, picture: Any, run: Any) -> None:
    crops, faces, *_ = run(nodes["GPENFaceDetect"], image=picture(2))
    paste = nodes["GPENFacePasteBack"]
    with pytest.raises(ValueError, match=r"expected 2 frame\(s\)"):
        run(paste, image=picture(3), faces=faces, restored=crops)
    with pytest.raises(ValueError, match="aspect"):
        run(paste, image=picture(2)[:, :, :80], faces=faces, restored=crops)
    with pytest.raises(ValueError, match="expected 2 pictures, one per face"):
        run(paste, image=picture(2), faces=faces, restored=crops[:1])
    with pytest.raises(ValueError, match=r"restored, face 1: .* NaN"):
        broken = crops.clone()
        broken[1] = float("nan")
        run(paste, image=picture(2), faces=faces, restored=broken)
