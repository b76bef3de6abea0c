"""run.py, the script for a fresh machine: what it checks, makes, installs and starts; nothing is installed here."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest


@pytest.fixture
def script(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, at home in a temporary folder with two requirements files."""
    if not (root / "run.py").exists():
        pytest.skip("run.py is not part of the published archive")
    spec = importlib.util.spec_from_file_location("gpen_run_script", root / "run.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "ENVIRONMENT", tmp_path / ".venv")
    (tmp_path / "requirements.txt").write_text("torch>=2.1\n")
    (tmp_path / "requirements-dev.txt").write_text("pytest\n")
    return module


@pytest.fixture
def calls(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Records the processes that would be started; pip succeeds unless it is given a word in ``calls.fails``."""
    record: list[list[str]] = []

    def run(command: list[str], **_: object) -> SimpleNamespace:
        record.append(command[1:])
        return SimpleNamespace(returncode=1 if any(word in command for word in fails) else 0)

    def create(_: object, environment: str) -> None:
        record.append(["create", environment])
        python = script.python_in(Path(environment))
        python.parent.mkdir()
        python.touch()

    fails: list[str] = []
    record_with_fails = type("Calls", (list,), {"fails": fails})()
    record = record_with_fails
    monkeypatch.setattr(script.subprocess, "run", run)
    monkeypatch.setattr(script.venv.EnvBuilder, "create", create)
    return record_with_fails


def installs(calls: list[list[str]]) -> list[list[str]]:
    return [call[4:] for call in calls if call[:3] == ["-m", "pip", "install"]]


def test_imports_the_standard_library_alone(root: Path) -> None:
    tree = ast.parse((root / "run.py").read_text(encoding="utf-8"), feature_version=(3, 7))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imported} <= sys.stdlib_module_names


def test_pythons(script: ModuleType) -> None:
    for version in ((3, 10, 0), (3, 13, 9)):
        assert script.check_python(version) == ""
    assert "newer" in script.check_python((3, 14, 0))
    with pytest.raises(script.Stop, match=r"This is Python 3\.9; Python 3\.10 to 3\.13 is needed"):
        script.check_python((3, 9, 18))


def test_torch_comes_first_then_the_requirements_then_the_program(script: ModuleType, calls: list[list[str]]) -> None:
    assert script.main(["demo", "--json"]) == 0
    assert calls[0] == ["create", str(script.ENVIRONMENT)]
    assert installs(calls) == [[script.TORCH], ["-r", "requirements.txt"]]
    assert calls[-1] == [str(script.ROOT), "demo", "--json"]


def test_commands_run_in_the_environment_with_all_their_arguments(script: ModuleType, calls: list[list[str]]) -> None:
    for line in ("restore photo.jpg -o out.png", "models list --json", "doctor"):
        assert script.main(line.split()) == 0
        assert calls[-1] == [str(script.ROOT), *line.split()]


def test_tests_get_their_own_requirements_and_arguments(script: ModuleType, calls: list[list[str]]) -> None:
    assert script.main(["test", "-k", "png"]) == 0
    assert installs(calls)[-1] == ["-r", "requirements.txt", "-r", "requirements-dev.txt"]
    assert calls[-1] == ["-m", "pytest", "-k", "png"]


def test_an_environment_is_used_again_until_the_requirements_change(script: ModuleType, calls: list[list[str]]) -> None:
    script.main(["test"])
    calls.clear()
    script.main(["test"])
    script.main(["demo"])  # what the tests need holds what the demo needs
    assert installs(calls) == [] and ["create", str(script.ENVIRONMENT)] not in calls
    (script.ROOT / "requirements.txt").write_text("torch>=2.2\n")
    script.main(["demo"])
    assert installs(calls) == [[script.TORCH], ["-r", "requirements.txt"]]
    calls.clear()
    script.main(["test"])  # installed before the change
    assert len(installs(calls)) == 2


def test_oldest_installs_the_lower_bounds_into_an_environment_of_its_own(
    script: ModuleType, calls: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "OLDEST_ENVIRONMENT", tmp_path / ".venv-oldest")
    (script.ROOT / "requirements.txt").write_text(
        "# why\ntorch>=2.1\nnumpy>=1.24,<3  # a reason\ninsightface>=0.7.3\n"
        "onnxruntime>=1.16; sys_platform != 'win32'\n"
    )
    assert script.main(["test", "--oldest", "-x"]) == 0
    assert calls[0] == ["create", str(tmp_path / ".venv-oldest")]
    (installed,) = installs(calls)
    assert installed[:4] == [
        "torch==2.1",
        "numpy==1.24",
        "insightface==2.0",
        "onnxruntime==1.16; sys_platform != 'win32'",
    ]
    assert calls[-1][:2] == ["-m", "pytest"] and calls[-1][-1] == "-x" and "--oldest" not in calls[-1]
    assert any("not slow" in argument for argument in calls[-1])
    calls.clear()
    script.main(["test", "--oldest"])
    assert installs(calls) == [], "installed once"
    (script.ROOT / "requirements.txt").write_text("torch\n")
    assert script.main(["test", "--oldest"]) == 1, "a line without a bound"


def test_a_torch_that_cannot_be_had_falls_back_to_the_range(
    script: ModuleType, calls: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    calls.fails.append(script.TORCH)  # type: ignore[attr-defined] # the recording list of the fixture
    assert script.main(["demo"]) == 0
    assert installs(calls)[-1] == ["-r", "requirements.txt"]
    assert "not to be had here" in capsys.readouterr().out


def test_a_pip_that_fails_is_explained_and_tried_again_next_time(
    script: ModuleType, calls: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    calls.fails.append("requirements.txt")  # type: ignore[attr-defined] # the recording list of the fixture
    assert script.main(["demo"]) == 1
    assert "PIP_INDEX_URL" in capsys.readouterr().err
    assert calls[-1][:3] == ["-m", "pip", "install"]  # the program was not started
    calls.fails.clear()  # type: ignore[attr-defined] # the recording list of the fixture
    calls.clear()
    assert script.main(["demo"]) == 0
    assert len(installs(calls)) == 2


def test_a_broken_environment_is_made_anew_and_a_strange_folder_is_left_alone(
    script: ModuleType, calls: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script.main(["demo"])
    calls.clear()
    monkeypatch.setattr(script, "works", lambda _: False)
    assert script.main(["demo"]) == 0
    assert ["create", str(script.ENVIRONMENT)] in calls and len(installs(calls)) == 2

    (script.ENVIRONMENT / script.STAMP).unlink()
    (script.ENVIRONMENT / "precious.txt").touch()
    assert script.main(["demo"]) == 1
    assert "move it away" in capsys.readouterr().err
    assert (script.ENVIRONMENT / "precious.txt").exists()


def test_an_environment_that_cannot_be_made_is_explained_and_leaves_nothing(
    script: ModuleType, calls: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def create(*_: object) -> None:
        raise subprocess.CalledProcessError(1, "ensurepip")

    monkeypatch.setattr(script.venv.EnvBuilder, "create", create)
    assert script.main(["demo"]) == 1
    assert "python3-venv" in capsys.readouterr().err
    assert not script.ENVIRONMENT.exists()


def test_windows_keeps_its_interpreter_elsewhere(script: ModuleType) -> None:
    assert script.python_in(Path("e"), windows=True) == Path("e/Scripts/python.exe")
    assert script.python_in(Path("e"), windows=False) == Path("e/bin/python")


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_requirements_are_lines_that_pip_can_read(root: Path, name: str) -> None:
    """A marker that pip cannot parse fails on every machine; onnxruntime-gpu has wheels for two of them only."""
    requirements = pytest.importorskip("packaging.requirements")
    if not (root / name).exists():
        pytest.skip(f"{name} is not part of the published archive")
    lines = (line.split(" #")[0].strip() for line in (root / name).read_text(encoding="utf-8").splitlines())
    parsed = [requirements.Requirement(line) for line in lines if line and not line.startswith("#")]
    assert parsed
    for system, machine in (("linux", "x86_64"), ("win32", "AMD64"), ("darwin", "arm64"), ("linux", "aarch64")):
        here = {"sys_platform": system, "platform_machine": machine}
        taken = {r.name for r in parsed if r.marker is None or r.marker.evaluate(here)}
        taken &= {"onnxruntime", "onnxruntime-gpu"}
        if name == "requirements.txt":
            assert taken == {"onnxruntime-gpu" if machine in ("x86_64", "AMD64") else "onnxruntime"}
