"""The command line from file to file, with a tiny model of random weights and a detector that sees painted dots."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from gpen_pack import detectors
from gpen_pack.cli import main
from gpen_pack.detectors.detector import Detections
from gpen_pack.gpen_arch import GPEN, GPENConfig
from gpen_pack.jobs.image_io import png
from gpen_pack.jobs.image_io.decoding import read_gray, read_picture
from gpen_pack.jobs.image_io.encoding import write_picture
from gpen_pack.jobs.image_io.picture import Metadata, Picture, to_float
from PIL import Image

Restore = Callable[..., int]

# left eye, right eye, nose, mouth corners: colours that occur nowhere else in the photos below
DOTS = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255)], np.int16)
PLACES = np.array([(0.39, 0.47), (0.60, 0.47), (0.50, 0.59), (0.41, 0.72), (0.59, 0.72)])


def photo(width: int = 160, height: int = 120, face: tuple[int, int, int] | None = (30, 20, 80)) -> np.ndarray:
    """(H,W,3) uint8 in dull colours; ``face`` is x, y, side of an aligned square with five painted dots."""
    picture = np.random.default_rng(1).integers(90, 130, (height, width, 3)).astype(np.uint8)
    if face is not None:
        for colour, (u, v) in zip(DOTS, PLACES, strict=True):
            x, y = (round(o + f * face[2]) for o, f in zip(face[:2], (u, v), strict=True))
            picture[y - 3 : y + 4, x - 3 : x + 4] = colour
    return picture


class PaintedDots:
    """Sees a face where all five colours are; at any scale, in any tile, as a detector must."""

    name, provider = "painted", "numpy"

    def detect(self, image: np.ndarray, threshold: float) -> Detections:
        points = []
        for colour in DOTS:
            rows, columns = np.nonzero(np.abs(image.astype(np.int16) - colour).max(-1) < 60)
            if not len(rows):
                return Detections.empty()
            points.append((columns.mean() + 0.5, rows.mean() + 0.5))
        landmarks = np.array(points)
        box = [*landmarks.min(0), *landmarks.max(0)]
        return Detections.of([box], [landmarks], [0.9])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GPEN of 64 px with random weights: 265 KB."""
    torch.manual_seed(0)
    net = GPEN(GPENConfig.standard(64, channel_multiplier=1, narrow=1 / 32, style_dim=32, mapping_layers=2))
    path = tmp_path_factory.mktemp("models") / "tiny.pth"
    torch.save(net.state_dict(), path)
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(detectors, "load_detector", lambda *_, **__: PaintedDots())
    return tmp_path


@pytest.fixture
def restore(here: Path, model: Path) -> Restore:
    """Runs ``restore`` with the tiny model."""

    def run(*arguments: str) -> int:
        return main(["restore", *arguments, "--model", str(model)])

    return run


def save(name: str, samples: np.ndarray) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        path.write_bytes(png.encode(samples))
    else:
        Image.fromarray(samples).save(path, quality=95)
    return path


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("alpha", [False, True])
def test_everything_outside_the_mask_is_bit_for_bit(restore: Restore, depth: int, alpha: bool) -> None:
    samples = photo() if depth == 8 else photo().astype(np.uint16) * 257
    if alpha:
        ramp = np.linspace(0, np.iinfo(samples.dtype).max, 160).astype(samples.dtype)
        samples = np.concatenate([samples, np.broadcast_to(ramp[None, :, None], (120, 160, 1))], axis=2)
    source = save("a.png", samples)
    before = source.read_bytes()
    assert restore("a.png", "-o", "out.png", "--mask-out", "mask.png") == 0
    assert source.read_bytes() == before
    result, original, mask = read_picture(Path("out.png")), read_picture(source), read_gray(Path("mask.png"))
    assert result.meta.bits == depth and result.pixels.shape == original.pixels.shape
    untouched = mask == 0
    assert 0.1 < untouched.mean() < 0.9
    np.testing.assert_array_equal(result.pixels[untouched], original.pixels[untouched])
    assert np.abs(result.pixels - original.pixels)[mask > 0.9].mean() > 0.02
    np.testing.assert_array_equal(result.pixels[..., 3:], original.pixels[..., 3:])


def test_one_picture_with_all_its_side_files(restore: Restore, capsys: pytest.CaptureFixture[str]) -> None:
    save("a.png", photo())
    options = ["--mask-out", "m/mask.png", "--compare", "sheet.jpg", "--save-crops", "c"]
    assert restore("a.png", "-o", "o/out.jpg", *options) == 0
    assert Image.open("o/out.jpg").size == (160, 120)
    assert [path.name for path in Path("c").iterdir()] == ["a-00.png"]
    assert Image.open("c/a-00.png").size == (64, 64)
    assert min(Image.open("sheet.jpg").size) > 500
    told = capsys.readouterr().out
    assert told.startswith(f"a.png -> {Path('o/out.jpg')}\n")
    assert "1 face" in told and "tiny" in told and "painted" in told
    assert not list(Path().rglob("*.part"))


def test_a_folder_in_json_with_a_bad_file(restore: Restore, capsys: pytest.CaptureFixture[str]) -> None:
    save("in/a.png", photo())
    save("in/s/none.jpg", photo(face=None))
    save("in/z.png", photo(face=(70, 30, 80)))
    Path("in/broken.png").write_bytes(Path("in/a.png").read_bytes()[:500])
    options = ["--mask-out", "masks", "--save-crops", "crops", "--compare", "sheets", "--json"]
    assert restore("in", "-o", "out", *options) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    names = [Path(line["input"]).as_posix() for line in lines]
    assert names == ["in/a.png", "in/broken.png", "in/z.png", "in/s/none.jpg"]
    a, broken, z, none = lines
    assert a.keys() == broken.keys() == none.keys()
    assert (a["ok"], a["faces_found"], a["faces_restored"], a["width"], a["height"]) == (True, 1, 1, 160, 120)
    assert a["report"]["model"]["name"] == "tiny" and z["ok"]
    assert a["crops"] == [str(Path("crops/a-00.png"))] and a["mask_out"] == str(Path("masks/a.png"))
    assert not broken["ok"] and "in/broken.png" in Path(broken["error"].split(":")[0]).as_posix()
    assert broken["output"] is None and broken["report"] is None
    # nothing was found: nothing is lost, not even by another pass of JPEG
    assert (none["ok"], none["faces_found"], none["copied"]) == (True, 0, True)
    assert Path("out/s/none.jpg").read_bytes() == Path("in/s/none.jpg").read_bytes()
    assert read_gray(Path("masks/s/none.png")).max() == 0
    written = sorted(path.as_posix() for path in Path("out").rglob("*") if path.is_file())
    assert written == ["out/a.png", "out/s/none.jpg", "out/z.png"]
    assert sorted(path.name for path in Path("crops").rglob("*")) == ["a-00.png", "z-00.png"]


def test_what_is_said_to_whom(restore: Restore, capsys: pytest.CaptureFixture[str]) -> None:
    save("in/a.png", photo())
    save("in/b.png", photo(face=None))
    assert restore("in", "-o", "out") == 0
    out, err = capsys.readouterr()
    assert "1 of 1 faces restored" in out and "copied as it is" in out
    assert err == ""  # no terminal: no bar
    assert restore("in", "-o", "out", "--quiet") == 0
    assert capsys.readouterr() == ("", "")
    Path("in/c.png").write_text("<html>")
    assert restore("in", "-o", "out", "--quiet") == 1
    out, err = capsys.readouterr()
    assert out == "" and "c.png: expected JPEG" in err and "1 of 3 inputs failed" in err


def test_what_is_odd_about_a_model_is_not_repeated_for_every_picture(
    here: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(model, here / "tiny-2048.pth")
    for name in "ab":
        save(f"in/{name}.png", photo())
    assert main(["restore", "in", "-o", "out", "--model", "tiny-2048.pth"]) == 0
    assert "its name says 2048" not in capsys.readouterr().out  # the log had it when the model was loaded
    assert main(["restore", "in/a.png", "-o", "out", "--model", "tiny-2048.pth"]) == 0
    assert "its name says 2048" in capsys.readouterr().out


def test_an_output_is_replaced_unless_it_is_to_be_skipped(restore: Restore, capsys: pytest.CaptureFixture[str]) -> None:
    save("a.png", photo())
    Path("out.png").write_text("older")
    assert restore("a.png", "-o", "out.png", "--skip-existing", "--json") == 0
    assert json.loads(capsys.readouterr().out)["skipped"] is True
    assert Path("out.png").read_text() == "older"
    assert restore("a.png", "-o", "out.png") == 0
    assert Image.open("out.png").size == (160, 120)


def test_orientation_profile_and_gray(restore: Restore, here: Path) -> None:
    """A photo lying on its side comes out upright; the face is found in the upright pixels."""
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = Image.fromarray(np.rot90(photo(), 1).copy())
    lying.save("side.jpg", quality=100, subsampling=0, exif=exif, icc_profile=b"\0" * 128)
    assert restore("side.jpg", "-o", "out.jpg", "--mask-out", "m.png") == 0
    with Image.open("out.jpg") as result:
        assert result.size == (160, 120) and result.getexif()[0x0112] == 1
        assert result.info["icc_profile"] == b"\0" * 128
    mask = read_gray(Path("m.png"))
    assert mask[60, 70] > 0.9 and mask[110, 150] == 0

    class Anywhere(PaintedDots):
        def detect(self, image: np.ndarray, threshold: float) -> Detections:
            landmarks = PLACES * 80 * image.shape[1] / 160 + np.array([30, 20]) * image.shape[1] / 160
            return Detections.of([[*landmarks.min(0), *landmarks.max(0)]], [landmarks], [0.9])

    detectors.load_detector = lambda *_, **__: Anywhere()  # type: ignore[assignment] # undone by the fixture's monkeypatch
    save("gray.png", photo()[..., 1])
    assert restore("gray.png", "-o", "gray-out.png") == 0
    assert Image.open("gray-out.png").mode == "L"
    assert restore("gray.png", "-o", "colour-out.png", "--color") == 0
    assert Image.open("colour-out.png").mode == "RGB"


def test_scale_and_upscaled_image(restore: Restore) -> None:
    save("a.png", photo())
    save("big.png", np.repeat(np.repeat(photo(), 3, 0), 3, 1))
    assert restore("a.png", "-o", "twice.png", "--scale", "2") == 0
    assert Image.open("twice.png").size == (320, 240)
    assert restore("a.png", "-o", "onto.png", "--upscaled-image", "big.png", "--mask-out", "m.png") == 0
    result, big, mask = read_picture(Path("onto.png")), read_picture(Path("big.png")), read_gray(Path("m.png"))
    np.testing.assert_array_equal(result.pixels[mask == 0], big.pixels[mask == 0])
    assert (mask > 0).any()


def test_only_what_a_swap_changed(restore: Restore, capsys: pytest.CaptureFixture[str]) -> None:
    save("a.png", photo())
    save("same.png", photo())
    before = photo()
    before[30:95, 40:100] = 200
    save("before.png", before)
    assert restore("a.png", "-o", "o.png", "--original-image", "same.png", "--json") == 0
    assert json.loads(capsys.readouterr().out)["faces_restored"] == 0
    assert restore("a.png", "-o", "o.png", "--original-image", "before.png", "--json") == 0
    assert json.loads(capsys.readouterr().out)["faces_restored"] == 1


def test_a_mask_chooses_and_black_means_nothing(restore: Restore, capsys: pytest.CaptureFixture[str]) -> None:
    save("a.png", photo())
    save("black.png", np.zeros((64, 64), np.uint8))  # of the size that ComfyUI uses for "no mask"
    save("white.png", np.full((30, 40), 255, np.uint8))
    for name, restored in (("black.png", 0), ("white.png", 1)):
        assert restore("a.png", "-o", "o.png", "--mask", name, "--json") == 0
        assert json.loads(capsys.readouterr().out)["faces_restored"] == restored


def test_a_folder_of_masks_with_one_missing(restore: Restore, capsys: pytest.CaptureFixture[str]) -> None:
    save("in/a.png", photo())
    save("in/b.png", photo())
    save("m/a.png", np.full((8, 8), 255, np.uint8))
    assert restore("in", "-o", "out", "--mask", "m", "--json") == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0]["ok"] and not lines[1]["ok"]
    assert "m/b.png" in lines[1]["error"].replace(os.sep, "/") and not Path("out/b.png").exists()


def test_aligned_crops(restore: Restore, capsys: pytest.CaptureFixture[str]) -> None:
    save("in/a.png", photo(100, 100, None))
    save("in/wide.png", photo(100, 50, None))
    assert restore("in", "-o", "out", "--aligned", "--fidelity", "0", "--compare", "sheets", "--json") == 1
    good, bad = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (good["width"], good["height"], good["faces_restored"]) == (64, 64, 1)
    assert Image.open("out/a.png").size == (64, 64) and Path("sheets/a.png").exists()
    assert "expects a square crop" in bad["error"]


def test_interruption_leaves_what_is_finished_and_no_half_file(
    restore: Restore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b", "c"):
        save(f"in/{name}.png", photo())
    real, done = os.fsync, []

    def interrupted(descriptor: int) -> None:
        done.append(descriptor)
        if len(done) == 2:
            raise KeyboardInterrupt
        real(descriptor)

    monkeypatch.setattr(os, "fsync", interrupted)
    assert restore("in", "-o", "out") == 130
    assert [path.name for path in Path("out").iterdir()] == ["a.png"]
    assert "interrupted" in capsys.readouterr().err


def test_wide_transparent_16_bit_webp_and_tiff_in_one_go(restore: Restore) -> None:
    save("in/a.webp", photo())
    pixels = to_float(np.concatenate([photo(), photo()[..., :1]], 2))
    write_picture(Path("in/b.tif"), pixels, Metadata("TIFF", bits=16))
    assert restore("in", "-o", "out", "--mask-out", "m") == 0
    result, mask = read_picture(Path("out/b.tif")), read_gray(Path("m/b.png"))
    assert result.meta.bits == 16
    np.testing.assert_array_equal(result.pixels[mask == 0], pixels[mask == 0])
    assert read_picture(Path("out/a.webp")).meta.format == "WEBP"


def test_rows_keep_the_order_of_the_jobs(restore: Restore, capsys: pytest.CaptureFixture[str]) -> None:
    """Several sizes, some done before, one protected, one broken: a row each, in order, and the rest done."""
    for i, width in enumerate((160, 170, 160, 180, 160, 160)):
        save(f"in/{i}.png", photo(width))
    for name in ("0", "3"):
        save(f"out/{name}.png", photo(20, 20, None))
    Path("out/1.png").write_bytes(b"mine")
    Path("out/1.png").chmod(0o444)
    Path("in/4.png").write_bytes(b"<html>")
    Path("out/3.png").unlink()
    assert restore("in", "-o", "out", "--json", "--skip-existing") == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [Path(row["input"]).name for row in rows] == [f"{i}.png" for i in range(6)]
    assert [row["skipped"] for row in rows] == [True, True, False, False, False, False]
    assert [row["ok"] for row in rows] == [True, True, True, True, False, True]
    assert restore("in", "-o", "out", "--json") == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["ok"] for row in rows] == [True, False, True, True, False, True]
    assert "write-protected" in rows[1]["error"] and Path("out/1.png").read_bytes() == b"mine"
    assert [row["width"] for row in rows if row["ok"]] == [160, 160, 180, 160]


def test_a_run_takes_typed_options_that_can_be_sent(here: Path, model: Path) -> None:
    import pickle

    from gpen_pack.jobs.job import PictureJob
    from gpen_pack.jobs.options import Networks, RestoreOptions
    from gpen_pack.jobs.picture_job import restore_pictures
    from gpen_pack.models import load_gpen

    for name in ("a", "b"):
        save(f"{name}.png", photo())
    jobs = [PictureJob(Path(f"{name}.png"), Path(f"out-{name}.png")) for name in ("a", "b")]
    jobs, options = pickle.loads(pickle.dumps((jobs, RestoreOptions(fidelity=0.5))))  # noqa: S301 (our own)
    rows = list(restore_pictures(iter(jobs), Networks(load_gpen(model), PaintedDots()), options))
    assert [row.error for row in rows] == [None, None]
    sent = pickle.loads(pickle.dumps(rows))  # noqa: S301 (our own)
    assert [row.to_dict() for row in sent] == [row.to_dict() for row in rows]
    assert rows[0].to_dict()["report"]["milliseconds"]["detect"] > 0


def test_few_pictures_are_in_memory_at_once(here: Path, model: Path) -> None:
    import gc
    import weakref

    from gpen_pack.jobs import photo as photo_module
    from gpen_pack.jobs.job import PictureJob
    from gpen_pack.jobs.options import Networks, RestoreOptions
    from gpen_pack.jobs.picture_job import restore_pictures
    from gpen_pack.models import load_gpen
    from gpen_pack.restoration import frames as frames_module

    living: list[weakref.ref[np.ndarray]] = []
    real = photo_module.read_picture

    def read(path: Path) -> Picture:
        picture = real(path)
        living.append(weakref.ref(picture.pixels))
        return picture

    jobs = []
    for i in range(12):
        jobs.append(PictureJob(save(f"{i}.png", photo()), Path(f"out/{i}.png")))
    most = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(photo_module, "read_picture", read)
        patch.setattr(frames_module, "frames_in_flight", lambda *_: 3)  # many of so small ones would be
        for _ in restore_pictures(jobs, Networks(load_gpen(model), PaintedDots()), RestoreOptions()):
            gc.collect()
            most = max(most, sum(reference() is not None for reference in living))
    assert len(living) == 12 and most <= 5


def test_warnings_stay_with_their_picture(restore: Restore, capsys: pytest.CaptureFixture[str]) -> None:
    save("in/a.png", photo())
    data = save("in/b.jpg", photo()).read_bytes()
    Path("in/b.jpg").write_bytes(data[:-2])
    save("in/c.png", photo())
    assert restore("in", "-o", "out", "--json") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    ends = [any("end of the file is missing" in warning for warning in row["warnings"]) for row in rows]
    assert ends == [False, True, False]
    assert all(set(row["report"]["warnings"]) <= set(row["warnings"]) for row in rows)


def test_a_damaged_file_without_a_face_is_not_copied_as_it_is(restore: Restore) -> None:
    data = save("a.jpg", photo(face=None)).read_bytes()
    Path("a.jpg").write_bytes(data[:-2])
    assert restore("a.jpg", "-o", "out.jpg") == 0
    assert Path("out.jpg").read_bytes()[-2:] == b"\xff\xd9"


def test_what_a_folder_leaves_out_is_told(restore: Restore, capsys: pytest.CaptureFixture[str]) -> None:
    save("in/a.png", photo())
    for name in ("b.gif", "c.gif", "d.jxl"):
        Path("in", name).write_bytes(b"GIF89a")
    assert restore("in", "-o", "out") == 0
    assert "left out: 2 GIF, 1 JPEG XL" in capsys.readouterr().err
    assert restore("in", "-o", "out", "--json") == 0
    first, last = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first["ok"] and last == {"left_out": {"GIF": 2, "JPEG XL": 1}}


def test_a_missing_name_among_several_is_a_row(restore: Restore, capsys: pytest.CaptureFixture[str]) -> None:
    save("a.png", photo())
    assert restore("missing.png", "a.png", "-o", "out", "--json") == 1
    rows = {row["input"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert rows["a.png"]["ok"] and "no such file" in rows["missing.png"]["error"]
    assert rows["a.png"].keys() == rows["missing.png"].keys() and Path("out/a.png").exists()


def test_a_bmp_in_a_folder_becomes_a_png(restore: Restore) -> None:
    Path("in").mkdir()
    Image.fromarray(photo()).save("in/a.bmp")
    assert restore("in", "-o", "out", "--mask-out", "m") == 0
    result, mask = read_picture(Path("out/a.png")), read_gray(Path("m/a.png"))
    np.testing.assert_array_equal(result.pixels[mask == 0], to_float(photo())[mask == 0])


def test_an_enlargement_is_bounded_by_what_fits(
    restore: Restore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from gpen_pack.jobs import memory

    save("in/a.png", photo(400, 300, None))
    save("in/b.png", photo())
    needed = memory.bytes_per_pixel(3, 8) * 160 * 120 * 16
    monkeypatch.setattr(memory, "free_memory", lambda: int(needed / 0.9) + 1)
    assert restore("in", "-o", "out", "--scale", "4", "--json") == 1
    refused, done = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert "scale 4 would make 1600 × 1200 pixels" in refused["error"] and "scale 1.60 fits" in refused["error"]
    assert (done["width"], done["height"]) == (640, 480)
    assert restore("in/a.png", "-o", "fits.png", "--scale", "1.6") == 0
    monkeypatch.setattr(memory, "MAX_PIXELS", 160 * 120 * 16 - 1)
    assert restore("in/b.png", "-o", "o.png", "--scale", "4") == 1
    assert "scale 3.99 fits" in capsys.readouterr().err


def test_a_result_is_never_larger_than_what_is_read() -> None:
    from gpen_pack.jobs.image_io.picture import ImageFileError
    from gpen_pack.jobs.memory import check_scale, free_memory

    with pytest.raises(ImageFileError, match=r"24000 × 16000 pixels.*; scale [12]\.\d\d fits"):
        check_scale((4000, 6000), 3, 8, 4.0)
    free = free_memory()
    assert free is None or 10_000_000 < free < 10**14


def test_pictures_with_one_face_fill_the_batches(here: Path) -> None:
    from types import SimpleNamespace

    from gpen_pack.jobs.job import PictureJob
    from gpen_pack.jobs.options import Networks, RestoreOptions
    from gpen_pack.jobs.picture_job import restore_pictures

    calls: list[int] = []

    def run(crops: torch.Tensor) -> torch.Tensor:
        calls.append(len(crops))
        return torch.ones(len(crops), 64, 64, 3)

    stand_in = SimpleNamespace(config=SimpleNamespace(in_size=64, out_size=64), batch_size=4, restore=run)
    jobs = [PictureJob(save(f"{i}.png", photo(150 + i)), Path(f"out/{i}.png")) for i in range(12)]
    rows = list(restore_pictures(jobs, Networks(stand_in, PaintedDots()), RestoreOptions()))  # type: ignore[arg-type] # any such object
    assert [row.error for row in rows] == [None] * 12 and calls == [4, 4, 4]
    assert [row.size for row in rows] == [(120, 150 + i) for i in range(12)]
