"""Preparing a folder of one's own pictures for training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from gpen_pack.benchmarks.quality import ASTRONAUT
from gpen_pack.training.dataset import PortraitFolder
from gpen_pack.training.find_landmarks import LISTING, main
from PIL import Image


@pytest.fixture
def folder(tmp_path: Path, astronaut: torch.Tensor) -> Path:
    pixels = (astronaut[0].numpy() * 255).round().astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "astronaut.png")
    Image.fromarray(np.zeros((200, 200, 3), np.uint8)).save(tmp_path / "night.png")
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8\xff torn")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=turned)
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def test_faces_are_listed_as_training_reads_them_and_the_rest_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(folder), "--detector", "builtin"]) == 1  # some are skipped
    told = capsys.readouterr()
    assert "1 faces by builtin" in told.out and "3 pictures skipped" in told.out
    assert "night.png: no face" in told.err and "torn.jpg: it cannot be read" in told.err
    assert "turned.jpg: its EXIF orientation is not upright" in told.err and "notes" not in told.err
    (points,) = json.loads((folder / LISTING).read_text()).values()
    assert np.abs(np.array(points) - np.array(ASTRONAUT)).max() < 6
    assert PortraitFolder(folder, "all").names == ["astronaut.png"]


def test_a_listing_that_is_there_is_kept_unless_asked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / LISTING).write_text("{}")
    assert main([str(folder), "--detector", "builtin"]) == 1
    assert "--replace" in capsys.readouterr().err and (folder / LISTING).read_text() == "{}"
    assert main([str(folder), "--detector", "builtin", "--replace", "--min-face-px", "400"]) == 1
    assert "less than 400 px" in capsys.readouterr().err and json.loads((folder / LISTING).read_text()) == {}


def test_wrong_usage_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for wrong, words in (
        ([str(tmp_path / "none")], "no such folder"),
        ([str(tmp_path), "--detector", "x"], "expected one of"),
    ):
        with pytest.raises(SystemExit):
            main(wrong)
        assert words in capsys.readouterr().err
