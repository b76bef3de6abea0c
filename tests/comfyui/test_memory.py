"""ComfyUI's own memory manager moves the network: its real code, without a server and without a GPU.

A second device is played by PyTorch's meta device, to which weights can be moved and which counts no bytes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.comfyui

START = """
import importlib.machinery, importlib.util, json, sys
root, checkout, model, *flags = sys.argv[1:]
sys.argv = ["main.py", *flags]
sys.path.insert(0, checkout)
import torch
import comfy.options
comfy.options.enable_args_parsing()
import comfy.model_management as mm
spec = importlib.machinery.ModuleSpec("gpen_pack", None, is_package=True)
spec.submodule_search_locations = [root]
sys.modules["gpen_pack"] = importlib.util.module_from_spec(spec)
from pathlib import Path
from gpen_pack.nodes import gpen_model, host

def places(module):
    return sorted({str(t.device) for t in (*module.parameters(), *module.buffers())})

told = {"vram": mm.vram_state.name, "device": str(mm.get_torch_device())}
"""

MOVING = """
with torch.inference_mode():
    loaded = gpen_model.read_model(Path(model), "auto")
    told["inference tensors"] = any(p.is_inference() for p in loaded.restorer.module.parameters())
    loaded.bring_to_device(1 << 20)
    told["loaded"] = places(loaded.restorer.module)
    told["known to ComfyUI"] = any(entry.model is loaded.patcher for entry in mm.current_loaded_models)
    told["answer"] = list(loaded.restorer.restore(torch.rand(1, 64, 64, 3)).shape)
    mm.unload_all_models()
    told["after unloading"] = [entry.model is loaded.patcher for entry in mm.current_loaded_models]
    told["and again"] = list(loaded.restorer.restore(torch.rand(1, 64, 64, 3)).shape)

    # a second device under each of ComfyUI's ways to load
    meta = torch.device("meta")
    mm.get_free_memory = lambda device=None, torch_free_too=False: (1 << 30, 1 << 30) if torch_free_too else 1 << 30
    for state in (mm.VRAMState.NORMAL_VRAM, mm.VRAMState.LOW_VRAM, mm.VRAMState.NO_VRAM, mm.VRAMState.HIGH_VRAM):
        mm.vram_state, mm.set_vram_to = state, state
        module = gpen_model.read_model(Path(model), "auto", on_cpu=True).restorer.module
        host.bring_to_device(host.patcher(module, meta, on_cpu=False), 1 << 20)
        told[state.name] = places(module)
import gc
del loaded, module
gc.collect(); mm.cleanup_models_gc(); mm.cleanup_models()
told["kept after the graph is gone"] = len(mm.current_loaded_models)
print(json.dumps(told))
"""

OVERFLOWING = """
def known():
    return sorted(str(entry.model.model.dtype) for entry in mm.current_loaded_models)

asked = []
to_load = mm.load_models_gpu
def load(models, memory_required=0, **options):
    asked.append([str(models[0].model.dtype), memory_required > 0])
    return to_load(models, memory_required=memory_required, **options)
mm.load_models_gpu = load
with torch.inference_mode():
    loaded = gpen_model.read_model(Path(model), "fp16")
    loaded.bring_to_device(1 << 20)
    loaded.restorer.batch_size = 1
    told["known"] = known()
    told["finite"] = bool(torch.isfinite(loaded.restorer.restore(torch.rand(2, 64, 64, 3))).all())
    told["warnings"] = list(loaded.restorer.warnings)
    told["known after an overflow"] = known()
    told["asked"] = asked
    mm.unload_all_models()
    told["known after unloading"] = known()
del loaded
mm.cleanup_models()
import gc
gc.collect(); mm.cleanup_models()
told["networks left"] = sum(type(thing).__name__ == "FastGPEN" for thing in gc.get_objects())
print(json.dumps(told))
"""


CROWDED = """
import comfy.model_patcher
from types import SimpleNamespace
from gpen_pack.gpen_arch import GPENConfig
from gpen_pack.restoration.running.fallback import working_bytes

# a card of 4 GB, played by the meta device, on which another model of 3 GB lies
meta = torch.device("meta")
def free(device=None, torch_free_too=False):
    left = int(4e9) - sum(entry.model_loaded_memory() for entry in mm.current_loaded_models)
    return (left, left) if torch_free_too else left
mm.get_free_memory = free
mm.vram_state = mm.set_vram_to = mm.VRAMState.NORMAL_VRAM
mm.EXTRA_RESERVED_VRAM = 0
other = torch.nn.ParameterList([torch.empty(750_000_000, device="meta")])
others = comfy.model_patcher.ModelPatcher(other, load_device=meta, offload_device=meta)
mm.load_models_gpu([others], memory_required=1 << 20)

told["before"] = others.loaded_size()
with torch.inference_mode():
    module = gpen_model.read_model(Path(model), "auto", on_cpu=True).restorer.module
    patcher = host.patcher(module, meta, on_cpu=False)
    for size in (256, 2048):
        needed = working_bytes(SimpleNamespace(config=GPENConfig.standard(size), dtype=torch.float32))
        told[f"asked for {size}"] = needed
        host.bring_to_device(patcher, needed)
        told[f"free for {size}"], told[f"other beside {size}"] = free(), others.loaded_size()
print(json.dumps(told))
"""


def told_by(program: str, root: Path, model: Path, *flags: str) -> dict[str, Any]:
    if not os.environ.get("COMFYUI_PATH"):
        pytest.skip("COMFYUI_PATH does not name a ComfyUI checkout")
    python = os.environ.get("COMFYUI_PYTHON", sys.executable)
    done = subprocess.run(
        [python, "-c", START + program, str(root), os.environ["COMFYUI_PATH"], str(model), *flags],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from gpen_pack.gpen_arch import GPEN, GPENConfig

    path = tmp_path_factory.mktemp("model") / "tiny.pth"
    torch.save(GPEN(GPENConfig.standard(64, narrow=1 / 32, style_dim=32, mapping_layers=2)).state_dict(), path)
    return path


def test_loading_offloading_and_freeing(root: Path, model: Path) -> None:
    told = told_by(MOVING, root, model, "--cpu")
    assert told["vram"] == "DISABLED" and told["device"] == "cpu"
    assert told["inference tensors"] is False, "weights made in inference mode could not be moved by other threads"
    assert told["known to ComfyUI"] and told["after unloading"] == []
    assert told["answer"] == told["and again"] == [1, 64, 64, 3]
    for state in ("NORMAL_VRAM", "LOW_VRAM", "NO_VRAM", "HIGH_VRAM"):
        assert told[state] == ["meta"], f"{state} left tensors behind: {told[state]}"
    assert told["kept after the graph is gone"] == 0


def test_the_wide_copy_of_a_face_that_overflows_is_counted(root: Path, model: Path, tmp_path: Path) -> None:
    import torch

    weights = torch.load(model, weights_only=True)
    weights["generator.input.input"] *= 1e6  # more than float16 holds, not more than float32
    torch.save(weights, tmp_path / "overflows.pth")
    told = told_by(OVERFLOWING, root, tmp_path / "overflows.pth", "--cpu")
    assert told["finite"] and "float16 overflowed" in told["warnings"][0]
    assert told["known"] == ["torch.float16"]
    assert told["known after an overflow"] == ["torch.float16", "torch.float32"], "ComfyUI does not know the copy"
    wide, narrow = ["torch.float32", True], ["torch.float16", False]
    assert told["asked"] == [["torch.float16", True], wide, narrow, wide, narrow], "room asked for each face"
    assert told["known after unloading"] == [] and told["networks left"] == 0


def test_room_for_a_2048_face_is_made_on_a_card_of_4_gb(root: Path, model: Path) -> None:
    """ComfyUI is told what a face needs, so it offloads another model where that is in the way, and only there."""
    told = told_by(CROWDED, root, model, "--cpu")
    assert told["before"] == told["other beside 256"] == 3_000_000_000
    assert told["asked for 256"] < 0.5e9 < told["free for 256"]
    assert 2.5e9 < told["asked for 2048"] < told["free for 2048"] and told["other beside 2048"] == 0
