"""Graphs through a real server: every template, every kind of picture, every neighbour, memory let go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpen_pack.tests.comfyui.graphs import BLENDING, DETECTION, left_after_freeing, node, restore_graph, step_by_step

pytestmark = pytest.mark.comfyui

TEMPLATES = sorted((Path(__file__).parents[2] / "example_workflows").glob("*.json"))
FACE = (slice(60, 180), slice(180, 270))  # rows and columns of the astronaut's face
FAR = (slice(330, 512), slice(0, 512))


def pictures(comfyui: Any, outputs: dict[str, Any], key: str = "4") -> list[np.ndarray]:
    return [comfyui.picture(image) for image in outputs[key]["images"]]


def assert_only_the_face_changed(before: np.ndarray, after: np.ndarray, levels: int = 0) -> None:
    assert after.shape == before.shape
    assert np.abs(after[FACE].astype(int) - before[FACE]).mean() > 1, "the face was not restored"
    assert np.abs(after[FAR].astype(int) - before[FAR]).max() <= levels, "pixels far from the face changed"


@pytest.fixture(scope="module")
def original(comfyui: Any, photo: str) -> np.ndarray:
    return comfyui.picture({"filename": photo, "type": "input"})


def test_five_nodes_with_words_for_everything(info: dict[str, Any]) -> None:
    ours = {name: told for name, told in info.items() if told["python_module"].endswith("comfyui-gpen")}
    assert len(ours) == 5
    for name, told in ours.items():
        assert told["display_name"] != name and told["description"] and told["category"] == "GPEN"
        assert len(told["output_tooltips"]) == len(told["output"])
        for spec in {**told["input"]["required"], **told["input"].get("optional", {})}.values():
            assert spec[1]["tooltip"], name


def test_import_says_nothing_and_touches_nobody(comfyui: Any) -> None:
    log = comfyui.text_log()
    assert "IMPORT FAILED" not in log
    assert "Traceback" not in log.split("To see the GUI")[0]
    assert sorted(path.name for path in (comfyui.base / "models").iterdir()) == ["gpen"], "folders were made"


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: file.stem)
def test_every_template_runs(
    comfyui: Any, info: dict[str, Any], graph_of: Any, original: np.ndarray, file: Path
) -> None:
    outputs = comfyui.run(graph_of(json.loads(file.read_text(encoding="utf-8"))))
    kinds = [image for told in outputs.values() for image in told.get("images", []) if image["type"] == "output"]
    assert kinds, "nothing was saved"
    if not kinds[0]["filename"].endswith(".png"):
        assert (comfyui.base / "output" / kinds[0]["subfolder"] / kinds[0]["filename"]).stat().st_size > 1000
        return
    after = comfyui.picture(kinds[0])
    if after.shape == original.shape:
        assert np.abs(after[FACE].astype(int) - original[FACE]).mean() > 1
        if "ReActor" not in file.stem:
            assert_only_the_face_changed(original, after)
    else:
        assert after.shape == (1024, 1024, 3), "the upscaled picture decides the size"
        off = np.abs(after.reshape(512, 2, 512, 2, 3).mean((1, 3)) - original)  # half the size again
        assert off[FAR].mean() < 1, "the picture is not where it was"
        assert off[FACE].mean() > off[FAR].mean() + 1, "the face was not pasted where it belongs"


def test_the_two_previews(comfyui: Any, photo: str) -> None:
    graph = restore_graph(photo)
    graph["3"] = node("GPENFaceDetect", image=["1", 0], **{**DETECTION, "select": "1"}, crop_size="256")
    graph["4"] = node("GPENFaceRestore", gpen_model=["2", 0], crops=["3", 0], **BLENDING)
    graph["5"] = node("PreviewAny", source=["3", 4])
    graph["6"] = node("SaveImage", images=["4", 0], filename_prefix="crop")
    outputs = comfyui.run(graph)
    assert "face 0 (large-small) is not among select 1" in outputs["5"]["text"][0]
    shown = comfyui.picture(outputs["3"]["images"][0])
    assert shown.shape == (512, 512, 3)
    grey = (shown == 170).all(2).sum()
    assert grey > 200, "a face that was left out is drawn in grey, with the number to type"
    assert comfyui.picture(outputs["4"]["images"][0]).shape == (1024, 512, 3)


@pytest.mark.parametrize("habit", ["fp16", "non-contiguous", "two frames", "rgba"])
def test_pictures_as_neighbours_give_them(comfyui: Any, photo: str, original: np.ndarray, habit: str) -> None:
    graph = restore_graph(photo, image=["9", 0])
    graph["9"] = node("TestBadImage", image=["1", 0], habit=habit)
    results = pictures(comfyui, comfyui.run(graph))
    assert len(results) == (2 if habit == "two frames" else 1)
    for after in results:
        if habit == "rgba":
            assert after.shape[2] == 4 and (after[..., 3] == 63).all(), "alpha was lost"
        # SaveImage truncates, so what fp16 rounded down loses a level there
        assert_only_the_face_changed(original, after[..., :3], levels=1 if habit == "fp16" else 0)


@pytest.mark.parametrize(
    ("detector", "name"), [("insightface", "scrfd_500m_bnkps.onnx"), ("yunet", "face_detection_yunet_2026may.onnx")]
)
def test_a_detector_is_found_once_its_file_is_there(
    comfyui: Any, shared: Path, photo: str, original: np.ndarray, detector: str, name: str
) -> None:
    graph = restore_graph(photo, detector=detector)
    with pytest.raises(RuntimeError, match=detector):
        comfyui.run(graph)
    file = comfyui.base / "models/gpen" / name
    file.write_bytes((shared / "detectors" / name).read_bytes())
    try:
        outputs = comfyui.run(graph)
    finally:
        file.unlink()
    assert f"detector: {detector}" in outputs["5"]["text"][0]
    assert_only_the_face_changed(original, pictures(comfyui, outputs)[0])


def test_no_face_is_no_error(comfyui: Any, photo: str) -> None:
    graph = restore_graph(photo)
    graph["9"] = node("TestBadImage", image=["1", 0], habit="no face")
    graph["3"]["inputs"]["image"] = ["9", 0]
    outputs = comfyui.run(graph)
    assert "no face found" in outputs["5"]["text"][0]
    assert len(np.unique(pictures(comfyui, outputs)[0])) == 1


def test_no_face_goes_through_the_separate_nodes(comfyui: Any, photo: str) -> None:
    """The crop is one black picture that other nodes can work on; nothing is pasted."""
    graph = step_by_step(photo)
    graph["9"] = node("TestBadImage", image=["1", 0], habit="no face")
    graph["8"] = node("ImageScaleBy", image=["6", 0], upscale_method="lanczos", scale_by=2.0)
    graph["3"]["inputs"]["image"] = graph["7"]["inputs"]["image"] = ["9", 0]
    graph["7"]["inputs"]["restored"] = ["8", 0]
    graph["10"] = node("PreviewImage", images=["3", 0])
    outputs = comfyui.run(graph)
    assert not pictures(comfyui, outputs, "10")[0].any()
    assert len(np.unique(pictures(comfyui, outputs)[0])) == 1
    assert "0 pasted" in outputs["5"]["text"][0]


def test_a_frame_without_a_face_among_others(comfyui: Any, photo: str, original: np.ndarray) -> None:
    graph = restore_graph(photo, image=["9", 0])
    graph["9"] = node("TestBadImage", image=["1", 0], habit="no face in the second")
    outputs = comfyui.run(graph)
    first, second = pictures(comfyui, outputs)
    assert_only_the_face_changed(original, first)
    assert (second == 127).all(), "the frame without a face changed"
    assert "1 restored" in outputs["5"]["text"][0]


def test_load_images_empty_mask_is_no_mask(comfyui: Any, photo: str, original: np.ndarray) -> None:
    outputs = comfyui.run(restore_graph(photo, mask=["1", 1]))
    assert_only_the_face_changed(original, pictures(comfyui, outputs)[0])


def test_free_memory_lets_go_and_goes_on(comfyui: Any, photo: str) -> None:
    """One network and one detector for two graphs and two nodes; none when ComfyUI is told to free its memory."""
    comfyui.post("/free", {"unload_models": True, "free_memory": True})
    graph = restore_graph(photo, fidelity=0.11)
    graph["6"] = node("GPENFaceDetect", image=["1", 0], **DETECTION, crop_size="256")
    graph["7"] = node("PreviewImage", images=["6", 0])
    comfyui.run({**graph, "8": node("TestLeftovers", turn=1)})
    assert comfyui.run({**graph, "8": node("TestLeftovers", turn=2)})["8"]["text"] == ["1 networks, 1 sessions"]
    assert left_after_freeing(comfyui) == "0 networks, 0 sessions"
    assert comfyui.run(restore_graph(photo, fidelity=0.12))["4"]["images"]


def test_a_replaced_model_file_is_read_again(comfyui: Any, photo: str) -> None:
    import torch
    from gpen_pack.gpen_arch import GPEN, GPENConfig

    file = comfyui.base / "models/gpen/changing.pth"
    graph = restore_graph(photo, fidelity=0.0)
    graph["2"]["inputs"]["model_name"] = file.name
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        torch.save(GPEN(GPENConfig.standard(64, narrow=1 / 32, style_dim=32, mapping_layers=2)).state_dict(), file)
        results.append(pictures(comfyui, comfyui.run(graph))[0])
    assert not np.array_equal(*results)


def test_the_saved_picture_carries_the_graph(comfyui: Any, photo: str) -> None:
    from PIL import Image

    graph = restore_graph(photo, fidelity=0.37)
    image = comfyui.run(graph)["4"]["images"][0]
    with Image.open(comfyui.base / "output" / image["filename"]) as picture:
        saved = json.loads(picture.info["prompt"])
    assert saved["3"]["inputs"] == graph["3"]["inputs"] and saved["2"]["inputs"] == graph["2"]["inputs"]
