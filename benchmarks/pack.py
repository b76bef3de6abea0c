"""``pack("faces")``: modules of the pack for the programs of this folder."""

from __future__ import annotations

import importlib
import runpy
from pathlib import Path
from typing import Any


def pack(module: str) -> Any:
    """Return ``gpen_pack.<module>`` of the checkout around this file, whatever its folder is called."""
    runpy.run_path(str(Path(__file__).absolute().parents[1] / "load_pack.py"))["load_pack"]()
    return importlib.import_module(f"gpen_pack.{module}")
