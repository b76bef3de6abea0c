"""The model of a run that names none: chosen by headers, read once, damaged files left out with a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from gpen_pack import models
from gpen_pack.cli.choosing import choose_model, load_best_model
from gpen_pack.gpen_arch import GPEN, GPENConfig
from gpen_pack.models import gpen_weights, load_gpen


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model folder with a small model, larger ones that are damaged, and files that are none."""
    monkeypatch.setattr(models, "default_folders", lambda: (tmp_path,))
    monkeypatch.setattr(models, "default_shared_folders", lambda: ())
    real = models.find_model_files
    monkeypatch.setattr(models, "find_model_files", lambda *_: real([tmp_path]))

    def state(size: int) -> dict[str, torch.Tensor]:
        return GPEN(GPENConfig.standard(size, narrow=1 / 64, style_dim=16, mapping_layers=1)).state_dict()

    torch.save(state(16), tmp_path / "good.pth")
    torch.save(state(64) | {"generator.to_rgbs.0.bias": torch.full((1, 3, 1, 1), torch.nan)}, tmp_path / "nan.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "good.pth").read_bytes()[:-100])
    (tmp_path / "page.pth").write_bytes(b"<html>")
    (tmp_path / "pickle.pt").write_bytes(b"\x80\x04\x8e\0\0\0\0\0\0\0\x10xxxx")
    (tmp_path / "deep.safetensors").write_bytes((400_000).to_bytes(8, "little") + b'{"a":' + b"[" * 400_000)
    return tmp_path


def test_headers_decide_and_weights_are_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    real = gpen_weights.check_weights_finite
    monkeypatch.setattr(gpen_weights, "check_weights_finite", lambda path, w: (read.append(path.name), real(path, w)))
    model, sentence = choose_model()
    assert model == str(folder / "nan.pth"), "its header is right"
    assert read == []
    assert all(name in sentence for name in ("cut.pth", "page.pth", "pickle.pt", "deep.safetensors"))
    (folder / "nan.pth").unlink()
    notes: list[str] = []
    restorer = load_best_model(load_gpen, notes.append)
    assert restorer.config.out_size == 16 and read == ["good.pth"]


def test_a_file_that_turns_out_to_be_damaged_is_left_out(folder: Path) -> None:
    notes: list[str] = []
    restorer = load_best_model(load_gpen, notes.append)
    assert restorer.path == folder / "good.pth"
    (note,) = notes
    assert "good.pth" in note.splitlines()[0]
    assert any("nan.pth" in line and "NaN" in line for line in note.splitlines()[1:])
    (folder / "good.pth").unlink()
    assert load_best_model(load_gpen, notes.append).name == models.BUILTIN_LABEL
    assert "built-in" in notes[-1] and "nan.pth" in notes[-1]
