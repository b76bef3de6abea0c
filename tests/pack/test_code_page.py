"""Sources keep to the characters of a western Windows; the programs show another sign where a console lacks one."""

from __future__ import annotations

from pathlib import Path

FOLDERS = ("benchmarks", "cli", "detectors", "faces", "gpen_arch", "jobs", "models", "nodes", "restoration", "training")


def test_sources_can_be_shown_on_a_western_windows(root: Path) -> None:
    files = [*root.glob("*.py"), *(file for folder in FOLDERS for file in (root / folder).rglob("*.py"))]
    assert len(files) > 100, "most of the sources were not found"
    strange = [
        f"{file.relative_to(root)}:{number}: {line.strip()}"
        for file in files
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if not fits(line)
    ]
    assert strange == []


def fits(text: str) -> bool:
    try:
        text.encode("cp1252")
    except UnicodeEncodeError:
        return False
    return True
