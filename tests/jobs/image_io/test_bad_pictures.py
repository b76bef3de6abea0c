"""Files that are damaged, too large or no picture at all; and writing that is interrupted."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from gpen_pack.jobs.atomic import write_atomically
from gpen_pack.jobs.image_io import png
from gpen_pack.jobs.image_io.decoding import read_picture
from gpen_pack.jobs.image_io.encoding import write_picture
from gpen_pack.jobs.image_io.picture import ImageFileError, Metadata, to_float

pytest.importorskip("cv2")
pytest.importorskip("tifffile")


def noise(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_file_cut_off_anywhere_is_refused_by_name(tmp_path: Path, suffix: str, bits: int) -> None:
    whole, cut = tmp_path / f"whole{suffix}", tmp_path / f"schön{suffix}"
    write_picture(whole, to_float(noise((64, 64, 3))), Metadata("PNG", bits=bits))
    data = whole.read_bytes()
    for part in (1, len(data) // 10, len(data) // 2, len(data) * 9 // 10):
        cut.write_bytes(data[:part])
        with pytest.raises(ImageFileError, match=rf"schön{suffix}: .*\."):
            read_picture(cut)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_flipped_bit_in_png_pixels_is_noticed(tmp_path: Path, bits: int) -> None:
    path = tmp_path / "x.png"
    write_picture(path, to_float(noise((64, 64, 3))), Metadata("PNG", bits=bits))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ImageFileError, match=r"x\.png: the file is damaged or cut off \(a checksum"):
        read_picture(path)


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    for data, words in (
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"GIF89a" + bytes(50), "convert it first"),
        (b"\0\0\0\x18ftypisom" + bytes(50), "it is a video"),
        (b"\xff\x0a" + bytes(50), "it is a JPEG XL file"),
        (bytes(range(1, 99)), "none of these kinds"),
    ):
        path.write_bytes(data)
        with pytest.raises(ImageFileError, match=words) as caught:
            read_picture(path)
        assert str(path) in str(caught.value)
    with pytest.raises(ImageFileError, match="cannot be read: No such file"):
        read_picture(tmp_path / "missing.png")


def test_huge_pictures_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    data = bytearray(png.encode(np.zeros((1, 1, 3), np.uint8)))
    for side in (14_000, 60_000):
        data[16:24] = struct.pack(">II", side, side)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
        path.write_bytes(data)
        with pytest.raises(ImageFileError, match="million pixels"):
            read_picture(path)


def test_what_a_format_cannot_hold_is_said(tmp_path: Path) -> None:
    with pytest.raises(ImageFileError, match="WEBP holds at most 16383"):
        write_picture(tmp_path / "x.webp", np.zeros((1, 17_000, 3), np.float32), Metadata("PNG"))
    with pytest.raises(ImageFileError, match=r"expected an extension .* got \.gif"):
        write_picture(tmp_path / "x.gif", np.zeros((1, 1, 3), np.float32), Metadata("PNG"))


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "new folder" / "x.png"
    write_atomically(path, b"old")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]
