"""What was typed becomes jobs: folders, patterns, trees, side files; and no input is ever an output."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest
from gpen_pack.cli import build_parser
from gpen_pack.cli.arguments import HelpFormatter
from gpen_pack.cli.commands.restore import files_of
from gpen_pack.jobs.errors import JobError
from gpen_pack.jobs.job import PictureJob, crop_path
from gpen_pack.jobs.plan import plan_jobs


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(name.encode())


def plan(*arguments: str) -> list[PictureJob]:
    return plan_jobs(files_of(build_parser("restore").parse_args(["restore", *arguments]))).jobs


def pairs(*arguments: str) -> list[tuple[str, str]]:
    return [(job.source.as_posix(), job.output.as_posix()) for job in plan(*arguments)]


def test_one_file(here: Path) -> None:
    make("a.jpg", "there/x")
    assert pairs("a.jpg", "-o", "b.png") == [("a.jpg", "b.png")]
    assert pairs("a.jpg", "-o", "there") == [("a.jpg", "there/a.jpg")]
    assert pairs("a.jpg", "-o", "new/") == [("a.jpg", "new/a.jpg")]
    assert pairs("a.jpg", "-o", "new") == [("a.jpg", "new/a.jpg")]  # no extension, no file of that name


def test_a_folder_is_mirrored_with_its_subfolders(here: Path) -> None:
    make("in/b.JPG", "in/a.png", "in/sub/c.tif", "in/notes.txt", "in/.hidden.png", "in/.thumbs/d.png")
    assert pairs("in", "-o", "out") == [
        ("in/a.png", "out/a.png"), ("in/b.JPG", "out/b.JPG"), ("in/sub/c.tif", "out/sub/c.tif"),
    ]  # fmt: skip


def test_folders_that_we_write_to_are_not_read(here: Path) -> None:
    make("in/a.png", "in/out/a.png", "in/masks/a.png", "in/crops/a-00.png", "in/before/a.png", "in/sheets/a.png")
    options = ["--mask-out", "in/masks", "--save-crops", "in/crops", "--original-image", "in/before"]
    assert pairs("in", "-o", "in/out", *options, "--compare", "in/sheets") == [("in/a.png", "in/out/a.png")]


def test_patterns_are_expanded_here_for_shells_that_do_not(here: Path) -> None:
    make("p/a.jpg", "p/b.png", "p/q/c.jpg", "p/x.txt", "odd[1].jpg")
    assert pairs("p/*.jpg", "-o", "out") == [("p/a.jpg", "out/a.jpg")]
    assert pairs("p/**/*.*", "-o", "o") == [("p/a.jpg", "o/a.jpg"), ("p/b.png", "o/b.png"), ("p/q/c.jpg", "o/q/c.jpg")]
    assert pairs("odd[1].jpg", "-o", "out.png") == [("odd[1].jpg", "out.png")]  # a file of that very name is no pattern


def test_several_inputs_need_a_folder_and_are_counted_once(here: Path) -> None:
    make("a.jpg", "b.jpg")
    assert pairs("a.jpg", "b.jpg", "./a.jpg", "-o", "out") == [("a.jpg", "out/a.jpg"), ("b.jpg", "out/b.jpg")]
    with pytest.raises(JobError, match=r"-o out\.png: expected a folder"):
        plan("a.jpg", "b.jpg", "-o", "out.png")


def test_side_files_of_one_picture(here: Path) -> None:
    make("a.b.jpg", "m.png", "o.png", "u.png")
    (job,) = plan(
        "a.b.jpg", "-o", "x.png", "--mask", "m.png", "--original-image", "o.png", "--upscaled-image", "u.png",
        "--mask-out", "mask.png", "--compare", "sheet.jpg", "--save-crops", "crops",
    )  # fmt: skip
    assert job == PictureJob(
        *map(Path, ("a.b.jpg", "x.png", "m.png", "o.png", "u.png", "mask.png", "sheet.jpg", "crops/a.b"))
    )
    assert job.crops is not None and crop_path(job.crops, 3) == Path("crops/a.b-03.png")


def test_side_files_of_a_folder(here: Path) -> None:
    make("in/a.jpg", "in/s/b.jpg", "in/s/b.png", "m/a.png", "m/s/b.jpg", "m/s/b.png")
    jobs = plan("in", "-o", "out", "--mask", "m", "--mask-out", "mo", "--save-crops", "c", "--compare", "sheets")
    assert [job.mask and job.mask.as_posix() for job in jobs] == ["m/a.png", "m/s/b.jpg", "m/s/b.png"]
    assert [job.mask_out and job.mask_out.as_posix() for job in jobs] == [
        "mo/a.png", "mo/s/b.jpg.png", "mo/s/b.png.png",
    ]  # fmt: skip
    assert [job.crops and job.crops.as_posix() for job in jobs] == ["c/a", "c/s/b.jpg", "c/s/b.png"]
    assert jobs[0].compare == Path("sheets/a.png")


def test_a_missing_partner_is_left_to_the_job(here: Path) -> None:
    """So that the one picture fails and says so, and the rest is done."""
    make("in/a.jpg", "in/b.jpg", "m/a.jpg")
    jobs = plan("in", "-o", "out", "--mask", "m")
    assert jobs[1].mask == Path("m/b.jpg")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a.jpg", "-o", "a.jpg"], "would overwrite the input a.jpg"),
        (["a.jpg", "-o", "."], "would overwrite the input"),
        (["a.jpg", "-o", "link.jpg"], "would overwrite the input"),
        (["a.jpg", "-o", "hard.jpg"], "would overwrite the input"),
        (["d", "-o", "d"], "would overwrite the input"),
        (["a.jpg", "-o", "m.png", "--mask", "m.png"], "would overwrite the input m.png"),
        (["a.jpg", "-o", "x.png", "--mask-out", "m.png", "--original-image", "m.png"], "overwrite the input m.png"),
        (["a.jpg", "-o", "x.png", "--compare", "a.jpg"], "would overwrite the input"),
        (["a.jpg", "-o", "m.png", "--detector-model", "m.png"], "would overwrite the input m.png"),
        (["a.jpg", "-o", "m.png", "--model", "m.png"], "would overwrite the input m.png"),
        (["a-00.png", "a.jpg", "-o", "out", "--save-crops", "."], r"--save-crops: this would overwrite .*a-00\.png"),
        (["a.jpg", "-o", "x.png", "--mask-out", "x.png"], "written twice"),
        (["a.jpg", "d/a.jpg", "-o", "out"], "goes there, too"),
        (["a.jpg", "-o", "x.gif"], r"got \.gif"),
        (["a.jpg", "-o", "x.png", "--mask-out", "x.jpg"], r"ends in \.png"),
        (["a.jpg", "-o", "x.png", "--mask-out", "d"], "expected a file name, got a folder"),
        (["a.jpg", "-o", "x.png", "--mask", "d"], "expected a picture, got a folder"),
        (["a.jpg", "-o", "x.png", "--mask", "no.png"], "but there is none"),
        (["a.jpg", "-o", "x.png", "--save-crops", "m.png"], "expected a folder, got a file"),
        (["d", "-o", "out", "--mask", "m.png"], "expected a folder .* got a file"),
        (["d", "-o", "out", "--mask-out", "masks.png"], "--mask-out masks.png: expected a folder"),
        (["d", "-o", "m.png"], "-o m.png: expected a folder"),
        (["missing.jpg", "-o", "x.png"], "missing.jpg: no such file"),
        (["*.webp", "-o", "x"], "no picture fits this pattern"),
        (["empty", "-o", "x"], "no JPEG, PNG, WebP, TIFF, BMP, HEIC and AVIF pictures"),
    ],
)
def test_what_cannot_be_meant_is_refused(here: Path, arguments: list[str], words: str) -> None:
    make("a.jpg", "a-00.png", "m.png", "d/a.jpg", "empty/readme.txt")
    os.link("a.jpg", "hard.jpg")
    Path("link.jpg").symlink_to("a.jpg")
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    with pytest.raises(JobError, match=words):
        plan(*arguments)
    assert {path: path.read_bytes() for path in here.rglob("*") if path.is_file()} == before


def test_defaults_are_shown_and_examples_keep_their_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    parser = build_parser("restore")
    (action,) = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    text = action.choices["restore"].format_help()
    assert issubclass(action.choices["restore"].formatter_class, HelpFormatter)
    assert "(default: 0.2)" in text and "(default: False)" not in text and "(default: None)" not in text
    assert "\n  python " in text and "exit codes: 0 done" in text


def test_choices_are_those_of_the_core() -> None:
    from gpen_pack.cli import arguments
    from gpen_pack.faces import BLEND_MODES, COLOR_MATCHES, MASK_SHAPES, ORDERS, TEMPLATES

    assert set(arguments.BLEND_MODES) == set(BLEND_MODES)
    assert set(arguments.COLOR_MATCHES) == set(COLOR_MATCHES)
    assert set(arguments.MASK_SHAPES) == set(MASK_SHAPES)
    assert tuple(ORDERS) == arguments.ORDERS
    assert set(arguments.TEMPLATES) == set(TEMPLATES)


def test_defaults_are_those_of_restore_image() -> None:
    import inspect

    from gpen_pack.cli.commands.restore import options_of
    from gpen_pack.jobs.options import RestoreOptions
    from gpen_pack.restoration import restore_image

    args = build_parser("restore").parse_args(["restore", "x", "-o", "y"])
    assert options_of(args) == RestoreOptions()
    core = inspect.signature(restore_image).parameters
    for name, value in RestoreOptions().core().items():
        assert value == core[name].default, name
    assert [core[name].default for name in ("mask", "original_image", "upscaled_image")] == [None] * 3
