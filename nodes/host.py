"""The interface to ComfyUI: folders, memory, progress, cancel. No other module imports it."""

from __future__ import annotations

# pyright: reportMissingImports=false
# ComfyUI's modules are there only inside ComfyUI
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from PIL import Image

FOLDER_KEY = "gpen"
REACTOR_KEY = "facerestore_models"
_EXTENSIONS = {".pth", ".pt", ".safetensors", ".onnx"}
_PREVIEW_PX = 512


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
    """ReActor's folders, of which only files with gpen in the name are listed; its key need not be registered."""
    import folder_paths

    known = folder_paths.folder_names_and_paths.get(REACTOR_KEY, ((), ()))[0]
    return list(dict.fromkeys([*map(Path, known), Path(folder_paths.models_dir) / REACTOR_KEY]))


def detector_folders() -> list[Path]:
    """Where detectors of this ComfyUI lie: InsightFace's and ReActor's folders, and ours."""
    import folder_paths

    models = Path(folder_paths.models_dir)
    registered = folder_paths.folder_names_and_paths.get("insightface", ((), ()))[0]
    folders = [*map(Path, registered), models / "insightface", models / "facedetection", *model_folders()]
    return list(dict.fromkeys(folders))


def torch_device() -> torch.device:
    """ComfyUI's compute device."""
    import comfy.model_management as mm

    return mm.get_torch_device()


def has_bf16(device: torch.device) -> bool:
    """Whether ComfyUI would run a network in bf16 on this device; False where an old version does not say."""
    import comfy.model_management as mm

    return bool(mm.should_use_bf16(device)) if hasattr(mm, "should_use_bf16") else False


def patcher(module: torch.nn.Module, load_device: torch.device, *, on_cpu: bool) -> Any:
    """The handle by which ComfyUI loads, offloads and counts a network.

    Args:
        on_cpu: the user chose the CPU, so it is never to leave it.
    """
    import comfy.model_management as mm
    import comfy.model_patcher

    offload = torch.device("cpu") if on_cpu else mm.unet_offload_device()
    return comfy.model_patcher.ModelPatcher(module, load_device=load_device, offload_device=offload)


def bring_to_device(handle: Any, working_bytes: int) -> None:
    """Make room for a network and what it needs while it runs, and load it whole."""
    import comfy.model_management as mm

    mm.soft_empty_cache()  # what an attempt that failed left in the allocator
    mm.load_models_gpu([handle], memory_required=working_bytes, force_full_load=True)
    handle.model.to(handle.load_device)  # a partial load (--novram) leaves raw parameters and buffers behind


def make_room(bytes_: int, device: torch.device) -> None:
    """Ask ComfyUI to unload models until that many bytes are free on a device, for what it does not manage itself."""
    import comfy.model_management as mm

    mm.free_memory(bytes_, device)


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
    """A result on the device and in the dtype of ComfyUI's intermediate values."""
    import comfy.model_management as mm

    dtype = mm.intermediate_dtype() if hasattr(mm, "intermediate_dtype") else result.dtype
    return result.to(mm.intermediate_device(), dtype)


def last_preview(picture: Image.Image, total: int) -> None:
    """End the bar of ``total`` steps with this picture as its live preview."""
    import comfy.utils

    comfy.utils.ProgressBar(total).update_absolute(total, total, ("JPEG", picture, max(picture.size)))


def show(pictures: Sequence[Image.Image]) -> dict[str, list[dict[str, str]]]:
    """Save previews into ComfyUI's temporary folder; what a node returns as ``ui``."""
    import folder_paths

    folder = Path(folder_paths.get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)
    images = []
    for picture in pictures:
        name = f"gpen_{uuid.uuid4().hex[:12]}.png"
        picture.save(folder / name, compress_level=1)
        images.append({"filename": name, "subfolder": "", "type": "temp"})
    return {"images": images}
