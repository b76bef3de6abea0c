"""What the command line sends to terminals, pipes and full disks, and how it ends."""

from __future__ import annotations

import builtins
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from gpen_pack.cli import main, packages
from gpen_pack.cli.console import Console
from gpen_pack.cli.errors import UsageError
from gpen_pack.cli.text import printable
from gpen_pack.cli.threads import CHOSEN_BY_USER, wait_passively
from gpen_pack.gpen_arch import GPEN, GPENConfig
from gpen_pack.jobs.image_io import png
from gpen_pack.jobs.row import Row

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX signals and devices")


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


def test_control_characters_in_names_are_escaped(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert printable("a\x1b[31mb\n\u202ec\x9b\udce9 é") == r"a\x1b[31mb\n\u202ec\x9b\udce9 é"
    assert printable("one\ntwo\x07", keep="\n") == "one\ntwo\\x07"
    monkeypatch.chdir(tmp_path)
    for name in ("a\x1b[31m.png", "b\nb.png"):
        Path(name).write_bytes(noise(64))
    Path("c\x1b]0;x\x07.png").write_bytes(b"<html>")
    typed = ["restore", *map(str, sorted(tmp_path.iterdir())), "-o", "out", "--aligned", "--model", str(model)]
    assert main(typed) == 1
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err and "\x07" not in out + err
    assert r"a\x1b[31m.png" in out and r"b\nb.png" in out and r"c\x1b]0;x\x07.png" in err
    assert main(["restore", "no\x1b[2J.png", "-o", "o.png"]) == 2
    assert main(["restore", "a", "-o", "o.png", "--order", "\x1b[2J"]) == 2
    assert "\x1b" not in capsys.readouterr().err


class Terminal:
    """Standard error that says it is a terminal or not."""

    def __init__(self, is_one: bool) -> None:
        self.is_one, self.text = is_one, ""

    def isatty(self) -> bool:
        return self.is_one

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass


@pytest.mark.parametrize("is_one", [True, False])
def test_the_bar_is_drawn_on_terminals_only(is_one: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal(is_one)
    monkeypatch.setattr(sys, "stderr", stream)
    with Console(3) as console:
        console.progress(0.5)
        console.row(Row(Path("a.png"), Path("b.png")))
    assert ("pictures" in stream.text) == is_one


def test_a_missing_tqdm_costs_the_bar_only(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal(True)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with Console(2) as console:
        console.progress(0.5)
    assert "tqdm" in stream.text and "pip install tqdm" in stream.text


@pytest.mark.parametrize("module", packages.REQUIRED)
def test_each_missing_package_has_its_own_sentence(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = packages.importlib.import_module

    def absent(name: str, *rest: object) -> object:
        if name == module:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest)  # type: ignore[arg-type] # handed on as it came

    monkeypatch.setattr(packages.importlib, "import_module", absent)
    (tmp_path / "a.png").write_bytes(noise(8))
    assert main(["restore", str(tmp_path / "a.png"), "-o", str(tmp_path / "o.png")]) == 2
    distribution = {"PIL": "Pillow", "cv2": "opencv-python"}.get(module, module)
    err = capsys.readouterr().err
    assert f"the package {distribution} is missing" in err and f"pip install {distribution}" in err
    assert len(err.splitlines()) == 1


def test_an_opencv_that_does_not_fit_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> object:
        raise ImportError("numpy.core.multiarray failed to import")

    monkeypatch.setattr(packages.importlib, "import_module", broken)
    with pytest.raises(UsageError, match=rf"opencv-python does not fit numpy {np.__version__} .*-U opencv-python"):
        packages.require(["cv2"])


def test_without_numpy_as_a_process(root: Path, tmp_path: Path) -> None:
    """As with the system's Python, where nothing is installed: -S leaves site-packages out."""
    command = [sys.executable, "-S", "-I", str(root), "restore", "a.png", "-o", "b.png"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "the package numpy is missing" in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_threads_wait_passively_unless_the_user_chose() -> None:
    environment: dict[str, str] = {}
    wait_passively(environment)
    assert environment == {"OMP_WAIT_POLICY": "passive"}
    for name in CHOSEN_BY_USER:
        environment = {name: "active"}
        wait_passively(environment)
        assert environment == {name: "active"}


def test_the_wait_policy_is_set_before_torch_loads(root: Path, tmp_path: Path) -> None:
    script = (
        "import os, runpy, sys\n"
        f"sys.argv = ['x', '--version-of-nothing']\n"
        "class Watch:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name in ('torch', 'numpy', 'cv2'):\n"
        "            assert os.environ.get('OMP_WAIT_POLICY') == 'passive', name\n"
        "            print('seen', name)\n"
        "sys.meta_path.insert(0, Watch())\n"
        f"runpy.run_path({str(root / '__main__.py')!r}, run_name='__main__')\n"
    )
    environment = {key: value for key, value in os.environ.items() if key not in CHOSEN_BY_USER}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert "AssertionError" not in done.stderr and "seen torch" in done.stdout, done.stderr


def run_many(root: Path, model: Path, folder: Path, **options: object) -> subprocess.Popen[str]:
    (folder / "in").mkdir()
    for index in range(60):
        (folder / f"in/{index:03}.png").write_bytes(noise(200))
    command = [sys.executable, root, "restore", "in", "-o", "out", "--model", model, "--aligned", "--json"]
    return subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload] # Popen's many overloads


@posix
def test_sigterm_ends_a_run_and_leaves_no_half_file(root: Path, model: Path, tmp_path: Path) -> None:
    with run_many(root, model, tmp_path, stdout=subprocess.PIPE) as process:
        first = process.stdout.readline()
        time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        out, err = process.stdout.read(), process.stderr.read()
    assert json.loads(first)["ok"]
    assert process.returncode == 128 + signal.SIGTERM, err
    assert "terminated" in err and "Traceback" not in err
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert all(name.endswith(".png") and not name.startswith(".") for name in written)
    assert len(out.splitlines()) + 1 <= len(written) < 60


@posix
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_behind_standard_output_is_one_sentence(root: Path, model: Path, tmp_path: Path) -> None:
    with builtins.open("/dev/full", "w") as full, run_many(root, model, tmp_path, stdout=full) as process:  # noqa: PTH123 (a device)
        err = process.stderr.read()
    assert process.returncode == 1
    assert err.splitlines() == ["standard output cannot be written to: No space left on device."]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a.png", "-o", ""], "-o is an empty string"),
        (["", "-o", "o.png"], "an input is an empty string"),
        (["-", "-o", "o.png"], "standard input is not read"),
        (["a.png", "-o", "-"], "not written to standard output"),
        (["a.png", "-o", "a.png/o.png"], "is not a folder"),
    ],
)
def test_names_that_are_no_files(
    arguments: list[str], words: str, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("a.png").write_bytes(noise(8))
    assert main(["restore", *arguments, "--model", str(model)]) == 2
    assert words in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["a.png"]
