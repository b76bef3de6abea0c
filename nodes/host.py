"""Everything that the pack knows of ComfyUI: folders, memory, progress, cancel. No other module imports it."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..faces import Detector
from ..models import BUILTIN_LABEL, BUILTIN_PATH, Restorer, find_model_files, load_gpen, resolve_model
from ..models import ModelFileError as ModelFileError
from ..restoration import load_detector as load_detector_session

FOLDER_KEY = "gpen"
REACTOR_KEY = "facerestore_models"
_EXTENSIONS = {".pth", ".pt", ".safetensors", ".onnx"}
_DTYPES = {"auto": None, "fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_PREVIEW_PX = 512

# sessions live as long as a node that uses them: ComfyUI drops the nodes of a graph that is gone
_detectors: weakref.WeakValueDictionary[tuple[Any, ...], Detector] = weakref.WeakValueDictionary()


def register_folder() -> None:
    """Add our own key beside what the user's extra_model_paths.yaml already gave; create nothing on the disk."""
    import folder_paths

    folder_paths.add_model_folder_path(FOLDER_KEY, str(Path(folder_paths.models_dir) / FOLDER_KEY))
    paths, extensions = folder_paths.folder_names_and_paths[FOLDER_KEY]
    folder_paths.folder_names_and_paths[FOLDER_KEY] = (paths, set(extensions) | _EXTENSIONS)


def model_folders() -> list[Path]:
    """Folders for GPEN files, in the order they are searched."""
    import folder_paths

    return [Path(path) for path in folder_paths.get_folder_paths(FOLDER_KEY)]


def shared_folders() -> list[Path]:
    """ReActor's folders, in which only names with gpen concern us; its key may be registered or not."""
    import folder_paths

    known = folder_paths.folder_names_and_paths.get(REACTOR_KEY, ((), ()))[0]
    return list(dict.fromkeys([*map(Path, known), Path(folder_paths.models_dir) / REACTOR_KEY]))


def model_names() -> list[str]:
    """What the loader offers: files by name, the built-in model last, so that it is the default only where alone."""
    files = find_model_files(model_folders(), shared_folders())
    names = list(dict.fromkeys(file.name for file in files))
    if BUILTIN_PATH.is_file() or not names:
        names.append(BUILTIN_LABEL)
    return names


def model_path(name: str) -> Path:
    """The file behind an entry of the list.

    Raises:
        ModelNotFoundError: it is not there; the message says where to put which file.
    """
    for file in find_model_files(model_folders(), shared_folders()):
        if file.name == name:
            return file.path
    return resolve_model(name, model_folders())


def why_no_model(name: str) -> str | None:
    """None where the model can be read, else a sentence for the user."""
    try:
        model_path(name)
    except ModelFileError as error:
        return str(error)
    return None


def file_signature(name: str) -> str:
    """Path, size and time of the file behind an entry; the bare name where it is missing."""
    try:
        path = model_path(name)
        facts = path.stat()
    except (ModelFileError, OSError):
        return name
    return f"{path}:{facts.st_size}:{facts.st_mtime_ns}"


@dataclass(eq=False)
class GpenModel:
    """What travels through the GPEN_MODEL socket: the restorer, and the patcher that ComfyUI moves its weights with."""

    restorer: Restorer
    patcher: Any  # comfy.model_patcher.ModelPatcher; None where ONNX Runtime holds the weights
    cpu_fallback: bool

    def bring_to_device(self, working_bytes: int) -> None:
        """Let ComfyUI make room and load the network, whole: a partial load leaves raw parameters behind."""
        if self.patcher is None:
            return
        import comfy.model_management as mm

        mm.load_models_gpu([self.patcher], memory_required=working_bytes, force_full_load=True)
        self.patcher.model.to(self.patcher.load_device)


def load_model(name: str, precision: str, device: str, cpu_fallback: bool) -> GpenModel:
    """Read the file and wrap its network for ComfyUI's memory manager.

    Raises:
        ModelFileError: no such file, or one that is no GPEN.
    """
    import comfy.model_management as mm
    import comfy.model_patcher

    path = model_path(name)
    target = torch.device("cpu") if device == "cpu" else mm.get_torch_device()
    onnx = path.suffix.lower() == ".onnx"
    restorer = load_gpen(path, device=target if onnx else "cpu", dtype=_DTYPES[precision])
    if restorer.module is None:
        return GpenModel(restorer, None, cpu_fallback)
    offload = torch.device("cpu") if device == "cpu" else mm.unet_offload_device()
    patcher = comfy.model_patcher.ModelPatcher(restorer.module, load_device=target, offload_device=offload)
    return GpenModel(restorer, patcher, cpu_fallback)


def detector_folders() -> list[Path]:
    """Where detectors of this ComfyUI lie: InsightFace's and ReActor's folders, and ours."""
    import folder_paths

    models = Path(folder_paths.models_dir)
    registered = folder_paths.folder_names_and_paths.get("insightface", ((), ()))[0]
    return list(dict.fromkeys([*map(Path, registered), models / "insightface", models / "facedetection", *model_folders()]))


def load_detector(name: str, keeper: Any) -> Detector:
    """A detector session, shared between nodes; ``keeper``, the node, holds it while the node lives."""
    key = (name, *map(str, detector_folders()))
    detector = _detectors.get(key)
    if detector is None:
        detector = _detectors[key] = load_detector_session(name, folders=detector_folders())
    keeper.kept_detector = detector
    return detector


def progress() -> Callable[[int, int, torch.Tensor | None], None]:
    """ComfyUI's bar on the node, with the face just restored as its live preview."""
    import comfy.utils
    from PIL import Image

    bar = comfy.utils.ProgressBar(1)

    def on_progress(done: int, total: int, preview: torch.Tensor | None) -> None:
        picture = None
        if preview is not None:
            step = max(1, preview.shape[0] // _PREVIEW_PX)
            pixels = preview[::step, ::step, :3].clamp(0, 1).mul(255).round().to(torch.uint8).cpu().numpy()
            picture = ("JPEG", Image.fromarray(pixels), _PREVIEW_PX)
        bar.update_absolute(done, total, picture)

    return on_progress


def check_cancel() -> None:
    """Raise ComfyUI's own exception where the user pressed Cancel."""
    import comfy.model_management as mm

    mm.throw_exception_if_processing_interrupted()


def give(result: torch.Tensor) -> torch.Tensor:
    """A result where, and in the type in which, this ComfyUI keeps its intermediate values."""
    import comfy.model_management as mm

    dtype = mm.intermediate_dtype() if hasattr(mm, "intermediate_dtype") else result.dtype
    return result.to(mm.intermediate_device(), dtype)
