"""``load_pack()``: make this folder importable as ``gpen_pack``, for programs outside of ComfyUI.

    import runpy
    runpy.run_path("path/to/ComfyUI-GPEN/load_pack.py")["load_pack"]()
    from gpen_pack.restoration import restore_image

The folder may have any name, also one with hyphens and dots. ``sys.path`` stays as it is, no module of the pack
becomes a top-level one, and the ComfyUI nodes are not imported.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).absolute().parent  # unresolved: a pack linked into ComfyUI finds the model files around the link


def load_pack(alias: str = "gpen_pack", root: Path = ROOT) -> ModuleType:
    """Return the pack as a package named ``alias``, registered in ``sys.modules``; a no-op where it already is.

    Args:
        alias: the name for import statements: ``from gpen_pack.models import load_gpen``.
        root: the pack's folder; by default the one that holds this file.

    Raises:
        ImportError: another module has this name already.
    """
    loaded = sys.modules.get(alias)
    if loaded is not None:
        folders = [Path(folder).resolve() for folder in getattr(loaded, "__path__", [])]
        if folders != [root.resolve()]:
            raise ImportError(
                f"expected {alias} to be unused or the pack in {root}, got a module from "
                f"{', '.join(map(str, folders)) or 'elsewhere'}: give another alias",
                name=alias,
            )
        return loaded
    # a package without code of its own: __init__.py, which imports the nodes, does not run
    spec = importlib.machinery.ModuleSpec(alias, None, is_package=True)
    spec.submodule_search_locations = [str(root)]
    sys.modules[alias] = package = importlib.util.module_from_spec(spec)
    return package
