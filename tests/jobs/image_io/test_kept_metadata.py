"""What a file says about its picture is kept: captions, comments, large profiles and texts; and how it was stored."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from gpen_pack.jobs.image_io import iptc, jpeg, png, png_text
from gpen_pack.jobs.image_io.decoding import read_picture
from gpen_pack.jobs.image_io.encoding import write_picture
from gpen_pack.jobs.image_io.picture import Metadata, to_float, to_integers
from PIL import Image, ImageCms, IptcImagePlugin

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
RECORDS = b"\x1c\x02\x78\x00\x09A caption\x1c\x02\x19\x00\x03sea\x1c\x02\x19\x00\x04sand\x1c\x02\x50\x00\x06A. Ray"


def noise(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def jpeg_with(*comments: bytes, records: bytes = RECORDS) -> bytes:
    out = io.BytesIO()
    Image.fromarray(noise((16, 16, 3))).save(out, "JPEG")
    return jpeg.with_segments(out.getvalue(), records, comments)


def test_captions_and_comments_of_a_jpeg_stay(tmp_path: Path) -> None:
    source, target = tmp_path / "in.jpg", tmp_path / "out.jpg"
    source.write_bytes(jpeg_with(b"first", b"second \xff"))
    picture = read_picture(source)
    assert write_picture(target, picture.pixels, picture.meta) == ()
    with Image.open(target) as written:
        seen = IptcImagePlugin.getiptcinfo(written)
        assert seen is not None and seen[(2, 120)] == b"A caption" and seen[(2, 25)] == [b"sea", b"sand"]
    again = read_picture(target)
    assert (again.meta.iptc, again.meta.comments) == (RECORDS, (b"first", b"second \xff"))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_captions_move_to_other_formats_and_back(tmp_path: Path, suffix: str) -> None:
    source, middle, target = tmp_path / "in.jpg", tmp_path / f"out{suffix}", tmp_path / "out.jpg"
    source.write_bytes(jpeg_with(b"a comment"))
    picture = read_picture(source)
    notes = write_picture(middle, picture.pixels, picture.meta)
    between = read_picture(middle)
    assert between.meta.iptc == RECORDS
    if suffix == ".png":
        assert notes == () and png_text.find_text(between.meta.png_chunks, b"Comment") == b"a comment"
    else:
        assert "TIFF has no place for the comment" in notes[0]
    write_picture(target, between.pixels, between.meta)
    assert read_picture(target).meta.iptc == RECORDS


def test_what_webp_cannot_hold_is_said(tmp_path: Path) -> None:
    source = tmp_path / "in.jpg"
    source.write_bytes(jpeg_with(b"a comment"))
    picture = read_picture(source)
    notes = write_picture(tmp_path / "out.webp", picture.pixels, picture.meta)
    assert any("IPTC" in note for note in notes) and any("comment" in note for note in notes)


def test_long_captions_continue_in_the_next_segment(tmp_path: Path) -> None:
    long = b"\x1c\x02\x78\x80\x04" + (150_000).to_bytes(4, "big") + b"x" * 150_000
    (tmp_path / "in.jpg").write_bytes(jpeg_with(records=long))
    assert read_picture(tmp_path / "in.jpg").meta.iptc == long


def test_iptc_among_other_resources() -> None:
    other = b"8BIM" + (0x03ED).to_bytes(2, "big") + b"\x03abc" + (3).to_bytes(4, "big") + b"xyz\0"
    assert iptc.find_iptc(other + iptc.as_resource(RECORDS)) == RECORDS
    assert iptc.find_iptc(other) is None and iptc.find_iptc(b"8BIM\x04\x04") is None


def test_the_public_case_of_iptc(shared: Path, tmp_path: Path) -> None:
    source = shared / "cases" / "pictures" / "iptc.jpg"
    picture = read_picture(source)
    write_picture(tmp_path / "o.jpg", picture.pixels, picture.meta)
    with Image.open(source) as before, Image.open(tmp_path / "o.jpg") as after:
        assert IptcImagePlugin.getiptcinfo(after) == IptcImagePlugin.getiptcinfo(before) is not None
        assert after.info["comment"] == before.info["comment"]


def png_with(*chunks: tuple[bytes, bytes]) -> bytes:
    data = png.encode(noise((8, 9, 3)))
    block = b"".join(struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks)
    return data[:33] + block + data[33:]


def test_a_png_with_a_large_profile_and_large_texts_is_read_and_keeps_them(tmp_path: Path) -> None:
    """Pillow refuses texts that unpack to more than a megabyte, and 64 MB of them together."""
    profile = SRGB[:128] + b"\0" * 4_000_000
    text = b"workflow\0\0" + zlib.compress(b"{}" * 3_000_000)
    (tmp_path / "in.png").write_bytes(png_with((b"iCCP", b"p\0\0" + zlib.compress(profile)), (b"zTXt", text)))
    picture = read_picture(tmp_path / "in.png")
    np.testing.assert_array_equal(to_integers(picture.pixels, 8), noise((8, 9, 3)))
    assert picture.meta.icc == profile and picture.meta.notes == ()
    write_picture(tmp_path / "out.png", picture.pixels, picture.meta)
    again = read_picture(tmp_path / "out.png")
    assert again.meta.icc == profile and (b"zTXt", text) in again.meta.png_chunks


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(k + len(c).to_bytes(4, "little") + c + b"\0" * (len(c) % 2) for k, c in chunks)
    return b"RIFF" + (len(body) + 4).to_bytes(4, "little") + b"WEBP" + body


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("animated", [True, False])
def test_webp_with_a_profile_stays_as_lossless_as_it_was(tmp_path: Path, lossless: bool, animated: bool) -> None:
    source, target = tmp_path / "in.webp", tmp_path / "out.webp"
    frames = [Image.fromarray(noise((20, 30, 3), seed=i)) for i in range(2)]
    options = {"save_all": True, "append_images": frames[1:]} if animated else {}
    frames[0].save(source, lossless=lossless, icc_profile=SRGB + b"\0" * 5000, exif=b"Exif\0\0", **options)
    picture = read_picture(source)
    assert picture.meta.lossless == lossless
    write_picture(target, picture.pixels, picture.meta)
    changed = np.abs(to_integers(read_picture(target).pixels, 8).astype(int) - to_integers(picture.pixels, 8)).max()
    assert (changed == 0) == lossless


def test_the_word_of_lossless_in_a_profile_means_nothing(tmp_path: Path) -> None:
    out = io.BytesIO()
    Image.fromarray(noise((20, 30, 3))).save(out, "WEBP", icc_profile=b"VP8L" * 40)
    (tmp_path / "in.webp").write_bytes(out.getvalue())
    assert not read_picture(tmp_path / "in.webp").meta.lossless


def test_the_public_case_of_webp(shared: Path, tmp_path: Path) -> None:
    picture = read_picture(shared / "cases" / "pictures" / "llicc.webp")
    write_picture(tmp_path / "o.webp", picture.pixels, picture.meta)
    np.testing.assert_array_equal(read_picture(tmp_path / "o.webp").pixels, picture.pixels)


def test_texts_of_a_png_that_jpeg_cannot_hold_are_named(tmp_path: Path) -> None:
    meta = Metadata("PNG", png_chunks=((b"tEXt", b"workflow\0{}"),))
    (note,) = write_picture(tmp_path / "o.jpg", to_float(noise((8, 8, 3))), meta)
    assert "workflow" in note
