"""The command line with real detectors on real faces; the model has random weights, so places count, not looks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from gpen_pack.cli import main
from gpen_pack.gpen_arch import GPEN, GPENConfig
from gpen_pack.jobs.image_io.decoding import read_gray, read_picture
from gpen_pack.jobs.image_io.encoding import write_picture
from gpen_pack.jobs.image_io.picture import Metadata


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GPEN of 64 px with random weights."""
    net = GPEN(GPENConfig.standard(64, channel_multiplier=1, narrow=1 / 32, style_dim=32, mapping_layers=2))
    path = tmp_path_factory.mktemp("models") / "tiny.pth"
    torch.save(net.state_dict(), path)
    return path


@pytest.mark.parametrize(
    ("detector", "file"), [("yunet", "face_detection_yunet_2026may.onnx"), ("insightface", "scrfd_500m_bnkps.onnx")]
)
def test_a_real_face_with_a_real_detector(
    shared: Path, model: Path, astronaut: torch.Tensor, tmp_path: Path, detector: str, file: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    pytest.importorskip("insightface" if detector == "insightface" else "cv2")
    source = tmp_path / "é \u9854.png"
    write_picture(source, astronaut[0].numpy(), Metadata("PNG"))
    arguments = ["restore", str(source), "-o", str(tmp_path / "o.png"), "--model", str(model), "--json"]
    arguments += ["--mask-out", str(tmp_path / "m.png"), "--detector", detector]
    assert main([*arguments, "--detector-model", str(shared / "detectors" / file)]) == 0
    line = json.loads(capsys.readouterr().out)
    assert (line["faces_found"], line["faces_restored"]) == (1, 1)
    assert 130 < line["report"]["faces"][0]["size"] < 260
    mask = read_gray(tmp_path / "m.png")
    assert mask[110, 225] > 0.9 and mask[400, 100] == 0
    result = read_picture(tmp_path / "o.png").pixels
    np.testing.assert_array_equal(result[mask == 0], astronaut[0].numpy()[mask == 0])


def test_what_is_built_in_restores_a_face(
    astronaut: torch.Tensor, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The built-in detector and, where this copy has it, the built-in model: no file from anywhere else."""
    from gpen_pack.models import BUILTIN_PATH
    from gpen_pack.restoration import DetectorError, load_detector

    try:
        load_detector("builtin")
    except DetectorError as error:
        pytest.skip(str(error))
    source = tmp_path / "a.png"
    write_picture(source, astronaut[0].numpy(), Metadata("PNG"))
    named = "builtin" if BUILTIN_PATH.is_file() else str(model)
    arguments = ["restore", str(source), "-o", str(tmp_path / "o.png"), "--mask-out", str(tmp_path / "m.png")]
    assert main([*arguments, "--model", named, "--detector", "builtin", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["faces_restored"] == 1
    mask = read_gray(tmp_path / "m.png")
    assert mask[110, 225] > 0.9 and mask[400, 100] == 0


def test_a_group_portrait(shared: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """29 people in 1927, in black and white: grey comes out, and a crop and a place for everyone."""
    pytest.importorskip("insightface")
    source = shared / "photos" / "solvay_conference_1927.png"
    arguments = ["restore", str(source), "-o", str(tmp_path / "o.png"), "--model", str(model), "--json"]
    arguments += ["--detector-model", str(shared / "detectors" / "scrfd_500m_bnkps.onnx")]
    arguments += ["--save-crops", str(tmp_path / "crops"), "--mask-out", str(tmp_path / "m.png")]
    assert main(arguments) == 0
    line = json.loads(capsys.readouterr().out)
    assert line["faces_found"] == line["faces_restored"] == len(line["crops"]) == 29
    assert len(list((tmp_path / "crops").iterdir())) == 29
    before, after, mask = read_picture(source), read_picture(tmp_path / "o.png"), read_gray(tmp_path / "m.png")
    assert after.meta.gray == before.meta.gray and after.size == before.size
    np.testing.assert_array_equal(after.pixels[mask == 0], before.pixels[mask == 0])
