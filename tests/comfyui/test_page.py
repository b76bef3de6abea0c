"""The templates on ComfyUI's page: loaded, run and looked at in a browser, in the classic and the newer renderer."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import pytest

pytestmark = pytest.mark.comfyui

TEMPLATES = sorted((Path(__file__).parents[2] / "example_workflows").glob("*.json"))
NAMES = ("GPENModelLoader", "GPENFaceDetect", "GPENFaceRestore", "GPENFacePasteBack", "GPENRestoreImage")


class Page:
    """One browser page, and what its console said of us."""

    def __init__(self, page: Any, server: Any) -> None:
        self.page, self.server = page, server
        self.complaints: list[str] = []
        page.on("console", lambda message: self._listen(message.type, message.text + " " + str(message.location)))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("requestfailed", lambda request: self._listen("error", f"failed: {request.url}"))
        page.on("response", lambda answer: answer.status < 400 or self._listen("error", f"refused: {answer.url}"))

    def _listen(self, kind: str, text: str) -> None:
        if kind == "error" and "gpen" in text.lower():
            self.complaints.append(text)

    def open(self, **settings: Any) -> None:
        self.server.post("/settings", {"Comfy.TutorialCompleted": True, **settings})
        self.page.goto(f"http://{self.server.address}")
        self.page.wait_for_function("window.app && window.app.vueAppReady", timeout=180_000)
        self.page.wait_for_timeout(2000)
        # what the page itself stumbled over before it had seen any node of ours
        self.complaints = [text for text in self.complaints if "gpen" in text.lower()]

    def load(self, workflow: dict[str, Any]) -> None:
        self.page.evaluate("workflow => app.loadGraphData(workflow)", workflow)

    def values(self) -> dict[str, Any]:
        """Widget values of our nodes as the page would save them."""
        nodes = self.page.evaluate("() => app.graph.serialize().nodes")
        return {f"{node['id']} {node['type']}": node["widgets_values"] for node in nodes if node["type"] in NAMES}

    def noodles(self) -> list[list[Any]]:
        """From which output of which node to which input of which node, in order."""
        return sorted(link[1:5] for link in self.page.evaluate("() => app.graph.serialize().links"))

    def run(self) -> dict[str, Any]:
        """Queue what is on the page and wait for its end; the history entry."""
        before = set(self.server.get("/history"))
        self.page.evaluate("() => app.queuePrompt(0)")
        for _ in range(600):
            new = set(self.server.get("/history")) - before
            if new:
                return self.server.wait(new.pop())
            self.page.wait_for_timeout(200)
        raise TimeoutError("the page queued nothing: " + "; ".join(self.complaints))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    path = os.environ.get("CHROMIUM_PATH") or shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium here (CHROMIUM_PATH)")
    with playwright.sync_playwright() as running:
        made = running.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield made
        made.close()


@pytest.fixture
def page(browser: Any, comfyui: Any) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1600, "height": 1000})
    yield Page(context.new_page(), comfyui)
    context.close()


def usable(file: Path, info: dict[str, Any]) -> dict[str, Any]:
    """The template, with the tiny model where this checkout lacks the built-in one's weights."""
    workflow = json.loads(file.read_text(encoding="utf-8"))
    there = info["GPENModelLoader"]["input"]["required"]["model_name"][0]
    for node in workflow["nodes"]:
        if node["type"] == "GPENModelLoader" and node["widgets_values"][0] not in there:
            node["widgets_values"][0] = "tiny.safetensors"
    return workflow


@pytest.mark.parametrize("vue", [False, True], ids=["classic", "vue nodes"])
def test_every_template_loads_and_runs_from_the_page(
    page: Page, info: dict[str, Any], graph_of: Any, tmp_path: Path, vue: bool
) -> None:
    page.open(**{"Comfy.VueNodes.Enabled": vue})
    for file in TEMPLATES:
        workflow = usable(file, info)
        page.load(workflow)
        wanted = {f"{n['id']} {n['type']}": n["widgets_values"] for n in workflow["nodes"] if n["type"] in NAMES}
        assert page.values() == wanted, file.stem
        entry = page.run()
        assert entry["status"]["status_str"] == "success", (file.stem, entry["status"]["messages"][-1])
        page.page.wait_for_timeout(1000)
        shot = tmp_path / f"{file.stem}.png"
        page.page.screenshot(path=str(shot))
        keep = os.environ.get("SCREENSHOTS")
        if keep:
            shutil.copy(shot, Path(keep) / f"{'vue' if vue else 'classic'} {shot.name}")
    assert page.complaints == []


def test_a_saved_picture_dragged_back_restores_the_graph(
    page: Page, info: dict[str, Any], graph_of: Any, comfyui: Any
) -> None:
    page.open(**{"Comfy.VueNodes.Enabled": False})
    workflow = usable(TEMPLATES[0], info)
    restore = next(node for node in workflow["nodes"] if node["type"] == "GPENRestoreImage")
    restore["widgets_values"] = [
        "builtin", 0.55, "0", "left-right", 20, "ffhq", 0.35, "detail", "wavelet", 0.2, "box", 1.5,
    ]  # fmt: skip
    page.load(workflow)
    before = page.values()
    outputs = page.run()["outputs"]
    image = next(i for told in outputs.values() for i in told.get("images", []) if i["type"] == "output")
    noodles = page.noodles()
    page.page.evaluate("() => app.graph.clear()")
    page.page.evaluate(
        """async image => {
            const answer = await fetch(`/view?${new URLSearchParams(image)}`)
            await app.handleFile(new File([await answer.blob()], 'dragged.png', {type: 'image/png'}))
        }""",
        image,
    )
    assert page.values() == before
    assert page.noodles() == noodles and len(noodles) == len(workflow["links"])
    assert page.complaints == []


def test_a_missing_model_opens_the_dialogue(page: Page, graph_of: Any) -> None:
    """ComfyUI's own dialogue, with the file's name and link, for a workflow that somebody else made."""
    page.open(**{"Comfy.VueNodes.Enabled": False})
    workflow = json.loads(TEMPLATES[0].read_text(encoding="utf-8"))
    loader = next(node for node in workflow["nodes"] if node["type"] == "GPENModelLoader")
    loader["widgets_values"][0] = "GPEN-BFR-512.pth"
    page.load(workflow)
    details = page.page.get_by_text("View details", exact=True)  # newer pages: a note, and a panel behind it
    dialogue = page.page.locator(".p-dialog")
    dialogue.or_(details).first.wait_for(timeout=30_000)
    if details.count():
        details.first.click()
    button = page.page.get_by_role("button", name="Download GPEN-BFR-512.pth")
    button = button.or_(dialogue.get_by_role("button", name="Download")).first
    button.wait_for(timeout=30_000)
    text = page.page.locator("body").inner_text()
    assert "GPEN-BFR-512.pth" in text and "gpen" in text
    url = loader["properties"]["models"][0]["url"]
    if button.is_disabled():  # pages before .pth was allowed: the link is shown, to be copied
        assert button.get_attribute("title") == url
        return
    page.page.evaluate("HTMLAnchorElement.prototype.click = function () { window.followed = this.href }")
    button.click()
    page.page.wait_for_function("window.followed", timeout=10_000)
    assert page.page.evaluate("window.followed") == url


def test_the_help_of_a_node_opens_with_its_pictures(page: Page, info: dict[str, Any], graph_of: Any) -> None:
    page.open(**{"Comfy.VueNodes.Enabled": False})
    page.load(usable(TEMPLATES[1], info))
    page.page.evaluate("() => app.canvas.selectNode(app.graph.nodes.find(node => node.type === 'GPENFaceDetect'))")
    page.page.get_by_test_id("info-button").click(timeout=30_000)
    page.page.get_by_text("The number on a face is what to type into").wait_for(timeout=30_000)
    page.page.wait_for_function(
        "[...document.images].some(i => i.src.includes('/docs/detect.jpg') && i.complete && i.naturalWidth > 256)"
    )
    # the page looks for a translated help page first, and says so where it has to take the plain one
    assert [text for text in page.complaints if "/docs/GPENFaceDetect/en.md" not in text] == []


def test_the_page_speaks_the_users_language(page: Page, info: dict[str, Any], graph_of: Any) -> None:
    page.open(**{"Comfy.VueNodes.Enabled": False, "Comfy.Locale": "ru"})
    try:
        page.load(usable(TEMPLATES[0], info))
        wanted = json.loads((TEMPLATES[0].parents[1] / "locales/ru/nodeDefs.json").read_text(encoding="utf-8"))
        added = "() => { const n = LiteGraph.createNode('GPENRestoreImage'); app.graph.add(n); return "
        names = page.page.evaluate(added + "[n.title, ...n.widgets.map(w => w.label ?? w.name)] }")
        told = wanted["GPENRestoreImage"]
        assert names[0] == told["display_name"]
        assert {told["inputs"][key]["name"] for key in ("threshold", "fidelity", "feather")} <= set(names)
    finally:
        page.open(**{"Comfy.Locale": "en"})


@pytest.mark.parametrize("name", NAMES)
def test_help_pages_are_served(comfyui: Any, name: str) -> None:
    with urlopen(f"http://{comfyui.address}/extensions/comfyui-gpen/docs/{name}.md", timeout=30) as answer:
        assert answer.status == 200 and answer.read().decode("utf-8").startswith("# ")


def test_templates_and_translations_are_served(comfyui: Any) -> None:
    assert sorted(comfyui.get("/workflow_templates")["comfyui-gpen"]) == [file.stem for file in TEMPLATES]
    for file in TEMPLATES:
        for ending in (".json", ".jpg"):
            path = quote(f"/api/workflow_templates/comfyui-gpen/{file.stem}{ending}")
            with urlopen(f"http://{comfyui.address}{path}", timeout=30) as answer:
                assert answer.read() == file.with_suffix(ending).read_bytes()
    told = comfyui.get("/i18n")
    for language in ("zh", "ja", "ru", "es"):
        assert set(NAMES) <= set(told[language]["nodeDefs"])
