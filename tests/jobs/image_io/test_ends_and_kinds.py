"""Files that lack only their end, files of further kinds, and files that must not be read at all."""

from __future__ import annotations

import io
import os
import struct
import sys
import time
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from gpen_pack.jobs.image_io import heif, png
from gpen_pack.jobs.image_io.decoding import read_picture
from gpen_pack.jobs.image_io.encoding import write_picture
from gpen_pack.jobs.image_io.picture import ImageFileError, Metadata, to_float, to_integers
from PIL import Image


def picture_of(astronaut: object, side: int = 200) -> Image.Image:
    pixels = to_integers(np.asarray(astronaut)[0], 8)
    return Image.fromarray(pixels).resize((side, side - 25))


@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"optimize": True}, {"progressive": True}])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_jpeg_without_its_end_is_read_and_says_so(
    tmp_path: Path, astronaut: object, options: dict[str, int], mode: str
) -> None:
    image, whole, path = picture_of(astronaut).convert(mode), tmp_path / "whole.jpg", tmp_path / "cut.jpg"
    image.save(whole, quality=90, **options)
    data = whole.read_bytes()
    for missing in (1, 2):
        path.write_bytes(data[:-missing])
        picture = read_picture(path)
        np.testing.assert_array_equal(picture.pixels, read_picture(whole).pixels)
        assert "the end of the file is missing" in picture.meta.notes[0] and not picture.meta.complete
    for part in (0.1, 0.5, 0.8):
        path.write_bytes(data[: int(len(data) * part)])
        with pytest.raises(ImageFileError, match=r"cut\.jpg: .*damaged or cut off"):
            read_picture(path)


def test_a_jpeg_that_ends_in_a_plain_sky_is_told_from_one_cut_off_in_it(tmp_path: Path, astronaut: object) -> None:
    canvas = Image.new("RGB", (320, 480), (200, 220, 255))
    canvas.paste(picture_of(astronaut), (60, 10))
    out = io.BytesIO()
    canvas.save(out, "JPEG", quality=90)
    data, path = out.getvalue(), tmp_path / "x.jpg"
    path.write_bytes(data[:-2])
    assert read_picture(path).meta.notes
    path.write_bytes(data[: len(data) * 8 // 10])
    with pytest.raises(ImageFileError):
        read_picture(path)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("missing", [1, 5, 12, 14, 20])
def test_a_png_without_its_end_is_read_and_says_so(tmp_path: Path, bits: int, missing: int) -> None:
    """12 bytes are the end marker, 4 the checksum of the last pixels, 4 that of zlib."""
    samples = np.random.default_rng(0).integers(0, 2**bits, (40, 30, 3)).astype(np.uint16 if bits == 16 else np.uint8)
    path = tmp_path / "x.png"
    data = png.encode(samples)
    path.write_bytes(data[:-missing])
    picture = read_picture(path)
    np.testing.assert_array_equal(to_integers(picture.pixels, bits), samples)
    assert "the end of the file is missing" in picture.meta.notes[0]
    path.write_bytes(data[:-60])
    with pytest.raises(ImageFileError, match="cut off"):
        read_picture(path)


def test_an_interlaced_png_without_its_end(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    samples = np.random.default_rng(0).integers(0, 256, (13, 11, 3)).astype(np.uint8)
    # an interlaced file by hand: the seven passes, unfiltered
    rows = b""
    for x, y, dx, dy in png._ADAM7:
        part = samples[y::dy, x::dx]
        rows += b"".join(b"\0" + row.tobytes() for row in part) if part.size else b""
    header = struct.pack(">IIBBBBB", 11, 13, 8, 2, 0, 0, 1)
    data = png.SIGNATURE + b"".join(
        png._chunk(*c) for c in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    )
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(decoded[..., ::-1], samples)
    (tmp_path / "x.png").write_bytes(data[:-12])
    np.testing.assert_array_equal(to_integers(read_picture(tmp_path / "x.png").pixels, 8), samples)


def test_the_public_case_without_an_end(shared: Path) -> None:
    picture = read_picture(shared / "cases" / "pictures" / "no_eoi.jpg")
    assert picture.size == (512, 512) and len(picture.meta.notes) == 1


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "RGBA"])
def test_bmp(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7, 3)).astype(np.uint8)).convert(mode)
    image.save(tmp_path / "x.bmp")
    picture = read_picture(tmp_path / "x.bmp")
    expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(to_integers(picture.pixels[..., :3], 8), expected)
    write_picture(tmp_path / "o.png", picture.pixels, picture.meta)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "o.png").convert("RGB")), expected)


def oriented() -> bytes:
    block = Image.Exif()
    block[0x0112], block[0x010F] = 6, "Camera"
    return block.tobytes()


@pytest.mark.parametrize("kind", ["HEIC", "AVIF"])
def test_heic_and_avif_come_upright(tmp_path: Path, astronaut: object, kind: str) -> None:
    if kind not in heif.readable_heif():
        pytest.skip(f"this installation reads no {kind}")
    image, path = picture_of(astronaut), tmp_path / f"x.{kind.lower()}"
    if kind == "HEIC":
        pillow_heif = pytest.importorskip("pillow_heif")
        pillow_heif.from_pillow(image).save(path, quality=95, exif=oriented())
    else:
        image.save(path, quality=95, exif=oriented())
    picture = read_picture(path)
    assert picture.meta.format == kind and picture.size == (200, 175)
    seen = np.rot90(np.asarray(image), -1).astype(np.float32) / 255
    assert np.abs(picture.pixels - seen).mean() < 0.03
    write_picture(tmp_path / "o.png", picture.pixels, picture.meta)
    with Image.open(tmp_path / "o.png") as written:
        assert written.getexif()[0x0112] == 1 and written.getexif()[0x010F] == "Camera"


def test_heic_without_its_package_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "x.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0heicmif1" + bytes(50))
    with pytest.raises(ImageFileError, match=r"x\.heic: HEIC needs the package pillow-heif: pip install pillow-heif"):
        read_picture(tmp_path / "x.heic")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.jpg")
    start = time.monotonic()
    with pytest.raises(ImageFileError, match=r"x\.jpg: expected a picture file, got a named pipe"):
        read_picture(tmp_path / "x.jpg")
    with pytest.raises(ImageFileError, match="got a device"):
        read_picture(Path("/dev/zero"))
    with pytest.raises(ImageFileError, match="got a folder"):
        read_picture(tmp_path)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("beginning", ["nothing", "png", "jpeg", "webp", "tiff"])
def test_a_sparse_file_of_three_gigabytes_is_not_read_whole(tmp_path: Path, beginning: str) -> None:
    path, samples = (
        tmp_path / "x.jpg",
        to_float(np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)),
    )
    if beginning != "nothing":
        suffix = {"jpeg": ".jpg", "tiff": ".tif"}.get(beginning, f".{beginning}")
        write_picture(tmp_path / f"small{suffix}", samples, Metadata("PNG"))
        path.write_bytes((tmp_path / f"small{suffix}").read_bytes())
    else:
        path.touch()
    os.truncate(path, 3_000_000_000)
    tracemalloc.start()
    start = time.monotonic()
    try:
        if beginning == "nothing":
            with pytest.raises(ImageFileError, match="none of these kinds"):
                read_picture(path)
        else:
            assert read_picture(path).size == (16, 16)
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()
    assert time.monotonic() - start < 5
