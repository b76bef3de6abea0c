"""The packages that the pack needs, and the sentence about one that is missing or does not load."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from pathlib import Path

from .errors import UsageError

# module, what pip calls it, what is not possible without it; empty: nothing is
PACKAGES = (
    ("numpy", "numpy", ""),
    ("torch", "torch", ""),
    ("PIL", "Pillow", ""),
    ("cv2", "opencv-python", ""),
    ("safetensors", "safetensors", ""),
    ("tqdm", "tqdm", "progress bars"),
    ("onnxruntime", "onnxruntime", "the insightface detector, and .onnx models that are not understood"),
    ("insightface", "insightface", "the insightface detector"),
    ("skimage", "scikit-image", "the built-in detector"),
    ("tifffile", "tifffile", "TIFF files"),
    ("pillow_heif", "pillow-heif", "HEIC files"),
)
REQUIRED = tuple(module for module, _, purpose in PACKAGES if not purpose)
_DISTRIBUTION = {module: distribution for module, distribution, _ in PACKAGES}


def require(modules: Iterable[str] = REQUIRED) -> None:
    """Import packages, so that one that is missing is named before anything else happens.

    Raises:
        UsageError: one is missing or does not load; says how to install it.
    """
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:  # a package built for another numpy fails with AttributeError or ValueError, too
            raise UsageError(missing(module, error)) from error


def missing(module: str, error: BaseException) -> str:
    """Which package is missing, or why it does not load, and the line that installs it."""
    distribution = _DISTRIBUTION.get(module, module)
    if isinstance(error, ModuleNotFoundError) and error.name == module:
        return f"the package {distribution} is missing: {_install(distribution)}"
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    if module != "numpy" and "numpy" in reason.casefold():
        version = getattr(sys.modules.get("numpy"), "__version__", "?")
        return (
            f"the package {distribution} does not fit numpy {version} ({reason}): "
            f"{_install(f'-U {distribution}')}, or an older numpy"
        )
    return f"the package {distribution} cannot be loaded ({reason}): {_install(f'-U {distribution}')}"


def _install(what: str) -> str:
    """The line for this very Python; a checkout with an environment of its own has a shorter way."""
    root = Path(__file__).resolve().parents[1]
    command = f"{sys.executable or 'python'} -m pip install {what}"
    if (root / "run.py").is_file() and (root / ".venv").is_dir() and not Path(sys.prefix).samefile(root / ".venv"):
        return f"{command}; or use the packages in {root / '.venv'}: python {root / 'run.py'} restore …"
    return command
