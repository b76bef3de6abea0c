"""One ComfyUI process, and its HTTP interface as its page uses it."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

_PYCACHE = str(Path(tempfile.gettempdir()) / "comfyui-gpen-pycache")  # nothing is written into the checkout
EXTRA_PATHS = "extra_model_paths.yaml"
_CPU_AS_GPU = Path(__file__).parent / "cpu_as_gpu.py"


class Refused(Exception):
    """The server said no before anything ran; ``errors`` is what its page would show."""

    def __init__(self, errors: dict[str, Any]) -> None:
        super().__init__(json.dumps(errors))
        self.errors = errors


class Server:
    """One ComfyUI process.

    Args:
        base: what ``base_directory`` laid out.
        flags: instead of ``--cpu``; where they are meant for a GPU, the CPU is put in its place.
    """

    def __init__(self, base: Path, *flags: str) -> None:
        checkout = Path(os.environ["COMFYUI_PATH"])
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.base, self.address = base, f"127.0.0.1:{port}"
        self.log = base / "server.log"
        command = [
            os.environ.get("COMFYUI_PYTHON", sys.executable), "-s",
            *([str(_CPU_AS_GPU)] if flags else []), str(checkout / "main.py"), *(flags or ("--cpu",)),
            "--listen", "127.0.0.1", "--port", str(port), "--base-directory", str(base),
            "--database-url", "sqlite:///:memory:", "--disable-api-nodes",
            "--extra-model-paths-config", str(base / EXTRA_PATHS),
        ]  # fmt: skip
        if os.environ.get("COMFYUI_FRONTEND"):
            command += ["--front-end-root", os.environ["COMFYUI_FRONTEND"]]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPYCACHEPREFIX": _PYCACHE}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment, cwd=base)
        self._wait_until_up()

    def _wait_until_up(self) -> None:
        end = time.monotonic() + 180
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            try:
                self.get("/system_stats")
                return
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.5)
        self.close()
        raise RuntimeError(f"ComfyUI did not come up:\n{self.log.read_text(errors='replace')[-4000:]}")

    def close(self) -> None:
        """Stop the process that this object started."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def get(self, path: str, **query: str) -> Any:
        """JSON from the server."""
        suffix = "?" + urllib.parse.urlencode(query) if query else ""
        with urllib.request.urlopen(f"http://{self.address}{path}{suffix}", timeout=60) as answer:
            return json.load(answer)

    def post(self, path: str, body: Any) -> Any:
        """JSON to the server; None where it answers nothing."""
        request = urllib.request.Request(
            f"http://{self.address}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def queue(self, prompt: dict[str, Any], client: str = "") -> str:
        """Queue a graph in API format; its id.

        Raises:
            Refused: validation failed.
        """
        try:
            return self.post("/prompt", {"prompt": prompt, "client_id": client or uuid.uuid4().hex})["prompt_id"]
        except urllib.error.HTTPError as error:
            raise Refused(json.load(error)) from error

    def wait(self, prompt_id: str, seconds: float = 300) -> dict[str, Any]:
        """The history entry of a graph that came to its end, good or bad."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            entry = self.get(f"/history/{prompt_id}").get(prompt_id)
            if entry and entry["status"].get("messages") and (entry["status"]["completed"] or _ended(entry)):
                return entry
            if self.process.poll() is not None:
                raise RuntimeError(f"ComfyUI died:\n{self.log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.1)
        raise TimeoutError(f"not done in {seconds} s:\n{self.log.read_text(errors='replace')[-4000:]}")

    def run(self, prompt: dict[str, Any], seconds: float = 300) -> dict[str, Any]:
        """Queue a graph and give its outputs by node id.

        Raises:
            RuntimeError: a node failed; the text is its error.
        """
        entry = self.wait(self.queue(prompt), seconds)
        if entry["status"]["status_str"] != "success":
            raise RuntimeError(error_of(entry))
        return entry["outputs"]

    def picture(self, image: dict[str, str]) -> np.ndarray:
        """Pixels (H,W,C) uint8 of an output as /view gives them."""
        query = urllib.parse.urlencode(image)
        with urllib.request.urlopen(f"http://{self.address}/view?{query}", timeout=60) as answer:
            return np.asarray(Image.open(io.BytesIO(answer.read())))

    def put(self, name: str, pixels: np.ndarray) -> str:
        """Lay a picture (H,W,C) uint8 into the input folder; its name for Load Image."""
        Image.fromarray(pixels).save(self.base / "input" / name)
        return name

    def text_log(self) -> str:
        """What the server wrote so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")


def _ended(entry: dict[str, Any]) -> bool:
    return any(kind in ("execution_error", "execution_interrupted") for kind, _ in entry["status"]["messages"])


def error_of(entry: dict[str, Any]) -> str:
    """The sentence that the page shows for a failed graph."""
    for kind, told in entry["status"]["messages"]:
        if kind == "execution_error":
            return f"{told['exception_type']}: {told['exception_message']}"
        if kind == "execution_interrupted":
            return "interrupted"
    return "no error"


def to_prompt(workflow: dict[str, Any], info: dict[str, Any]) -> dict[str, Any]:
    """A saved workflow as /prompt takes it: what the page does when it queues one. Widget values go by position."""
    links = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    prompt: dict[str, Any] = {}
    for node in workflow["nodes"]:
        if node["type"] not in info:  # a note lives on the page only
            continue
        schema = info[node["type"]]["input"]
        values = list(node.get("widgets_values") or [])
        inputs: dict[str, Any] = {}
        for name, spec in {**schema.get("required", {}), **schema.get("optional", {})}.items():
            take_widget(inputs, name, spec, values)
        for socket_ in node.get("inputs", []):
            if socket_.get("link") is not None:
                inputs[socket_["name"]] = links[socket_["link"]]
        prompt[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return prompt


def take_widget(inputs: dict[str, Any], name: str, spec: list[Any], values: list[Any]) -> None:
    """Move the next saved value into ``inputs`` if ``name`` is a widget; what the workflow is too old for gets its
    default. A dynamic combo (newer ComfyUI) brings widgets of its own, which are named after it."""
    kind, options = spec[0], spec[1] if len(spec) > 1 else {}
    if isinstance(kind, list) or kind in ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"):
        choices = kind if isinstance(kind, list) else options.get("options", [None])
        inputs[name] = values.pop(0) if values else options.get("default", choices[0])
    elif kind == "COMFY_DYNAMICCOMBO_V3":
        inputs[name] = values.pop(0) if values else options["options"][0]["key"]
        chosen = next(option for option in options["options"] if option["key"] == inputs[name])["inputs"]
        for inner, its_spec in {**chosen.get("required", {}), **chosen.get("optional", {})}.items():
            take_widget(inputs, f"{name}.{inner}", its_spec, values)
