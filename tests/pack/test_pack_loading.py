"""The folder is loaded the way ComfyUI loads a pack, under whatever name it has, and leaks nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it on Python 3.10

NAMES = ["ComfyUI-GPEN", "comfyui.gpen@1.0.2", "gpen"]
NODES = {"GPENModelLoader", "GPENFaceDetect", "GPENFaceRestore", "GPENFacePasteBack", "GPENRestoreImage"}

LOADER = """
import importlib.util, json, logging, os, sys
folder, style = sys.argv[1:]
name = (folder if style == "path" else os.path.basename(folder)).replace(".", "_x_")
before, path_before = set(sys.modules), list(sys.path)
threads = len(sys._current_frames())
spec = importlib.util.spec_from_file_location(name, os.path.join(folder, "__init__.py"))
module = importlib.util.module_from_spec(spec)
sys.modules[name] = module
spec.loader.exec_module(module)
new = set(sys.modules) - before
real = os.path.realpath(folder) + os.sep
files = {m: os.path.realpath(getattr(sys.modules[m], "__file__", None) or "") for m in new}
ours = [m for m, file in files.items() if file.startswith(real) and "site-packages" not in file]
print(json.dumps({
    "nodes": sorted(module.NODE_CLASS_MAPPINGS),
    "display": sorted(module.NODE_DISPLAY_NAME_MAPPINGS),
    "web": module.WEB_DIRECTORY,
    "outside": sorted(m for m in ours if m != name and not m.startswith(name + ".")),
    "path_unchanged": sys.path == path_before,
    "heavy": sorted({"insightface", "onnxruntime", "comfy", "skimage", "onnx", "cv2"} & new),
    "threads": len(sys._current_frames()) - threads,
}))
"""


def load(root: Path, folder: Path, style: str) -> dict[str, object]:
    """Load the pack in a fresh interpreter whose working directory is not the pack."""
    done = subprocess.run(
        [sys.executable, "-c", LOADER, str(folder), style],
        capture_output=True, text=True, cwd=folder.parent, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "importing the pack must not write to stderr"
    lines = done.stdout.splitlines()
    assert len(lines) == 1, f"importing the pack must not print: {lines[:-1]}"
    return json.loads(lines[0])


@pytest.mark.parametrize("style", ["path", "bare"])
@pytest.mark.parametrize("name", NAMES)
def test_loads_as_comfyui_does(root: Path, tmp_path: Path, name: str, style: str) -> None:
    folder = tmp_path / name
    try:
        folder.symlink_to(root, target_is_directory=True)
    except OSError as error:
        pytest.skip(f"this system makes no symbolic links: {error}")
    facts = load(root, folder, style)
    assert set(facts["nodes"]) == NODES == set(facts["display"])  # type: ignore[call-overload]
    assert facts["outside"] == [], "modules of ours became top-level ones"
    assert facts["path_unchanged"]
    assert facts["heavy"] == [], "imported although nobody used it yet"
    assert facts["threads"] == 0


def test_web_directory_exists(root: Path) -> None:
    text = (root / "__init__.py").read_text(encoding="utf-8")
    folder = text.split('WEB_DIRECTORY = "')[1].split('"')[0]
    assert (root / folder).is_dir(), f"WEB_DIRECTORY {folder} is not there"


def test_importing_creates_no_file(root: Path) -> None:
    folders = ("models", "nodes", "jobs", "faces", "detectors", "restoration", "gpen_arch", "web")

    def listing() -> set[Path]:
        files = {path for folder in folders for path in (root / folder).rglob("*")} | set(root.iterdir())
        return {path for path in files if "__pycache__" not in path.parts}

    before = listing()
    load(root, root, "path")
    assert listing() <= before


def test_version_is_that_of_the_changelog(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    heads = [line[3:].strip() for line in (root / "CHANGELOG.md").read_text("utf-8").splitlines() if line[:3] == "## "]
    assert heads[0] == project["version"]


def test_requirements_are_those_of_the_project_file(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (root / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = [line.replace('"', "'") for line in lines if line.strip() and not line.startswith("#")]
    assert project["dependencies"] == wanted
