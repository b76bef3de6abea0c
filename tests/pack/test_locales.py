"""Translations are complete: every node, input and output has a name and a tooltip in every language."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

LANGUAGES = {  # what every text of the language has and English has not
    "zh": r"[\u4e00-\u9fff]",
    "ja": r"[\u3040-\u30ff]",
    "ru": r"[\u0400-\u04ff]",
    "es": r"[áéíóúñ«]|\b(el|la|los|del?|con|por|una?)\b",
}
INVENTORY = json.loads((Path(__file__).parents[1] / "node_inventory.json").read_text(encoding="utf-8"))


def definitions(root: Path, language: str) -> dict[str, Any]:
    return json.loads((root / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8"))


def test_no_language_is_missing(root: Path) -> None:
    assert {path.name for path in (root / "locales").iterdir()} == set(LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_node_input_and_output_is_translated(root: Path, language: str) -> None:
    found = definitions(root, language)
    assert set(found) == set(INVENTORY)
    for node, schema in INVENTORY.items():
        inputs = [entry[0] for entry in schema["inputs"] + schema["optional"]]
        assert list(found[node]["inputs"]) == inputs, node
        assert list(found[node]["outputs"]) == [str(index) for index in range(len(schema["outputs"]))], node
        texts = [found[node]["display_name"], found[node]["description"]]
        for entry in (*found[node]["inputs"].values(), *found[node]["outputs"].values()):
            assert set(entry) == {"name", "tooltip"} and entry["name"].strip(), node
            texts.append(entry["tooltip"])
        for text in texts[1:]:
            assert re.search(LANGUAGES[language], text, re.IGNORECASE), f"{node}: {text!r} is in another language"


@pytest.mark.parametrize("language", LANGUAGES)
def test_names_of_choices_and_folders_are_left_as_they_are(root: Path, language: str) -> None:
    """What must be typed or chosen keeps its spelling; a translated value would be refused."""
    found = definitions(root, language)
    assert "all" in found["GPENRestoreImage"]["inputs"]["select"]["tooltip"]
    assert "0-2" in found["GPENFaceDetect"]["inputs"]["select"]["tooltip"]
    assert "models/gpen" in found["GPENModelLoader"]["inputs"]["model_name"]["tooltip"]
    for choice in ("auto", "fp32", "bf16", "fp16"):
        assert choice in found["GPENModelLoader"]["inputs"]["precision"]["tooltip"]
    for choice in ("linear", "detail"):
        assert choice in found["GPENFaceRestore"]["inputs"]["blend_mode"]["tooltip"]
    assert "ORIGINAL_IMAGE" in found["GPENRestoreImage"]["inputs"]["original_image"]["tooltip"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_same_input_is_called_the_same_everywhere(root: Path, language: str) -> None:
    names: dict[str, set[str]] = {}
    for node in definitions(root, language).values():
        for key, entry in node["inputs"].items():
            names.setdefault(key, set()).add(entry["name"])
    assert {key: found for key, found in names.items() if len(found) > 1} == {}
