"""README.md says what the pack has: its table of inputs, its Python example, its archive, its links."""

from __future__ import annotations

import json
import re
import urllib.parse
from pathlib import Path

import pytest
import torch

SHORT = {
    "Load": "GPENModelLoader",
    "Image": "GPENRestoreImage",
    "Detect": "GPENFaceDetect",
    "Restore": "GPENFaceRestore",
    "Paste": "GPENFacePasteBack",
}
LINKED = {"image", "gpen_model", "crops", "faces", "restored"}  # in the table of nodes, not in that of inputs


@pytest.fixture
def readme(root: Path) -> str:
    return (root / "README.md").read_text(encoding="utf-8")


def test_every_input_stands_on_its_nodes_with_its_default(root: Path, readme: str) -> None:
    inventory = json.loads((root / "tests" / "node_inventory.json").read_text(encoding="utf-8"))
    table = readme.split("| input | default | on |")[1].split("\n\n")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    named = {(row[0].strip("`"), SHORT[node]): row[1] for row in cells for node in row[2].split(", ")}
    expected = {}
    for node, parts in inventory.items():
        for name, _, default, _ in [*parts["inputs"], *parts["optional"]]:
            if name not in LINKED:
                optional = name in {entry[0] for entry in parts["optional"]}
                shown = ("–" if optional else "") if default is None else str(default)
                shown = {"False": "off", "True": "on"}.get(shown, shown)
                expected[name, node] = shown
    assert named == expected


def test_the_python_example_runs(
    root: Path, readme: str, astronaut: torch.Tensor, capsys: pytest.CaptureFixture
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    program = "".join(blocks).replace("path/to/ComfyUI-GPEN", root.as_posix()).replace('"auto"', '"builtin"')
    given = {"image": astronaut, "frames": iter(astronaut)}
    exec(program, given)  # noqa: S102 - our own page
    assert "1" in capsys.readouterr().out
    assert given["frame"].image.shape == astronaut.shape[1:]
    assert bool((given["frame"].mask > 0).any()) and bool((given["mask"] > 0).any())


def test_links_lead_somewhere(root: Path, readme: str) -> None:
    if not (root / "run.py").exists():
        pytest.skip("the published archive lacks some of the files that README.md links to")
    for target in re.findall(r"\]\(([^)#]+)\)", readme):
        if "://" not in target:
            assert (root / urllib.parse.unquote(target)).exists(), target
    for name in re.findall(r"`(example_workflows/[^`]+)`", readme):
        assert (root / name).is_file(), name


def test_the_archive_lacks_what_the_page_says(root: Path, readme: str) -> None:
    if not (root / ".comfyignore").exists():
        pytest.skip(".comfyignore is not part of the published archive")
    left_out = (root / ".comfyignore").read_text(encoding="utf-8").split()
    assert {"run.py", "tests/", "training/", "benchmarks/"} <= set(left_out)
    assert "load_pack.py" not in left_out
    assert "has no `run.py`, tests, training or benchmarks" in readme
