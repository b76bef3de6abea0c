"""Start ComfyUI's main.py with the CPU in the place of a GPU: it refuses --lowvram and --novram where there is none."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import torch

torch.cuda.current_device = lambda: "cpu"  # type: ignore[assignment,return-value] # ComfyUI makes a device of it
sys.argv = sys.argv[1:]
sys.path.insert(0, str(Path(sys.argv[0]).parent))
runpy.run_path(sys.argv[0], run_name="__main__")
