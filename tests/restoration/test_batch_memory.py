"""A long batch takes the memory of its input and output, and a constant: nothing else grows with the frames."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

resource = pytest.importorskip("resource", reason="peak memory is read with it; there is none on Windows")

PROGRAM = """
import importlib.machinery, importlib.util, json, resource, sys
root, masked, frames, height, width = sys.argv[1], sys.argv[2] == "True", *map(int, sys.argv[3:])
import numpy as np, torch
torch.set_num_threads(1)
spec = importlib.machinery.ModuleSpec("gpen_pack", None, is_package=True)
spec.submodule_search_locations = [root]
sys.modules["gpen_pack"] = importlib.util.module_from_spec(spec)
from gpen_pack.detectors import Detections
from gpen_pack.faces import TEMPLATES
from gpen_pack.gpen_arch import GPEN, GPENConfig, build_engine
from gpen_pack.models.restorers.torch_restorer import TorchRestorer
from gpen_pack.restoration import restore_image

class Fixed:
    name = provider = "fixed"
    def detect(self, image, threshold):
        box = np.array([[10.0, 10.0, 138.0, 138.0]])
        return Detections(box, (TEMPLATES["gpen"].numpy() * 128 + 10)[None], np.array([0.9]))

config = GPENConfig.standard(64, narrow=1 / 32, style_dim=32, mapping_layers=2)
restorer = TorchRestorer(build_engine(GPEN(config).state_dict(), config), config)
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
restore_image(torch.rand(1, height, width, 3), restorer, Fixed())   # what is needed once
image = torch.full((frames, height, width, 3), 0.5)
image[:, ::2] = 0.25
mask = torch.ones(frames, height // 2, width // 2) if masked else None   # of another size, so that it is resized
done = restore_image(image, restorer, Fixed(), mask=mask)
assert done.report.faces_restored == frames and done.mask.amax((1, 2)).min() > 0.999
needed = image.nbytes + done.image.nbytes + done.mask.nbytes + (mask.nbytes if masked else 0)
print(json.dumps({"peak": peak(), "needed": needed}))
"""


def measured(root: Path, masked: bool, frames: int, height: int, width: int) -> dict[str, int]:
    command = [sys.executable, "-c", PROGRAM, str(root), *map(str, (masked, frames, height, width))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("masked", [False, True])
def test_memory_grows_with_input_and_output_only(root: Path, masked: bool) -> None:
    few, many = measured(root, masked, 4, 360, 640), measured(root, masked, 44, 360, 640)
    growth, needed = many["peak"] - few["peak"], many["needed"] - few["needed"]
    assert needed == 40 * 360 * 640 * (7 * 4 + masked)
    assert growth < needed * 1.1 + 8e6, f"40 frames took {growth / 1e6:.0f} MB, input and output {needed / 1e6:.0f} MB"
