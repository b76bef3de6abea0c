"""The templates: who made them, which models they name, and that their values fit the frozen nodes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

TESTS = Path(__file__).parents[1]
WIDGETS = ("COMBO", "FLOAT", "INT", "STRING", "BOOLEAN")
FILES = sorted((TESTS.parent / "example_workflows").glob("*.json"))
INVENTORY = json.loads((TESTS / "node_inventory.json").read_text(encoding="utf-8"))


def read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8"))


def ours(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [node for node in workflow["nodes"] if node["type"] in INVENTORY]


def test_there_are_templates_for_all_ways_to_chain() -> None:
    assert len(FILES) >= 5
    used = {node["type"] for file in FILES for node in ours(read(file))}
    assert used == set(INVENTORY), "every node is shown in some template"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_values_fit_the_widgets_by_position(file: Path) -> None:
    for node in ours(read(file)):
        widgets = [entry for entry in INVENTORY[node["type"]]["inputs"] if entry[1] in WIDGETS]
        values = node["widgets_values"]
        assert len(values) == len(widgets)
        for value, (name, kind, _, choices) in zip(values, widgets, strict=True):
            if choices:
                assert value in choices, f"{node['type']}.{name}"
            elif kind == "BOOLEAN":
                assert isinstance(value, bool)
            elif kind in ("FLOAT", "INT"):
                assert isinstance(value, (int, float)) and not isinstance(value, bool)
            else:
                assert isinstance(value, str)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_node_says_which_pack_it_is_of(root: Path, file: Path) -> None:
    project = (root / "pyproject.toml").read_text(encoding="utf-8")
    name, version = (re.search(rf'^{key} = "(.+)"$', project, re.M)[1] for key in ("name", "version"))  # type: ignore[index]
    for node in ours(read(file)):
        assert (node["properties"]["cnr_id"], node["properties"]["ver"]) == (name, version)
    for node in read(file)["nodes"]:
        assert node["type"] == "MarkdownNote" or node["properties"].get("cnr_id"), node["type"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_loader_carries_links_for_the_missing_model_dialogue(file: Path) -> None:
    from gpen_pack.models import CATALOGUE

    known = {(entry.filename, url) for entry in CATALOGUE for url in entry.urls}
    loaders = [node for node in ours(read(file)) if node["type"] == "GPENModelLoader"]
    assert loaders
    for node in loaders:
        for model in node["properties"]["models"]:
            assert model["directory"] == "gpen"
            assert (model["name"], model["url"]) in known
            assert model["url"].startswith("https://huggingface.co/"), "the dialogue knows few hosts"
            assert not model["name"].endswith(".onnx"), "the dialogue refuses these"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_links_lead_somewhere(file: Path) -> None:
    workflow = read(file)
    nodes = {node["id"]: node for node in workflow["nodes"]}
    for link, source, slot, target, target_slot, kind in workflow["links"]:
        assert link in nodes[source]["outputs"][slot]["links"]
        assert nodes[target]["inputs"][target_slot]["link"] == link
        assert kind in (nodes[source]["outputs"][slot]["type"], "*")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_template_has_a_square_thumbnail(file: Path) -> None:
    path = file.with_suffix(".jpg")
    with Image.open(path) as picture:
        assert picture.width == picture.height >= 256
    assert path.stat().st_size < 100_000
