"""``python path/to/folder …``: the command line, whatever the folder is called and wherever it is called from."""

from __future__ import annotations

import importlib
import os
import runpy
import sys
from pathlib import Path

ALIAS = "gpen_pack"  # the folder's own name may hold hyphens and dots, which no import statement can spell


def run() -> int:
    """Give the folder an importable name and start its command line."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")  # its warnings are for programmers; read when cv2 is loaded
    root = Path(__file__).absolute().parent  # links are kept: a pack linked into ComfyUI finds the models around it
    # python put the folder first: `models` and `nodes` would become importable by those bare names
    sys.path[:] = [entry for entry in sys.path if not entry or Path(entry).resolve() != root.resolve()]
    runpy.run_path(str(root / "load_pack.py"))["load_pack"](ALIAS)
    importlib.import_module(f"{ALIAS}.cli.threads").wait_passively()  # read when torch is loaded
    return importlib.import_module(f"{ALIAS}.cli").main()


if __name__ == "__main__":
    sys.exit(run())
