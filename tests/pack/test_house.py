"""The layout of DESIGN.md: floors import downwards, no import cycles between files, folders of a readable size."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ALLOWED = {
    "gpen_arch": set(),
    "faces": set(),
    "models": {"gpen_arch"},
    "detectors": {"faces", "models"},
    "restoration": {"detectors", "faces", "models"},
    "jobs": {"restoration", "detectors", "faces", "models"},
    "nodes": {"jobs", "restoration", "detectors", "faces", "models"},
    "cli": {"jobs", "restoration", "detectors", "faces", "models"},
}
HOST = {"comfy", "folder_paths", "server", "execution"}
MOST_FILES = 16  # beside __init__.py


def _sources(root: Path) -> list[Path]:
    return [file for room in ALLOWED for file in sorted((root / room).rglob("*.py"))]


def _imports(file: Path, root: Path) -> Iterator[tuple[int, str, list[str]]]:
    """(level, absolute dotted module inside the pack or outside of it, names) of every import, nested ones too."""
    package = list(file.relative_to(root).parts[:-1])
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield node.level, module, [alias.name for alias in node.names]


def _edges(file: Path, root: Path) -> set[Path]:
    """The files of the pack that a file imports by name; a package stands for its ``__init__.py``."""
    found = set()
    for level, module, names in _imports(file, root):
        if not level:
            continue
        for name in names:
            target = root.joinpath(*module.split("."), name) if module else root / name
            if target.with_suffix(".py").is_file():
                found.add(target.with_suffix(".py"))
            elif (target / "__init__.py").is_file():
                found.add(target / "__init__.py")
            elif module:
                base = root.joinpath(*module.split("."))
                found.add(base.with_suffix(".py") if base.with_suffix(".py").is_file() else base / "__init__.py")
    return found


def test_imports_are_relative_and_go_down(root: Path) -> None:
    for file in _sources(root):
        room = file.relative_to(root).parts[0]
        for level, module, names in _imports(file, root):
            where = f"{file.relative_to(root)} imports {module or names}"
            head = module.split(".")[0]
            if not level:
                assert head not in ALLOWED, f"{where}: imports of the pack are relative"
                assert head not in HOST or file == root / "nodes" / "host.py", f"{where}: only nodes/host.py may"
            else:
                heads = {head} if module else set(names)
                assert heads <= ALLOWED[room] | {room}, f"{where}: not below {room}"


def test_no_import_cycle_between_files(root: Path) -> None:
    graph = {file: _edges(file, root) for file in _sources(root)}
    done: set[Path] = set()

    def visit(file: Path, trail: list[Path]) -> None:
        assert file not in trail, "cycle: " + " -> ".join(
            str(f.relative_to(root)) for f in [*trail[trail.index(file) :], file]
        )
        if file not in done and file in graph:
            for target in sorted(graph[file]):
                visit(target, [*trail, file])
            done.add(file)

    for file in graph:
        visit(file, [])


def test_folders_hold_few_files(root: Path) -> None:
    for room in ALLOWED:
        for folder in [root / room, *(path for path in (root / room).rglob("*") if path.is_dir())]:
            files = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
            assert len(files) <= MOST_FILES, f"{folder.relative_to(root)}: {len(files)} files"
