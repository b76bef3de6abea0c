"""``python training --data PORTRAITS --run FOLDER``: train or fine-tune a GPEN; ``--help`` lists every option.

``python training find-landmarks FOLDER`` prepares a folder of your own pictures for it.
"""

from __future__ import annotations

import importlib
import io
import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a console that lacks a character prints another one
    runpy.run_path(str(Path(__file__).absolute().parents[1] / "load_pack.py"))["load_pack"]()
    if sys.argv[1:2] == ["find-landmarks"]:
        sys.exit(importlib.import_module("gpen_pack.training.find_landmarks").main(sys.argv[2:]))
    sys.exit(importlib.import_module("gpen_pack.training.run").main())
