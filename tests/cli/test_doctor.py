"""``doctor`` and ``demo``: what is found, what is missing, and a photo restored from nothing."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import ClassVar

import pytest
import safetensors.torch
import torch
from gpen_pack import detectors, models
from gpen_pack.cli import main
from gpen_pack.cli.choosing import choose_model
from gpen_pack.cli.commands import doctor
from gpen_pack.gpen_arch import GPEN, GPENConfig
from gpen_pack.jobs.image_io.decoding import read_picture
from gpen_pack.models.restorers import providers


@pytest.fixture
def one_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model folder with one small model, one broken file, and no others anywhere."""
    folder = tmp_path / "models"
    folder.mkdir()
    tiny = GPEN(GPENConfig.standard(64, channel_multiplier=1, narrow=1 / 32, style_dim=32, mapping_layers=2))
    safetensors.torch.save_file(tiny.state_dict(), folder / "tiny-2048.safetensors")
    (folder / "page.pth").write_text("<!DOCTYPE html>")
    files = [models.ModelFile(path, folder, path.name) for path in sorted(folder.iterdir())]
    monkeypatch.setattr(models, "default_folders", lambda: (folder, tmp_path / "absent"))
    monkeypatch.setattr(models, "default_shared_folders", lambda: ())
    monkeypatch.setattr(models, "find_model_files", lambda *_: [file for file in files if file.path.exists()])
    return folder


class Sees:
    name, provider = "stand-in", "nothing"


def test_json_and_words_say_the_same(
    one_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(name: str) -> Sees:
        if name == "insightface":
            raise detectors.DetectorError("no SCRFD file; put one there")
        return Sees()

    monkeypatch.setattr(detectors, "load_detector", load)
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["packages"]["torch"] == torch.__version__ and found["problems"] == []
    assert found["devices"][-1].startswith("cpu")
    assert [entry["exists"] for entry in found["model_folders"]] == [True, False]
    by_name = {Path(entry["path"]).name: entry for entry in found["models"]}
    tiny, page = by_name["tiny-2048.safetensors"], by_name["page.pth"]
    assert tiny["usable"] and "64 px" in tiny["what"] and "2048" in tiny["warning"]
    assert not page["usable"] and "web page" in page["warning"]
    assert Path(found["default_model"]).name == "tiny-2048.safetensors"
    assert [entry["usable"] for entry in found["detectors"]] == [False, True, True]
    assert found["default_detector"] == "yunet"

    assert main(["doctor"]) == 0
    words = capsys.readouterr().out
    for part in ("tiny-2048.safetensors", "no SCRFD file", torch.__version__, "(not there)", "All that is needed"):
        assert part in words


def test_nothing_to_restore_with_is_a_problem(
    one_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def load(name: str) -> Sees:
        raise detectors.DetectorError(f"no {name}")

    monkeypatch.setattr(detectors, "load_detector", load)
    monkeypatch.setattr(models, "BUILTIN_PATH", tmp_path / "no-built-in")
    (one_model / "tiny-2048.safetensors").unlink()
    assert main(["doctor", "--json"]) == 1
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert any("no model" in problem for problem in problems) and any("detector" in problem for problem in problems)


@pytest.mark.parametrize(("package", "code"), [("torch", 1), ("insightface", 0)])
def test_a_missing_package_is_named_with_the_line_that_installs_it(
    package: str, code: int, one_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = doctor.importlib.import_module

    def absent(name: str, *rest: object) -> object:
        if name == package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest)  # type: ignore[arg-type] # handed on as it came

    monkeypatch.setattr(doctor.importlib, "import_module", absent)
    monkeypatch.setattr(detectors, "load_detector", lambda _: Sees())
    assert main(["doctor", "--json"]) == code
    found = json.loads(capsys.readouterr().out)
    assert found["packages"][package] is None
    assert any(f"pip install {package}" in line for line in (found["problems"] if code else found["notes"]))


def test_a_cpu_onnxruntime_that_hides_the_gpu_one(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"onnxruntime": "1.32.0", "onnxruntime-gpu": "1.31.0"}

    def version(name: str) -> str:
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(providers.importlib.metadata, "version", version)

    class Runtime:
        listed: ClassVar[list[str]] = ["CPUExecutionProvider"]

        def get_available_providers(self) -> list[str]:
            return self.listed

    found = doctor.Findings()
    doctor._onnxruntime(found, Runtime(), gpu=True)
    assert found.onnxruntime["gpu_hidden"] and found.onnxruntime["mend"] == list(doctor.MEND)
    assert all("pip" in line for line in doctor.MEND) and "onnxruntime-gpu" in found.notes[0]

    found = doctor.Findings()
    doctor._onnxruntime(found, Runtime(), gpu=False)  # a fresh install without a GPU: nothing is slower for it
    assert not found.onnxruntime["gpu_hidden"] and found.notes == []

    Runtime.listed = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    found = doctor.Findings()
    doctor._onnxruntime(found, Runtime(), gpu=True)
    assert not found.onnxruntime["gpu_hidden"] and found.notes == []

    Runtime.listed, _ = ["CPUExecutionProvider"], installed.pop("onnxruntime-gpu")
    found = doctor.Findings()
    doctor._onnxruntime(found, Runtime(), gpu=True)
    assert not found.onnxruntime["gpu_hidden"] and "no GPU support" in found.notes[0]


def test_the_model_of_a_run_that_names_none(one_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest by its weights, whatever the names say; broken ones are said; else the built-in one."""
    larger = GPEN(GPENConfig.standard(128, channel_multiplier=1, narrow=1 / 32, style_dim=32, mapping_layers=2))
    for name in ("a-512.pth", "GPEN-Colorization-1024.pth"):
        torch.save(larger.state_dict(), one_model / name)
    files = [models.ModelFile(path, one_model, path.name) for path in sorted(one_model.iterdir())]
    monkeypatch.setattr(models, "find_model_files", lambda *_: files)
    model, sentence = choose_model()
    assert model == str(one_model / "a-512.pth")
    assert "128 px" in sentence and "page.pth" in sentence
    monkeypatch.setattr(models, "find_model_files", lambda *_: [])
    model, sentence = choose_model()
    assert model == "builtin" and str(one_model) in sentence


def test_demo_restores_the_photo_that_comes_with_the_packages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("skimage")
    assert main(["demo", "-o", str(tmp_path / "demo")]) == 0
    out = capsys.readouterr().out
    names = sorted(path.name for path in (tmp_path / "demo").iterdir())
    assert names == ["before-after.png", "photo.jpg", "restored.png"]
    photo, restored = (read_picture(tmp_path / "demo" / name) for name in ("photo.jpg", "restored.png"))
    assert photo.size == (256, 256) and restored.size == (512, 512)
    assert "1 face found, 1 restored" in out and "built in" in out
    assert str(tmp_path / "demo" / "before-after.png") in out
