"""`models list | download | verify`: words, JSON, exit codes, and the licence before the first byte."""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from gpen_pack.cli.commands import models as command
from gpen_pack.gpen_arch import GPEN, GPENConfig
from gpen_pack.models import CATALOGUE, CatalogueEntry, DownloadError, catalogue, search, sha256_of

Run = Callable[..., int]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    own = tmp_path / "own"
    own.mkdir()
    monkeypatch.setattr(search, "OWN_FOLDER", own)
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())

    def call(*argv: object) -> int:
        return command.run(parser.parse_args(["models", *map(str, argv)]))

    return call


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.pth"
    torch.save(GPEN(GPENConfig.standard(16, narrow=1 / 64, style_dim=16, mapping_layers=1)).state_dict(), path)
    return path


@pytest.fixture
def published(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> CatalogueEntry:
    """The tiny model as if the world knew it as GPEN-BFR-512.pth."""
    entry = next(e for e in CATALOGUE if e.name == "GPEN-BFR-512.pth")
    entry = replace(entry, sha256=sha256_of(tiny), bytes=tiny.stat().st_size)
    monkeypatch.setattr(catalogue, "CATALOGUE", (entry, *(e for e in CATALOGUE if e.name != entry.name)))
    monkeypatch.setattr(command, "CATALOGUE", catalogue.CATALOGUE)
    return entry


def test_list(run: Run, tmp_path: Path, published: CatalogueEntry, tiny: Path, capsys: pytest.CaptureFixture) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "GPEN-BFR-512.pth").write_bytes(tiny.read_bytes())
    (folder / "GPEN-BFR-512.onnx").write_bytes(b"not it")
    (folder / "mine.safetensors").write_bytes(b"")
    assert run("list", "--folder", folder) == 0
    text = capsys.readouterr().out
    assert all(entry.name in text for entry in CATALOGUE)
    assert str(folder / "mine.safetensors") in text
    assert run("list", "--folder", folder, "--check", "--json") == 0
    rows = {row["name"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert rows["GPEN-BFR-512.pth"]["state"] == "here, verified"
    assert rows["GPEN-BFR-512.pth"]["path"] == str(folder / "GPEN-BFR-512.pth")
    assert "another size" in rows["GPEN-BFR-512.onnx"]["state"]
    assert rows["GPEN-BFR-1024.onnx"]["path"] is None
    assert rows["mine.safetensors"]["state"] == "not in the catalogue"
    assert "builtin" in rows


def test_verify(run: Run, tmp_path: Path, published: CatalogueEntry, tiny: Path, capsys: pytest.CaptureFixture) -> None:
    good = tmp_path / "anything.pth"
    good.write_bytes(tiny.read_bytes())
    assert run("verify", good) == 0
    text = capsys.readouterr().out
    assert "GPEN 16 px" in text
    assert published.sha256 in text
    assert "published as GPEN-BFR-512.pth" in text

    liar = tmp_path / "GPEN-BFR-2048.onnx"
    liar.write_bytes(tiny.read_bytes())
    assert run("verify", liar) == 1
    assert "has the bytes of GPEN-BFR-512.pth" in capsys.readouterr().out

    other = tmp_path / "GPEN-BFR-512.pth"
    torch.save(torch.load(tiny, weights_only=True) | {"step": torch.tensor(1)}, other)
    assert run("verify", other, good) == 1
    text = capsys.readouterr().out
    assert "is not the published file" in text
    assert published.urls[0] in text

    bad = tmp_path / "page.pth"
    bad.write_bytes(b"<html>")
    assert run("verify", bad, tmp_path / "missing.pth", other, "--json") == 2
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["usable"] for row in rows] == [False, False, True]
    assert "web page" in rows[0]["problem"]
    assert rows[2]["out_size"] == 16


def test_verify_knows_the_detectors(run: Run, shared: Path, capsys: pytest.CaptureFixture) -> None:
    for path in (shared / "detectors").glob("*.onnx"):
        assert run("verify", path) == 0
        assert "a face detector" in capsys.readouterr().out


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[CatalogueEntry, Path, bool]]:
    """No network: what would have been downloaded."""
    calls: list[tuple[CatalogueEntry, Path, bool]] = []

    def download(entry: CatalogueEntry, folder: Path, on_progress: object, *, allow_unverified: bool) -> Path:
        calls.append((entry, folder, allow_unverified))
        folder.mkdir(exist_ok=True)
        (folder / entry.filename).write_bytes(b"x")
        return folder / entry.filename

    monkeypatch.setattr(command, "download", download)
    return calls


def answer(monkeypatch: pytest.MonkeyPatch, text: str | None) -> None:
    """Somebody at a terminal who types this; None: no terminal."""
    stdin = io.StringIO(text or "")
    monkeypatch.setattr(stdin, "isatty", lambda: text is not None)
    monkeypatch.setattr("sys.stdin", stdin)


def test_nothing_is_fetched_before_the_licence(
    run: Run, tmp_path: Path, fetched: list, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    for typed in (None, "\n", "n\n"):
        answer(monkeypatch, typed)
        assert run("download", "GPEN-BFR-2048.onnx", "--folder", tmp_path) == 2
        assert "non-commercial" in capsys.readouterr().err
    assert fetched == []
    answer(monkeypatch, "y\n")
    assert run("download", "GPEN-BFR-2048.onnx", "--folder", tmp_path) == 0
    answer(monkeypatch, None)
    assert run("download", "gpen-bfr-1024", "face_detection_yunet_2026may", "--accept-license") == 0
    err = capsys.readouterr().err
    assert "non-commercial" in err
    assert "MIT" in err
    assert [(entry.name, folder) for entry, folder, _ in fetched] == [
        ("GPEN-BFR-2048.onnx", tmp_path),
        ("GPEN-BFR-1024.onnx", tmp_path / "own"),
        ("face_detection_yunet_2026may.onnx", tmp_path / "own"),
    ]


def test_a_file_without_a_hash_is_named_so(
    run: Run, tmp_path: Path, fetched: list, capsys: pytest.CaptureFixture
) -> None:
    assert run("download", "GPEN-BFR-2048.pth", "-y", "--folder", tmp_path) == 2
    assert "--unverified" in capsys.readouterr().err
    assert fetched == []
    assert run("download", "GPEN-BFR-2048.pth", "-y", "--unverified", "--folder", tmp_path) == 0
    assert fetched[0][2] is True
    assert "nobody published" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "said"), [("GPEN-BFR-4096", "models list"), ("GPEN-BFR-512-D", "discriminator")])
def test_wrong_names(run: Run, fetched: list, capsys: pytest.CaptureFixture, name: str, said: str) -> None:
    assert run("download", name, "-y") == 2
    assert said in capsys.readouterr().err
    assert fetched == []


def test_one_failure_does_not_stop_the_rest(
    run: Run, fetched: list, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    real = command.download

    def download(entry: CatalogueEntry, *args: object, **kwargs: object) -> Path:
        if entry.out_size == 2048:
            raise DownloadError("no network; by hand: …")
        return real(entry, *args, **kwargs)

    monkeypatch.setattr(command, "download", download)
    assert run("download", "GPEN-BFR-2048.onnx", "GPEN-BFR-1024.onnx", "-y") == 1
    assert "by hand" in capsys.readouterr().err
    assert [entry.out_size for entry, *_ in fetched] == [1024]


def test_ctrl_c(run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    def download(*args: object, **kwargs: object) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "download", download)
    assert run("download", "GPEN-BFR-2048.onnx", "-y") == 1
    assert "GPEN-BFR-2048.onnx.part" in capsys.readouterr().err


def test_the_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    from gpen_pack.cli.download_bar import DownloadBar

    bar = DownloadBar("thing")
    bar(5, 10)
    assert capsys.readouterr().err == "", "silent where nobody watches"
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    bar = DownloadBar("thing")
    bar(10_000_000, 10_000_000)
    bar.close()
    assert "10.0M/10.0M" in capsys.readouterr().err
