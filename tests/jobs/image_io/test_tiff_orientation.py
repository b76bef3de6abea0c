"""A TIFF is turned upright once, whoever decodes its compression."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from gpen_pack.jobs.image_io.decoding import read_picture
from gpen_pack.jobs.image_io.encoding import write_picture
from gpen_pack.jobs.image_io.picture import to_integers, upright
from PIL import Image

cv2 = pytest.importorskip("cv2")
pytest.importorskip("tifffile")

SMOOTH = cv2.resize(np.random.default_rng(0).integers(0, 256, (3, 4, 3)).astype(np.uint8), (40, 24))


def with_orientation(data: bytes, orientation: int) -> bytes:
    """A little-endian TIFF with the tag added in a new directory at its end."""
    assert data[:4] == b"II*\0"
    (directory,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, directory)
    entries = [data[directory + 2 + 12 * i : directory + 14 + 12 * i] for i in range(count)]
    entries = [entry for entry in entries if entry[:2] != b"\x12\x01"]
    entries.append(struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0))
    entries.sort(key=lambda entry: struct.unpack_from("<H", entry)[0])
    data += b"\0" * (len(data) % 2)
    block = struct.pack("<H", len(entries)) + b"".join(entries) + b"\0\0\0\0"
    return data[:4] + struct.pack("<I", len(data)) + data[8:] + block


def pillow_tiff(image: Image.Image, compression: str) -> bytes:
    out = io.BytesIO()
    image.save(out, "TIFF", compression=compression)
    return out.getvalue()


def opencv_tiff(samples: np.ndarray, compression: int) -> bytes:
    _, data = cv2.imencode(".tiff", samples[..., ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, compression])
    return data.tobytes()


def stored(kind: str) -> tuple[bytes, np.ndarray]:
    """The file without the tag, and the samples (H,W,3) that a reader shows."""
    rgb = Image.fromarray(SMOOTH)
    if kind.startswith("rgb16"):
        samples = SMOOTH.astype(np.uint16) * 257
        codes = {"lzw": cv2.IMWRITE_TIFF_COMPRESSION_LZW, "deflate": cv2.IMWRITE_TIFF_COMPRESSION_ADOBE_DEFLATE}
        return opencv_tiff(samples, codes[kind[6:]]), samples
    if kind == "gray16 lzw":
        samples = SMOOTH[..., 0].astype(np.uint16) * 257
        return pillow_tiff(Image.fromarray(samples), "tiff_lzw"), np.stack([samples] * 3, -1)
    images = {
        "rgb raw": (rgb, "raw"), "rgb lzw": (rgb, "tiff_lzw"), "rgb deflate": (rgb, "tiff_adobe_deflate"),
        "rgb packbits": (rgb, "packbits"), "rgb jpeg": (rgb, "jpeg"), "gray lzw": (rgb.convert("L"), "tiff_lzw"),
        "rgba lzw": (rgb.convert("RGBA"), "tiff_lzw"), "palette lzw": (rgb.quantize(16), "tiff_lzw"),
        "cmyk lzw": (rgb.convert("CMYK"), "tiff_lzw"), "bilevel group4": (rgb.convert("1"), "group4"),
        "bilevel group3": (rgb.convert("1"), "group3"),
    }  # fmt: skip
    image, compression = images[kind]
    return pillow_tiff(image, compression), np.asarray(image.convert("RGB"))


KINDS = (
    "rgb raw", "rgb lzw", "rgb deflate", "rgb packbits", "rgb jpeg", "gray lzw", "rgba lzw", "palette lzw", "cmyk lzw",
    "bilevel group4", "bilevel group3", "gray16 lzw", "rgb16 lzw", "rgb16 deflate",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_once_and_written_upright(tmp_path: Path, kind: str, orientation: int) -> None:
    data, samples = stored(kind)
    path, out = tmp_path / "in.tif", tmp_path / "out.tif"
    path.write_bytes(with_orientation(data, orientation))
    picture = read_picture(path)
    expected = upright(samples, orientation)
    assert picture.pixels.shape[:2] == expected.shape[:2]
    pixels = to_integers(picture.pixels[..., :3], 8 * samples.itemsize).astype(int)
    loss = 24 if kind == "rgb jpeg" else 2 if kind == "cmyk lzw" else 0
    assert np.abs(pixels - expected).max() <= loss
    write_picture(out, picture.pixels, picture.meta)
    again = read_picture(out)
    np.testing.assert_array_equal(again.pixels, picture.pixels)
    with Image.open(out) as written:
        assert written.getexif().get(0x0112, 1) == 1


def test_the_public_cases(shared: Path) -> None:
    for name in ("tiff_lzw_6.tif", "jpeg_6.tif"):
        path = shared / "cases" / "pictures" / name
        with Image.open(path) as image:
            expected = np.asarray(image.convert("RGB"))  # Pillow turns a TIFF when it loads it
        difference = np.abs(to_integers(read_picture(path).pixels, 8).astype(int) - expected)
        assert difference.max() <= 2, name
