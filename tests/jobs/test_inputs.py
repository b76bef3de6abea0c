"""What a folder, a pattern and a list of names mean, and that nothing is left out without a word."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from gpen_pack.jobs import inputs
from gpen_pack.jobs.errors import JobError
from gpen_pack.jobs.image_io.kinds import left_out_text
from gpen_pack.jobs.inputs import find_inputs, output_name
from gpen_pack.jobs.options import Files
from gpen_pack.jobs.plan import plan_jobs
from gpen_pack.jobs.protection import check_writable


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(inputs, "readable_heif", lambda: frozenset({"HEIC", "AVIF"}))
    return tmp_path


def make(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(name.encode())


def found(*names: str) -> list[str]:
    return [file.path.as_posix() for file in find_inputs(names, []).files]


def test_further_kinds_are_read_and_written_as_png(here: Path) -> None:
    make("in/a.heic", "in/b.avif", "in/c.bmp", "in/c.png", "in/d.jpg")
    plan = plan_jobs(Files(("in",), "out"))
    outputs = [job.output.as_posix() for job in plan.jobs]
    assert outputs == ["out/a.png", "out/b.png", "out/c.bmp.png", "out/c.png", "out/d.jpg"]
    assert not plan.left_out
    (single,) = plan_jobs(Files(("in/a.heic",), "out/")).jobs
    assert single.output == Path("out/a.png")
    assert output_name(Path("x/a.jpg"), Counter()) == Path("x/a.jpg")


def test_what_is_left_out_is_counted_by_kind(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make("in/a.jpg", "in/b.gif", "in/s/c.GIF", "in/d.jxl", "in/e.cr2", "in/notes.txt", "in/f.mp4", "in/.hidden.gif")
    make("in/g.heic", "in/h.avif")
    monkeypatch.setattr(inputs, "readable_heif", lambda: frozenset({"AVIF"}))
    result = find_inputs(["in"], [])
    assert [file.path.name for file in result.files] == ["a.jpg", "h.avif"]
    assert result.left_out == {"GIF": 2, "JPEG XL": 1, "camera raw": 1, "other file": 1, "video": 1, "HEIC": 1}
    text = left_out_text(result.left_out)
    assert text.startswith("2 GIF, 1 HEIC") and text.endswith("1 other file")
    with pytest.raises(JobError, match=r"no JPEG.* \(left out: 1 GIF\)"):
        find_inputs(["in/s"], [])


def test_links_are_followed_and_no_folder_is_read_twice(here: Path) -> None:
    make("elsewhere/x.jpg", "elsewhere/deep/y.jpg", "in/real/z.jpg")
    Path("in/a-link").symlink_to(Path("elsewhere").resolve())
    Path("in/loop").symlink_to(Path("in").resolve())
    Path("elsewhere/back").symlink_to(Path("in").resolve())
    Path("in/again").symlink_to(Path("in/real").resolve())
    result = find_inputs(["in"], [])
    names = [file.relative.as_posix() for file in result.files]
    assert names == ["a-link/x.jpg", "a-link/deep/y.jpg", "real/z.jpg"]
    assert result.left_out == {"linked folder that is read already": 3}


def test_two_links_at_each_other_end(here: Path) -> None:
    make("in/p/a.jpg", "in/q/b.jpg")
    Path("in/p/to-q").symlink_to(Path("in/q").resolve())
    Path("in/q/to-p").symlink_to(Path("in/p").resolve())
    assert found("in") == ["in/p/a.jpg", "in/q/b.jpg"]


def test_one_name_that_is_missing_does_not_stop_the_rest(here: Path) -> None:
    make("a.jpg", "b.jpg", "empty/notes.txt")
    result = find_inputs(["a.jpg", "missing.jpg", "", "nothing/*.png", "empty", "b.jpg", "x" * 5000], [])
    assert [file.path.name for file in result.files] == ["a.jpg", "b.jpg"]
    errors = [row.error or "" for row in result.failed]
    for words, error in zip(
        ("missing.jpg: no such file", "empty string", "no picture fits", "empty: no JPEG", "x"), errors, strict=True
    ):
        assert words in error
    assert result.left_out == {"other file": 1}
    with pytest.raises(JobError, match=r"missing\.jpg: no such file"):
        find_inputs(["missing.jpg"], [])


def test_a_folder_that_cannot_be_read_is_a_failure_of_its_own(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make("in/a.jpg", "in/secret/b.jpg")
    real = os.scandir

    def guarded(path: str = ".") -> Iterator[os.DirEntry[str]]:
        if Path(path).name == "secret":  # the superuser, as whom tests may run, may read anything
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)  # type: ignore[return-value] # handed on as it came

    monkeypatch.setattr(os, "scandir", guarded)
    result = find_inputs(["in"], [])
    assert [file.path.name for file in result.files] == ["a.jpg"]
    (row,) = result.failed
    assert row.error is not None and "secret: this folder cannot be read: Permission denied" in row.error
    assert row.to_dict()["ok"] is False


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (Files(("a.jpg",), ""), "-o is an empty string"),
        (Files(("a.jpg",), "-"), "not written to standard output"),
        (Files(("",), "o.png"), "an input is an empty string"),
        (Files(("-",), "o.png"), "standard input is not read"),
        (Files(("a.jpg",), "o.bmp"), r"got \.bmp"),
        (Files(("a\0b",), "o.png"), "cannot be read|no such file"),
    ],
)
def test_what_names_no_file_is_refused(here: Path, files: Files, words: str) -> None:
    make("a.jpg")
    with pytest.raises(JobError, match=words):
        plan_jobs(files)


def test_an_output_folder_that_cannot_be_written_to_is_noticed_at_once(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("a.jpg", "file")
    with pytest.raises(JobError, match="file is not a folder"):
        check_writable(plan_jobs(Files(("a.jpg",), "file/o.png")).jobs)
    if Path("/proc/self").is_dir():
        with pytest.raises(JobError, match="/proc cannot be written to"):
            check_writable(plan_jobs(Files(("a.jpg",), "/proc/out/o.png")).jobs)
    check_writable(plan_jobs(Files(("a.jpg",), "new/folder/o.png", save_crops=Path("crops"))).jobs)
    assert sorted(path.name for path in here.iterdir()) == ["a.jpg", "file"]  # nothing was made for the check


def test_many_pictures_are_planned_quickly(here: Path) -> None:
    import time

    make(*(f"in/{i:04}.jpg" for i in range(1500)))
    start = time.process_time()
    assert len(plan_jobs(Files(("in",), "out", save_crops=Path("crops"))).jobs) == 1500
    assert time.process_time() - start < 5
