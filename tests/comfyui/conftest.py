"""A real ComfyUI server under a temporary base directory, driven as its page drives it.

COMFYUI_PATH names a checkout; COMFYUI_PYTHON an interpreter with its requirements (this one by default);
COMFYUI_FRONTEND the folder `static` of another comfyui-frontend-package than the interpreter's, if wanted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gpen_pack.tests.comfyui.graphs import TINY
from gpen_pack.tests.comfyui.server import EXTRA_PATHS, Refused, Server, to_prompt
from PIL import Image

PACK = "comfyui-gpen"


def base_directory(base: Path, root: Path) -> Path:
    """What a server needs around it, with the pack under a name of its own and a tiny model."""
    from gpen_pack.gpen_arch import GPEN, GPENConfig
    from safetensors.torch import save_file

    for folder in ("custom_nodes", "models/gpen", "input", "output", "temp", "user"):
        (base / folder).mkdir(parents=True, exist_ok=True)
    (base / "custom_nodes" / PACK).symlink_to(root, target_is_directory=True)
    stand_in = Path(__file__).parent / "reactor_stand_in"
    (base / "custom_nodes" / "reactor-stand-in").symlink_to(stand_in, target_is_directory=True)
    torch.manual_seed(1)
    config = GPENConfig.standard(64, narrow=1 / 32, style_dim=32, mapping_layers=2)
    weights = {key: value.contiguous() for key, value in GPEN(config).state_dict().items()}
    save_file(weights, base / "models/gpen" / TINY)
    for name in ("gpen/kept-elsewhere.safetensors", "reactor/gpen_of_reactor.safetensors", "reactor/codeformer.pth"):
        (base / "elsewhere" / name).parent.mkdir(parents=True, exist_ok=True)
        save_file(weights, base / "elsewhere" / name)
    paths = {"base_path": str(base / "elsewhere"), "gpen": "gpen", "facerestore_models": "reactor"}
    (base / EXTRA_PATHS).write_text(json.dumps({"elsewhere": paths}), encoding="utf-8")  # JSON is YAML
    return base


@pytest.fixture(scope="session")
def comfyui(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[Server]:
    """The server, up and with the pack in it; one for the whole session."""
    if not os.environ.get("COMFYUI_PATH"):
        pytest.skip("COMFYUI_PATH does not name a ComfyUI checkout")
    server = Server(base_directory(tmp_path_factory.mktemp("comfyui"), root))
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def new_server(root: Path) -> Iterator[Callable[..., Server]]:
    """``new_server(base, *flags)``: another server with other flags, up until the test ends."""
    started: list[Server] = []

    def start(base: Path, *flags: str) -> Server:
        started.append(Server(base_directory(base, root), *flags))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture(scope="session")
def info(comfyui: Server) -> dict[str, Any]:
    """/object_info."""
    return comfyui.get("/object_info")


@pytest.fixture(scope="session")
def photo(comfyui: Server) -> str:
    """A real face in the input folder: the astronaut that comes with scikit-image, public domain."""
    data = pytest.importorskip("skimage.data", reason="its astronaut is the test photo")
    return comfyui.put("astronaut.png", np.asarray(data.astronaut()))


@pytest.fixture(scope="session")
def refused() -> type[Refused]:
    """The exception of a graph that did not pass validation."""
    return Refused


@pytest.fixture(scope="session")
def graph_of(comfyui: Server, info: dict[str, Any], photo: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A template as /prompt takes it, with the files it names in the input folder.

    Where this checkout lacks the built-in model's weights, the tiny one stands in for it.
    """
    picture = comfyui.base / "input" / photo
    (comfyui.base / "input" / "example.png").write_bytes(picture.read_bytes())
    write_video(comfyui.base / "input" / "video.mp4", np.asarray(Image.open(picture)))

    def make(workflow: dict[str, Any]) -> dict[str, Any]:
        graph = to_prompt(workflow, info)
        for entry in graph.values():
            if entry["class_type"] == "GPENModelLoader":
                there = info["GPENModelLoader"]["input"]["required"]["model_name"][0]
                if entry["inputs"]["model_name"] not in there:
                    entry["inputs"]["model_name"] = TINY
        return graph

    return make


def write_video(path: Path, picture: np.ndarray) -> None:
    """Three frames of (H,W,3) uint8."""
    av = pytest.importorskip("av", reason="writes the test video; ComfyUI requires it")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.height, stream.width, stream.pix_fmt = *picture.shape[:2], "yuv420p"
        for shift in range(3):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.roll(picture, shift, 1)), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
