"""From a name or a file to a detector, with tiny made-up graphs everywhere and the real files where they lie."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from gpen_pack.detectors import DetectorError, detector_files, load_detector
from gpen_pack.detectors import loading as detectors
from gpen_pack.detectors.detector import Detections

onnx = pytest.importorskip("onnx")

SCRFD = [f"out{i}" for i in range(9)]
YUNET = [f"{part}_{stride}" for part in ("cls", "obj", "bbox", "kps") for stride in (8, 16, 32)]


def graph(path: Path, outputs: list[str]) -> Path:
    """An ONNX file that hands its input through under these names."""
    tensor = onnx.TensorProto.FLOAT
    nodes = [onnx.helper.make_node("Identity", ["input"], [name]) for name in outputs]
    given = [onnx.helper.make_tensor_value_info("input", tensor, [1, 3, 32, 32])]
    taken = [onnx.helper.make_tensor_value_info(name, tensor, [1, 3, 32, 32]) for name in outputs]
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "tiny", given, taken), ir_version=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
    return path


class Loaded:
    provider = "none"

    def __init__(self, name: str, path: Path | None = None) -> None:
        self.name, self.path = name, path

    def detect(self, image: np.ndarray, threshold: float) -> Detections:
        return Detections.empty()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, no folders of our own, and loaders that tell which file they were given."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.setattr("gpen_pack.detectors.search.default_folders", lambda: (tmp_path / "own",))
    monkeypatch.setattr(
        detectors,
        "_LOADERS",
        {kind: lambda path, _, kind=kind: Loaded(kind, path) for kind in ("insightface", "yunet")},
    )
    monkeypatch.setattr(detectors, "_load_builtin", lambda: Loaded("builtin"))
    return tmp_path / "home"


def test_auto_takes_insightface_then_yunet_then_what_is_built_in(home: Path, tmp_path: Path) -> None:
    assert load_detector().name == "builtin"
    yunet = graph(tmp_path / "models" / "facedetection" / "face_detection_yunet_2023mar.onnx", YUNET)
    assert load_detector(folders=[tmp_path / "models"]).path == yunet  # type: ignore[attr-defined] # the stand-in's
    scrfd = graph(home / ".insightface" / "models" / "buffalo_l" / "det_10g.onnx", SCRFD)
    assert load_detector(folders=[str(tmp_path / "models")]).path == scrfd  # type: ignore[attr-defined] # the stand-in's
    assert load_detector("yunet", folders=[tmp_path / "models"]).name == "yunet"
    assert load_detector("builtin", folders=[tmp_path / "models"]).name == "builtin"


def test_files_are_found_where_others_keep_them_the_best_first(home: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    places = [
        "insightface/models/buffalo_s/det_500m.onnx",
        "insightface/models/buffalo_l/det_10g.onnx",
        "insightface/antelopev2/scrfd_10g_bnkps.onnx",
        "facedetection/SCRFD_2.5g_kps.ONNX",
        "scrfd_34g.onnx",
        "face_detection_yunet_2023mar_int8.onnx",
        "facedetection/face_detection_yunet_2023mar.onnx",
        "facedetection/face_detection_yunet_2026may.onnx",
    ]
    others = ["insightface/inswapper_128.onnx", "insightface/models/buffalo_l/w600k_r50.onnx"]
    others += ["det_10g.txt", "a/b/c/d/e/det_1g.onnx"]
    for place in (*places, *others):
        (models / place).parent.mkdir(parents=True, exist_ok=True)
        (models / place).touch()
    (models / "again").symlink_to(models, target_is_directory=True)
    found = detector_files([models, models / "facedetection", tmp_path / "absent"])
    names = [file.path.name for file in found]
    assert names[0] == "scrfd_34g.onnx" and set(names[1:3]) == {"det_10g.onnx", "scrfd_10g_bnkps.onnx"}
    assert names[3:] == [
        "SCRFD_2.5g_kps.ONNX",
        "det_500m.onnx",
        "face_detection_yunet_2026may.onnx",
        "face_detection_yunet_2023mar.onnx",
        "face_detection_yunet_2023mar_int8.onnx",
    ]
    assert [file.kind for file in found] == ["insightface"] * 5 + ["yunet"] * 3
    assert not (tmp_path / "absent").exists() and not home.exists()


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_a_dangling_link_is_no_detector(home: Path, tmp_path: Path) -> None:
    link = tmp_path / "models" / "det_10g.onnx"
    link.parent.mkdir()
    link.symlink_to(tmp_path / "unplugged" / "det_10g.onnx")
    assert detector_files([tmp_path / "models"]) == []
    assert load_detector(folders=[tmp_path / "models"]).name == "builtin"
    with pytest.raises(DetectorError, match=r"det_10g\.onnx: no such file"):
        load_detector(model=link)


def test_comfyui_around_the_pack_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = tmp_path / "ComfyUI" / "models"
    own = (tmp_path / "ComfyUI" / "custom_nodes" / "pack" / "models", models / "gpen")
    monkeypatch.setattr("gpen_pack.detectors.search.default_folders", lambda: own)
    path = graph(models / "insightface" / "models" / "buffalo_l" / "det_10g.onnx", SCRFD)
    assert path in [file.path for file in detector_files()]


def test_a_file_is_what_it_holds_not_what_it_is_called(home: Path, tmp_path: Path) -> None:
    yunet, scrfd = graph(tmp_path / "det_10g.onnx", YUNET), graph(tmp_path / "yunet.onnx", SCRFD)
    assert load_detector(model=yunet).name == "yunet" and load_detector(model=scrfd).name == "insightface"
    with pytest.raises(DetectorError, match=r"yunet\.onnx.*insightface, not yunet"):
        load_detector("yunet", scrfd)
    with pytest.raises(DetectorError, match="takes no file"):
        load_detector("builtin", scrfd)


def test_what_was_found_by_a_wrong_name_is_passed_over(
    home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    graph(tmp_path / "models" / "det_10g.onnx", YUNET)
    (tmp_path / "models" / "det_2.5g.onnx").write_bytes(b"")
    good = graph(tmp_path / "models" / "det_500m.onnx", SCRFD)
    with caplog.at_level(logging.WARNING):
        assert load_detector(folders=[tmp_path / "models"]).path == good  # type: ignore[attr-defined] # the stand-in's
    assert "det_10g.onnx" in caplog.text and "det_2.5g.onnx" in caplog.text
    good.unlink()
    assert load_detector(folders=[tmp_path / "models"]).name == "builtin"
    with pytest.raises(DetectorError, match=r"det_10g\.onnx.*det_2\.5g\.onnx"):
        load_detector("insightface", folders=[tmp_path / "models"])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such file"),
        (b"", "empty"),
        (b"<!DOCTYPE html><html>404</html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git-lfs"),
        (b"\x00\x01\x02\x03" * 99, "not an ONNX file"),
    ],
)
def test_an_unusable_file_is_named_with_what_to_do(
    content: bytes | None, words: str, home: Path, tmp_path: Path
) -> None:
    path = tmp_path / "detector.onnx"
    if content is not None:
        path.write_bytes(content)
    for name in ("auto", "insightface", "yunet"):
        with pytest.raises(DetectorError, match=words) as caught:
            load_detector(name, path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        (["loc", "conf", "iou"], "before 2023"),
        ([f"out{i}" for i in range(6)], "without landmarks"),
        (["683"], "neither an SCRFD"),
    ],
)
def test_graphs_of_other_kinds_are_told_apart(outputs: list[str], words: str, home: Path, tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match=words):
        load_detector(model=graph(tmp_path / "some.onnx", outputs))


def test_a_name_that_finds_nothing_says_where_and_what_to_get(home: Path, tmp_path: Path) -> None:
    for name, words in (("yunet", "OpenCV Zoo.*MIT"), ("insightface", "buffalo_l.*non-commercial")):
        with pytest.raises(DetectorError, match=words) as caught:
            load_detector(name, folders=[tmp_path / "models"])
        for folder in (tmp_path / "models", tmp_path / "own", home / ".insightface"):
            assert str(folder) in str(caught.value)
    with pytest.raises(DetectorError, match="auto, insightface, yunet, builtin"):
        load_detector("retinaface")


@pytest.mark.parametrize(
    ("missing", "name"), [("insightface", "insightface"), ("onnxruntime", "insightface"), ("cv2", "yunet")]
)
def test_a_missing_package(
    missing: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = graph(tmp_path / f"{name}.onnx", SCRFD if name == "insightface" else YUNET)
    monkeypatch.setitem(sys.modules, missing, None)
    for loaded in [n for n in sys.modules if n.startswith(missing + ".")]:
        monkeypatch.setitem(sys.modules, loaded, None)
    monkeypatch.setattr(detectors, "_load_builtin", lambda: Loaded("builtin"))
    monkeypatch.setattr(detectors, "detector_files", lambda folders: [detectors.DetectorFile(name, file)])
    with pytest.raises(DetectorError, match="pip install"):
        load_detector(name)
    with caplog.at_level(logging.WARNING):
        assert load_detector().name == "builtin"
    assert "pip install" in caplog.text


def test_without_anything_the_built_in_detector_says_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detectors, "LANDMARK_WEIGHTS", tmp_path / "face-landmarks.safetensors")
    with pytest.raises(DetectorError, match=r"scikit-image.*face-landmarks"):
        load_detector("builtin")


def test_the_built_in_detector(root: Path) -> None:
    pytest.importorskip("skimage")
    if not detectors.LANDMARK_WEIGHTS.is_file():
        pytest.skip("the built-in landmark weights are not in this copy")
    detector = load_detector("builtin")
    assert detector.name == "builtin" and detector.provider


def test_importing_the_pack_imports_no_detector_package(root: Path) -> None:
    code = (
        "import importlib.machinery, importlib.util, sys\n"
        "spec = importlib.machinery.ModuleSpec('gpen_pack', None, is_package=True)\n"
        f"spec.submodule_search_locations = [{str(root)!r}]\n"
        "sys.modules['gpen_pack'] = importlib.util.module_from_spec(spec)\n"
        "import gpen_pack.detectors.loading, gpen_pack.detectors.detection\n"
        "print(sorted({'insightface', 'onnxruntime', 'skimage', 'onnx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


# from here on the real files


def test_the_real_files(shared: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def refuse(*args: object, **keywords: object) -> None:
        raise AssertionError("a detector asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    scrfd = load_detector(folders=[shared / "detectors"])
    yunet = load_detector("yunet", folders=[shared / "detectors"])
    assert (scrfd.name, yunet.name) == ("insightface", "yunet")
    session = scrfd._model.session  # type: ignore[attr-defined] # what really runs is what is asked about
    assert scrfd.provider == f"onnxruntime {session.get_providers()[0]}"
    assert yunet.provider.startswith("opencv ")
    captured = capfd.readouterr()
    assert captured.out == "" and "setPreferableTarget" not in captured.err


@pytest.mark.parametrize("name", ["scrfd_500m_bnkps.onnx", "face_detection_yunet_2026may.onnx"])
def test_a_cut_off_download(name: str, shared: Path, tmp_path: Path) -> None:
    whole = (shared / "detectors" / name).read_bytes()
    path = tmp_path / name
    for share in (0.3, 0.9):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(DetectorError, match=name):
            load_detector(model=path)


def test_yunet_under_a_name_in_another_script(shared: Path, tmp_path: Path) -> None:
    path = tmp_path / "\u043b\u0438\u0446\u0430 \u9854.onnx"  # Cyrillic and Japanese
    path.write_bytes((shared / "detectors" / "face_detection_yunet_2026may.onnx").read_bytes())
    assert load_detector(model=path).name == "yunet"


@pytest.mark.skipif(os.name == "nt", reason="Windows' file names know no case")
def test_scrfd_under_a_name_in_capitals(shared: Path, tmp_path: Path) -> None:
    path = tmp_path / "det_500m.ONNX"
    path.write_bytes((shared / "detectors" / "scrfd_500m_bnkps.onnx").read_bytes())
    assert load_detector(model=path, device="cpu").name == "insightface"


def test_the_device_decides_the_provider(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    asked: list[list[object]] = []
    real, available = onnxruntime.InferenceSession, ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def session(path: str, options: object, *, providers: list[object], **_: object) -> object:
        asked.append(providers)
        return real(path, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
    file = shared / "detectors" / "scrfd_500m_bnkps.onnx"
    for device in ("cpu", torch.device("cpu"), "cuda:1", None):
        load_detector(model=file, device=device)
    assert asked[:2] == [["CPUExecutionProvider"]] * 2
    (name, options), _ = asked[2]  # type: ignore[misc] # a provider with its options
    assert (name, options["device_id"]) == ("CUDAExecutionProvider", "1")
    assert asked[3][0][0] == "CUDAExecutionProvider" and "device_id" not in asked[3][0][1]  # type: ignore[index] # the same
    with pytest.raises(DetectorError, match="cuda:1"):
        load_detector(model=file, device="gpu zero")
