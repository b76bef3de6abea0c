"""Every node has a help page that names all its inputs and outputs and shows a picture that is there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from PIL import Image

TESTS = Path(__file__).parents[1]
DOCS = TESTS.parent / "web" / "docs"
INVENTORY = json.loads((TESTS / "node_inventory.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("node", INVENTORY)
def test_the_page_names_every_input_and_output(node: str) -> None:
    text = (DOCS / f"{node}.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+?) \|", text, re.M)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    schema = INVENTORY[node]
    wanted = {entry[0] for entry in schema["inputs"] + schema["optional"] + schema["outputs"]}
    assert named == wanted


@pytest.mark.parametrize("node", INVENTORY)
def test_the_page_has_a_picture(node: str) -> None:
    text = (DOCS / f"{node}.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[(.+?)\]\((.+?)\)", text)
    assert pictures, "a page without a picture"
    for words, name in pictures:
        assert words.strip(), "a picture without words for those who cannot see it"
        with Image.open(DOCS / name) as picture:
            assert picture.width >= 256


def test_no_picture_is_left_over_or_large() -> None:
    pages = [page.read_text(encoding="utf-8") for page in DOCS.glob("*.md")]
    used = {name for text in pages for name in re.findall(r"\]\(([^):]+\.(?:jpg|png))\)", text)}
    there = {path.name: path.stat().st_size for path in DOCS.iterdir() if path.suffix in (".jpg", ".png")}
    assert used == set(there)
    assert all(size < 400_000 for size in there.values())


def test_there_is_no_page_for_a_node_that_is_not() -> None:
    assert {path.stem for path in DOCS.glob("*.md")} == set(INVENTORY)
