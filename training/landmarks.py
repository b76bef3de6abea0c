"""Train the landmark network of the built-in detector: ``python training/landmarks.py --help``.

One run makes ``models/builtin/face-landmarks.safetensors`` from a folder of portraits with ``landmarks.json`` and the
pictures that come with scikit-image. Runs with the same ``--run`` folder go on where the last one stopped.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
from pathlib import Path


def _pack() -> None:
    """Make the pack importable as ``gpen_pack``, whatever its folder is called."""
    if "gpen_pack" not in sys.modules:
        spec = importlib.machinery.ModuleSpec("gpen_pack", None, is_package=True)
        spec.submodule_search_locations = [str(Path(__file__).resolve().parents[1])]
        sys.modules["gpen_pack"] = importlib.util.module_from_spec(spec)


if __name__ == "__main__":
    _pack()
    sys.exit(importlib.import_module("gpen_pack.training.landmarks_fit").main())
