"""Edges of the command line that a reviewer found: text EXIF, crops over outputs, an enlargement's own depth."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gpen_pack.cli import main
from gpen_pack.jobs.image_io import png
from gpen_pack.jobs.image_io.decoding import read_picture
from gpen_pack.jobs.image_io.encoding import write_picture
from PIL import Image


def raw_profile(orientation: int) -> bytes:
    """EXIF as ImageMagick writes it into a PNG: hexadecimal text in a compressed chunk."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    block = b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0")
    text = f"\nexif\n{len(block):8d}\n{block.hex()}\n".encode()
    return b"Raw profile type exif\0\0" + zlib.compress(text)


def test_exif_as_text_is_applied_once(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)).save(tmp_path / "plain.png")
    data = (tmp_path / "plain.png").read_bytes()
    content = raw_profile(6)
    chunk = len(content).to_bytes(4, "big") + b"zTXt" + content + zlib.crc32(b"zTXt" + content).to_bytes(4, "big")
    (tmp_path / "turned.png").write_bytes(data[:33] + chunk + data[33:])
    with Image.open(tmp_path / "turned.png") as image:
        assert image.getexif().get(0x0112) == 6, "the test's own file"
    picture = read_picture(tmp_path / "turned.png")
    assert picture.size == (30, 20)
    write_picture(tmp_path / "out.png", picture.pixels, picture.meta, 95)
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (20, 30) and image.getexif().get(0x0112, 1) == 1
    assert not any(b"Raw profile" in content for _, content in png.read_chunks((tmp_path / "out.png").read_bytes()))


def test_crops_never_fall_onto_an_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "photo.png")
    arguments = ["restore", str(tmp_path / "photo.png"), "-o", str(tmp_path / "d" / "photo-00.png")]
    assert main([*arguments, "--save-crops", str(tmp_path / "d")]) == 2
    assert "this would overwrite the output" in capsys.readouterr().err


def test_the_enlargement_decides_the_depth(tmp_path: Path) -> None:
    Image.new("RGB", (32, 24), (90, 90, 90)).save(tmp_path / "small.png")
    rgb = np.full((48, 64, 3), 0.35, np.float32)
    rgb[0, 0] = 12345 / 65535
    small, large, out = (tmp_path / name for name in ("small.png", "large.png", "out.png"))
    write_picture(large, rgb, replace(read_picture(small).meta, bits=16), 95)
    assert main(["restore", str(small), "-o", str(out), "--upscaled-image", str(large), "--quiet"]) == 0
    written = read_picture(out)
    assert written.meta.bits == 16 and written.size == (48, 64)
    assert np.array_equal(written.pixels, read_picture(tmp_path / "large.png").pixels)


def test_infinite_numbers_are_wrong_usage(tmp_path: Path) -> None:
    Image.new("RGB", (32, 24)).save(tmp_path / "small.png")
    assert main(["restore", str(tmp_path / "small.png"), "-o", str(tmp_path / "o.png"), "--min-face-px", "inf"]) == 2
