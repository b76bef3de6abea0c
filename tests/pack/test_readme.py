"""README.md says what the pack has: its table of inputs, its Python example, its archive, its links."""

from __future__ import annotations

import json
import re
import statistics
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


PAGES = ["README.md", "benchmarks/README.md", "benchmarks/NOTES.md", "training/README.md", "models/builtin/*.md"]


@pytest.mark.parametrize("pattern", PAGES)
def test_links_lead_somewhere(root: Path, pattern: str) -> None:
    if not (root / "run.py").exists():
        pytest.skip("the published archive lacks some of the linked files")
    pages = sorted(root.glob(pattern))
    assert pages
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for target, anchor in re.findall(r"\]\(([^)#]*)(?:#([^)]+))?\)", text):
            if "://" in target:
                continue
            linked = page.parent / urllib.parse.unquote(target) if target else page
            assert linked.exists(), f"{page.name}: {target}"
            if anchor:
                heads = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
                anchors = [re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads]
                assert anchor in anchors, f"{page.name}: {target}#{anchor}"
        for name in re.findall(r"`((?:example_workflows|results)/[^`*]+)`", text):
            assert (page.parent / name).is_file(), f"{page.name}: {name}"


def test_the_archive_lacks_what_the_page_says(root: Path, readme: str) -> None:
    if not (root / ".comfyignore").exists():
        pytest.skip(".comfyignore is not part of the published archive")
    left_out = (root / ".comfyignore").read_text(encoding="utf-8").split()
    assert {"run.py", "tests/", "training/", "benchmarks/"} <= set(left_out)
    assert "load_pack.py" not in left_out
    assert "has no `run.py`, tests, training or benchmarks" in readme


def test_the_table_of_sizes_has_the_measured_figures(root: Path, readme: str) -> None:
    if not (root / "benchmarks").is_dir():
        pytest.skip("benchmarks are not part of the published archive")
    results = json.loads((root / "benchmarks/results/sizes-epyc-one-core.json").read_text(encoding="utf-8"))
    page = (root / "benchmarks/README.md").read_text(encoding="utf-8").split("## Model sizes")[1].split("\n## ")[0]
    for name, row in results["rows"].items():
        start = f"| {name}" if name.startswith("GPEN") else "| built"
        (short,) = (line for line in readme.split("## The nodes")[0].splitlines() if line.startswith(start))
        (long,) = (line for line in page.splitlines() if line.startswith(start))
        for line in (short, long):
            assert f"| {row['bytes'] / 1e6:.0f} MB |" in line and f"| {row['peak_mb'] / 1e3:.2f} GB |" in line
        seconds = statistics.median(row["cpu_s"])
        assert f"| {seconds:.2f} s |" in long
        assert f"| {seconds:.{1 if seconds > 1 else 2}f} s |" in short
