"""``python training --data PORTRAITS --run FOLDER``: train or fine-tune a GPEN; ``--help`` lists every option.

``python training find-landmarks FOLDER`` prepares a folder of your own pictures for it.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import io
import sys
from pathlib import Path


def _pack() -> None:
    """Make the pack importable as ``gpen_pack``, whatever its folder is called."""
    if "gpen_pack" not in sys.modules:
        spec = importlib.machinery.ModuleSpec("gpen_pack", None, is_package=True)
        spec.submodule_search_locations = [str(Path(__file__).resolve().parents[1])]
        sys.modules["gpen_pack"] = importlib.util.module_from_spec(spec)


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a console that lacks a sign shows another
    _pack()
    if sys.argv[1:2] == ["find-landmarks"]:
        sys.exit(importlib.import_module("gpen_pack.training.find_landmarks").main(sys.argv[2:]))
    sys.exit(importlib.import_module("gpen_pack.training.run").main())
