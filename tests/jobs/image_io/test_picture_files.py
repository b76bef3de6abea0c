"""Picture files: what is read is what is written, bit for bit where the format allows it; the rest is said."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from gpen_pack.jobs.image_io import exif, png
from gpen_pack.jobs.image_io.decoding import read_gray, read_picture
from gpen_pack.jobs.image_io.encoding import write_mask, write_picture
from gpen_pack.jobs.image_io.picture import ImageFileError, Metadata, to_float, to_integers, upright
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageCms, PngImagePlugin

cv2 = pytest.importorskip("cv2")
tifffile = pytest.importorskip("tifffile")

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def noise(shape: tuple[int, ...], dtype: type = np.uint8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


def exif_with(orientation: int) -> bytes:
    block = Image.Exif()
    block[0x0112] = orientation
    block[0x010F] = "Camera & Söhne"
    block.get_ifd(0x8769)[0xA002] = 9  # PixelXDimension
    block.get_ifd(0x8769)[0xA003] = 5
    return block.tobytes()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_integer_survives_the_way_through_float(dtype: type) -> None:
    every = np.arange(np.iinfo(dtype).max + 1).astype(dtype)
    np.testing.assert_array_equal(to_integers(to_float(every), 8 * every.itemsize), every)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_lossless_round_trip_is_bit_for_bit(tmp_path: Path, suffix: str, dtype: type, channels: int) -> None:
    samples = noise((23, 17, channels), dtype)
    source = tmp_path / f"in{suffix}"
    if suffix == ".png":
        source.write_bytes(png.encode(samples))
    else:
        tifffile.imwrite(
            source,
            samples if channels > 1 else samples[..., 0],
            photometric="rgb" if channels > 2 else "minisblack",
            planarconfig="contig" if channels > 1 else None,
            extrasamples=["unassalpha"] if channels in (2, 4) else None,
        )
    picture = read_picture(source)
    assert picture.meta.bits == 8 * samples.itemsize
    assert picture.meta.gray == (channels < 3)
    assert picture.pixels.dtype == np.float32
    assert picture.pixels.shape == (23, 17, 3 + (channels in (2, 4)))

    target = tmp_path / f"out{suffix}"
    assert write_picture(target, picture.pixels, picture.meta) == ()
    again = read_picture(target)
    assert (again.meta.bits, again.meta.gray) == (picture.meta.bits, picture.meta.gray)
    np.testing.assert_array_equal(again.pixels, picture.pixels)
    # and another reader sees the same numbers
    if suffix == ".tif":
        np.testing.assert_array_equal(tifffile.imread(target).reshape(samples.shape), samples)
    elif dtype is np.uint8:
        np.testing.assert_array_equal(np.asarray(Image.open(target)).reshape(samples.shape), samples)
    elif channels >= 3:
        decoded = cv2.imdecode(np.frombuffer(target.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(decoded[..., [2, 1, 0, 3][:channels]], samples)


@given(
    samples=hnp.arrays(
        st.sampled_from([np.uint8, np.uint16]),
        st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3, 4])),
    )
)
@settings(deadline=None, max_examples=40)
def test_png_writer_against_opencv(samples: np.ndarray) -> None:
    decoded = cv2.imdecode(np.frombuffer(png.encode(samples), np.uint8), cv2.IMREAD_UNCHANGED)
    assert decoded.dtype == samples.dtype
    order = [2, 1, 0, 3][: samples.shape[2]] if samples.shape[2] > 1 else [0]
    np.testing.assert_array_equal(decoded.reshape(samples.shape)[..., order], samples)


def test_png_writer_filters_rows(astronaut: object) -> None:
    """A filtered photo is much smaller than its pixels."""
    samples = to_integers(np.asarray(astronaut)[0], 8)
    data = png.encode(samples)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), samples)
    assert len(data) < 0.65 * samples.nbytes


@pytest.mark.parametrize("compression", [cv2.IMWRITE_TIFF_COMPRESSION_LZW, cv2.IMWRITE_TIFF_COMPRESSION_PACKBITS])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff_compressions_that_tifffile_has_no_codec_for(tmp_path: Path, compression: int, dtype: type) -> None:
    samples = noise((23, 17, 3), dtype)
    _, data = cv2.imencode(".tiff", samples[..., ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, compression])
    path = tmp_path / "in.tif"
    path.write_bytes(data.tobytes())
    np.testing.assert_array_equal(read_picture(path).pixels, to_float(samples))


def test_tiff_layouts(tmp_path: Path) -> None:
    samples, path = noise((6, 5, 3), np.uint16), tmp_path / "in.tif"
    tifffile.imwrite(path, np.moveaxis(samples, -1, 0), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_picture(path).pixels, to_float(samples))
    tifffile.imwrite(path, samples, photometric="rgb", byteorder=">")
    np.testing.assert_array_equal(read_picture(path).pixels, to_float(samples))
    tifffile.imwrite(path, samples[..., 0], photometric="miniswhite")
    np.testing.assert_array_equal(read_picture(path).pixels[..., 1], to_float(65535 - samples[..., 0]))
    premultiplied = np.stack([np.full((2, 2), v, np.uint8) for v in (50, 25, 0, 100)], -1)
    tifffile.imwrite(path, premultiplied, photometric="rgb", extrasamples=["assocalpha"])
    picture = read_picture(path)
    np.testing.assert_array_equal(to_integers(picture.pixels[0, 0], 8), [128, 64, 0, 100])
    assert "premultiplied" in picture.meta.notes[0]
    tifffile.imwrite(path, samples.astype(np.float32), photometric="rgb")
    with pytest.raises(ImageFileError, match=r"in\.tif: expected 8 or 16 bits per channel, got float32"):
        read_picture(path)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_orientation_is_applied_and_then_reset(tmp_path: Path, orientation: int, suffix: str) -> None:
    from PIL import ImageOps

    source = tmp_path / f"in{suffix}"
    stored = Image.fromarray(noise((5, 9, 3)))
    options = {"lossless": True} if suffix == ".webp" else {}
    stored.save(source, exif=exif_with(orientation), **options)
    seen = np.asarray(ImageOps.exif_transpose(Image.open(source)))
    picture = read_picture(source)
    np.testing.assert_array_equal(to_integers(picture.pixels, 8), seen)

    target = tmp_path / f"out{suffix}"
    write_picture(target, picture.pixels, picture.meta)
    with Image.open(target) as written:
        np.testing.assert_array_equal(np.asarray(written), seen)
        tags = written.getexif()
        assert tags.get(0x0112, 1) == 1
        assert tags[0x010F].encode().startswith(b"Camera")
        if suffix != ".tif":  # a TIFF page keeps the tags that describe it
            assert (tags.get_ifd(0x8769)[0xA002], tags.get_ifd(0x8769)[0xA003]) == (written.width, written.height)


def test_turning_agrees_with_pillow_for_odd_sizes() -> None:
    stored = noise((2, 3, 3))
    assert upright(stored, 6).shape == (3, 2, 3)
    np.testing.assert_array_equal(upright(stored, 6)[0, -1], stored[0, 0])  # the top left goes to the top right
    np.testing.assert_array_equal(upright(stored, 8)[-1, 0], stored[0, 0])  # … to the bottom left


def test_jpeg_keeps_profile_exif_and_resolution_and_is_fine(tmp_path: Path, astronaut: object) -> None:
    pixels = np.asarray(astronaut)[0, :128, 150:300]
    source, target = tmp_path / "in.jpg", tmp_path / "out.jpg"
    Image.fromarray(to_integers(pixels, 8)).save(
        source, quality=98, icc_profile=SRGB, exif=exif_with(3), dpi=(300, 300), xmp=b'<x tiff:Orientation="3"/>'
    )
    picture = read_picture(source)
    write_picture(target, picture.pixels, picture.meta)
    with Image.open(target) as written:
        assert written.info["icc_profile"] == SRGB
        assert written.info["dpi"] == (300, 300)
        assert written.info["xmp"] == b'<x tiff:Orientation="1"/>'
        assert written.getexif()[0x0112] == 1
        assert [layer[1:3] for layer in written.layer] == [(1, 1)] * 3  # 4:4:4
    error = np.abs(read_picture(target).pixels - picture.pixels)
    assert error.mean() < 0.008


def test_png_keeps_profile_gamma_text_and_resolution(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("workflow", '{"nodes": []}')
    info.add_itxt("title", "café")
    info.add(b"gAMA", struct.pack(">I", 45455))
    source, target = tmp_path / "in.png", tmp_path / "out.png"
    Image.fromarray(noise((4, 5, 3))).save(source, pnginfo=info, icc_profile=SRGB, dpi=(150, 150))
    picture = read_picture(source)
    write_picture(target, picture.pixels, picture.meta)
    with Image.open(target) as written:
        written.load()
        assert written.info["icc_profile"] == SRGB
        assert written.text == {"workflow": '{"nodes": []}', "title": "café"}
        assert written.info["gamma"] == pytest.approx(0.45455)
        assert written.info["dpi"] == pytest.approx((150, 150), abs=0.1)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp"])
def test_profile_and_description_move_between_formats(tmp_path: Path, suffix: str) -> None:
    source, target = tmp_path / "in.tif", tmp_path / f"out{suffix}"
    tifffile.imwrite(
        source,
        noise((6, 5, 3), np.uint16),
        photometric="rgb",
        iccprofile=SRGB,
        resolution=(200, 200),
        resolutionunit=2,
        description="a portrait",
        metadata=None,
    )
    picture = read_picture(source)
    notes = write_picture(target, picture.pixels, picture.meta)
    assert notes == () if suffix in (".png", ".tif") else "16 were rounded" in notes[0]
    again = read_picture(target)
    assert again.meta.bits == (16 if suffix in (".png", ".tif") else 8)
    with Image.open(target) as written:
        assert written.info["icc_profile"] == SRGB
        assert written.getexif()[0x010E] == "a portrait"
        if suffix != ".webp":
            assert written.info["dpi"] == pytest.approx((200, 200), abs=0.1)


def test_webp_stays_lossless_where_it_was(tmp_path: Path) -> None:
    samples = noise((6, 5, 4))
    source, target = tmp_path / "in.webp", tmp_path / "out.webp"
    Image.fromarray(samples).save(source, lossless=True, exact=True)
    picture = read_picture(source)
    write_picture(target, picture.pixels, picture.meta)
    np.testing.assert_array_equal(np.asarray(Image.open(target)), samples)


def test_palette_and_key_colour_transparency(tmp_path: Path) -> None:
    path = tmp_path / "in.png"
    rgb = Image.fromarray(noise((6, 5, 3)) // 64 * 64)
    rgb.quantize(200).save(path, transparency=0)
    picture = read_picture(path)
    np.testing.assert_array_equal(to_integers(picture.pixels, 8), np.asarray(Image.open(path).convert("RGBA")))
    Image.fromarray(noise((6, 5))).save(path, transparency=int(noise((6, 5))[2, 3]))
    picture = read_picture(path)
    assert picture.meta.gray and picture.pixels[2, 3, 3] == 0 and picture.pixels[..., 3].max() == 1


def test_gray_jpeg_stays_gray_and_cmyk_becomes_rgb_and_says_so(tmp_path: Path) -> None:
    gray, cmyk, target = tmp_path / "g.jpg", tmp_path / "c.jpg", tmp_path / "out.jpg"
    Image.fromarray(noise((16, 16))).save(gray)
    picture = read_picture(gray)
    tinted = picture.pixels * np.array([1, 0.9, 0.8], np.float32)
    write_picture(target, tinted, picture.meta)
    assert Image.open(target).mode == "L"

    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(cmyk)
    picture = read_picture(cmyk)
    assert "CMYK colours were converted to sRGB" in picture.meta.notes[0]
    red = picture.pixels.mean((0, 1))
    assert red[0] > 0.8 and red[1:].max() < 0.3
    write_picture(target, picture.pixels, picture.meta)
    assert Image.open(target).mode == "RGB"


def test_jpeg_has_no_transparency_and_says_so(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 4), np.float32)
    notes = write_picture(tmp_path / "o.jpg", pixels, Metadata("PNG"))
    assert "laid on white" in notes[0]
    assert read_picture(tmp_path / "o.jpg").pixels.min() == 1


def test_further_frames_are_named(tmp_path: Path) -> None:
    frames = [Image.fromarray(noise((8, 8, 3), seed=i)) for i in range(3)]
    for name in ("a.webp", "a.png", "a.tif", "a.mpo"):  # the last is a JPEG, as phones write
        options = {"lossless": True} if name.endswith("webp") else {}
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
        picture = read_picture(tmp_path / name)
        assert "holds 3 pictures or pages; only the first is used" in picture.meta.notes[0]
        if name == "a.mpo":
            assert picture.meta.format == "JPEG"
        else:
            np.testing.assert_array_equal(to_integers(picture.pixels[..., :3], 8), np.asarray(frames[0]))


def test_mask_is_rounded_up_so_that_zero_means_untouched(tmp_path: Path) -> None:
    mask = np.array([[0, 1e-9, 0.5, 1]], np.float32)
    write_mask(tmp_path / "m.png", mask)
    stored = cv2.imdecode(np.frombuffer((tmp_path / "m.png").read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    assert stored.dtype == np.uint16
    np.testing.assert_array_equal(stored, [[0, 1, 32768, 65535]])
    np.testing.assert_allclose(read_gray(tmp_path / "m.png"), mask, atol=2e-5)


def test_a_broken_exif_block_is_neither_trusted_nor_passed_on() -> None:
    assert exif.read_orientation(b"II*\0\xff\xff\xff\xff") == 1
    assert exif.describe_upright(b"nonsense", 3, 4) is None
    block = exif.strip_prefix(exif_with(6))
    assert exif.read_orientation(block) == 6
    patched = exif.describe_upright(block, 30, 40)
    assert patched is not None and len(patched) == len(block)
    assert exif.read_orientation(patched) == 1
