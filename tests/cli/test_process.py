"""The command line as a process, and wrong usage: exit codes and sentences."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from gpen_pack.cli import main
from gpen_pack.gpen_arch import GPEN, GPENConfig
from gpen_pack.jobs.image_io import png
from gpen_pack.jobs.image_io.decoding import read_picture


def noise(side: int) -> bytes:
    """A square PNG without any face."""
    return png.encode(np.random.default_rng(0).integers(0, 256, (side, side, 3)).astype(np.uint8))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GPEN of 64 px with random weights."""
    net = GPEN(GPENConfig.standard(64, channel_multiplier=1, narrow=1 / 32, style_dim=32, mapping_layers=2))
    path = tmp_path_factory.mktemp("models") / "tiny.pth"
    torch.save(net.state_dict(), path)
    return path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a.png", "-o", "o.png", "--model", "nowhere.pth"], "nowhere"),
        (["a.png", "-o", "o.png", "--model", "a.png"], "a.png"),
        (["a.png", "-o", "o.png", "--device", "warp:9"], "--device warp:9"),
        (["a.png", "-o", "o.png", "--select", "first"], "--select: select must be"),
        (["a.png", "-o", "o.png", "--fidelity", "1.5"], "expected a number from 0 to 1, got '1.5'"),
        (["a.png", "-o", "o.png", "--scale", "nan"], "expected a number from 1 to 4, got 'nan'"),
        (["a.png", "-o", "o.png", "--quality", "9.5"], "expected a whole number"),
        (["a.png", "-o", "o.png", "--order", "size"], "invalid choice"),
        (["a.png", "-o", "o.png", "--aligned", "--select", "0", "--mask-out", "m.png"], "--select, --mask-out cannot"),
        (["a.png"], "required"),
        (["a.png", "-o", "a.png"], "would overwrite the input"),
    ],
)
def test_wrong_usage_is_a_sentence_and_exit_code_2(
    arguments: list[str],
    words: str,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.png").write_bytes(noise(64))
    assert main(["restore", *arguments, *([] if "--model" in arguments else ["--model", str(model)])]) == 2
    out, err = capsys.readouterr()
    assert words in err and "Traceback" not in err and out == ""
    assert sorted(path.name for path in Path().iterdir()) == ["a.png"]


def test_an_unusable_detector_file_is_exit_code_2(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.png").write_bytes(noise(64))
    Path("d.onnx").write_text("<html>")
    assert main(["restore", "a.png", "-o", "o.png", "--model", str(model), "--detector-model", "d.onnx"]) == 2
    assert "d.onnx" in capsys.readouterr().err


def test_no_command_and_no_such_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "restore" in capsys.readouterr().out
    assert main(["repair"]) == 2
    assert main(["--help"]) == 0
    assert main(["restore", "--help"]) == 0


@pytest.fixture(scope="module")
def oddly_named(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the pack in a folder whose name no import statement can spell."""
    target = tmp_path_factory.mktemp("nodes") / "My-GPEN.pack@1.0.2"
    target.mkdir()
    shutil.copy(root / "__main__.py", target)
    shutil.copy(root / "__init__.py", target)
    shutil.copy(root / "load_pack.py", target)
    for floor in ("cli", "detectors", "faces", "gpen_arch", "jobs", "models", "nodes", "restoration"):
        ignored = shutil.ignore_patterns("__pycache__", "*.pth", "*.pt", "*.onnx", "GPEN*.safetensors")
        shutil.copytree(root / floor, target / floor, ignore=ignored)
    return target


def test_the_folder_may_have_any_name_and_the_caller_stand_anywhere(oddly_named: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, oddly_named, "restore", "--help"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0 and "examples:" in done.stdout
    done = subprocess.run(
        [sys.executable, ".", "restore", "no.jpg", "-o", "o.jpg"], cwd=oddly_named, capture_output=True, text=True
    )
    assert done.returncode == 2 and "no.jpg: no such file" in done.stderr
    script = (
        f"import sys, runpy; sys.argv = ['x', 'restore', '--help']; sys.path.insert(0, {str(oddly_named)!r})\n"
        f"try: runpy.run_path({str(oddly_named / '__main__.py')!r}, run_name='__main__')\n"
        "except SystemExit: pass\n"
        "rooms = {'nodes', 'models', 'faces', 'cli', 'jobs', 'detectors', 'restoration', 'gpen_arch'}\n"
        "bare = rooms & set(sys.modules)\n"
        f"assert not bare, bare\nassert {str(oddly_named)!r} not in sys.path"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(os.name == "nt", reason="Windows has another way to send Ctrl-C")
def test_ctrl_c_in_a_running_process(oddly_named: Path, model: Path, tmp_path: Path) -> None:
    for index in range(60):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / f"in/{index:03}.png").write_bytes(noise(200))
    command = [sys.executable, oddly_named, "restore", "in", "-o", "out", "--model", model, "--aligned", "--json"]
    # a test run started in the background ignores the signal, and so would its children
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        first = process.stdout.readline()
        time.sleep(0.05)  # somewhere in the next picture
        process.send_signal(signal.SIGINT)
        out, err = process.stdout.read(), process.stderr.read()
    assert json.loads(first)["ok"], first
    assert process.returncode == 130, err
    assert "interrupted" in err and "Traceback" not in err
    finished = len(out.splitlines()) + 1
    written = list((tmp_path / "out").iterdir())
    assert finished <= len(written) <= finished + 1 < 60
    for path in written:
        assert path.suffix == ".png" and read_picture(path).size == (64, 64)
