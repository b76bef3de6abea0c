"""Train the landmark network of the built-in detector: ``python training/landmarks.py --help``.

One run makes ``models/builtin/face-landmarks.safetensors`` from a folder of portraits with ``landmarks.json`` and the
pictures that come with scikit-image. Called again with the same ``--run`` folder, it resumes.
"""

from __future__ import annotations

import importlib
import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    runpy.run_path(str(Path(__file__).absolute().parents[1] / "load_pack.py"))["load_pack"]()
    sys.exit(importlib.import_module("gpen_pack.training.landmarks_fit").main())
