"""load_pack.py: another program imports the pack from any folder, and nothing else changes for it."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

PROGRAM = """
import json, os, runpy, sys
folder = sys.argv[1]
path, argv, before = list(sys.path), list(sys.argv), set(sys.modules)
load_pack = runpy.run_path(os.path.join(folder, "load_pack.py"))["load_pack"]
package = load_pack()
from gpen_pack.faces import TEMPLATES
from gpen_pack.models import load_gpen
from gpen_pack.restoration import load_detector, restore_image
import torch
restored = load_gpen("builtin").restore(torch.full((1, 16, 16, 3), 0.5))
new = set(sys.modules) - before
real = os.path.realpath(folder) + os.sep
files = {name: os.path.realpath(getattr(sys.modules[name], "__file__", None) or "") for name in new}
ours = [name for name, file in files.items() if file.startswith(real) and "site-packages" not in file]
print(json.dumps({
    "shape": list(restored.shape),
    "path": list(package.__path__),
    "again": load_pack() is package,
    "outside": [name for name in ours if not name.startswith("gpen_pack.")],
    "nodes": [name for name in new if name.startswith("gpen_pack.nodes")],
    "unchanged": sys.path == path and sys.argv == argv,
}))
"""


@pytest.mark.parametrize("name", ["ComfyUI-GPEN", "my.face-tools@1.0.2 copy"])
def test_a_program_imports_the_pack_from_any_folder(root: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "packs" / name
    folder.parent.mkdir()
    try:
        folder.symlink_to(root, target_is_directory=True)
    except OSError as error:
        pytest.skip(f"this system makes no symbolic links: {error}")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder)], capture_output=True, text=True, cwd=elsewhere, check=False
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["shape"] == [1, 256, 256, 3]
    assert facts["path"] == [str(folder)], "a link is kept: models are looked for around it"
    assert facts["again"], "a second call gives the same package"
    assert facts["outside"] == [], "modules of the pack became top-level ones"
    assert facts["nodes"] == [], "the nodes were imported"
    assert facts["unchanged"], "sys.path or sys.argv changed"


def test_a_name_in_use_is_refused(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_pack = runpy.run_path(str(root / "load_pack.py"))["load_pack"]
    monkeypatch.setitem(sys.modules, "gpen_pack_of_a_test", ModuleType("gpen_pack_of_a_test"))
    with pytest.raises(ImportError, match=r"gpen_pack_of_a_test.*give another alias"):
        load_pack("gpen_pack_of_a_test")
    with pytest.raises(ImportError, match=r"got a module from .*give another alias"):
        load_pack("gpen_pack", tmp_path)


def test_another_alias(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faces_of_mine", ModuleType("faces_of_mine"))  # so that it is taken out again
    del sys.modules["faces_of_mine"]
    package = runpy.run_path(str(root / "load_pack.py"))["load_pack"]("faces_of_mine")
    assert sys.modules["faces_of_mine"] is package and package.__name__ == "faces_of_mine"
    assert list(package.__path__) == [str(root)]
