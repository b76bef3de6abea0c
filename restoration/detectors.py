"""From a name or a file to a running face detector."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from ..faces import Detector
from ..faces.builtin import BuiltinDetector
from ..faces.scrfd import ScrfdDetector
from ..faces.yunet import YuNetDetector
from ..models import BUILTIN_PATH, ModelFileError, read_state_dict
from ..models.providers import import_onnxruntime, providers_for
from .detector_search import detector_files, searched_folders

DETECTORS = ("auto", "insightface", "yunet", "builtin")
LANDMARKS_PATH = BUILTIN_PATH.parent / "face-landmarks.safetensors"
_GET = {
    "insightface": "put a detection model of InsightFace (det_10g.onnx of the pack buffalo_l; non-commercial research) "
    "into models/insightface/models/buffalo_l",
    "yunet": "put face_detection_yunet_*.onnx from the OpenCV Zoo (MIT) into models/gpen",
}

_log = logging.getLogger(__name__)


class DetectorError(ValueError):
    """No such detector, or its file cannot be used; the message names the file and says what to do."""


def load_detector(
    name: str = "auto", model: Path | str | None = None, folders: Sequence[Path | str] = ()
) -> Detector:
    """Load a face detector.

    Args:
        name: "insightface" (SCRFD), "yunet", "builtin", or "auto": insightface where a model of it lies, else YuNet
            where its file lies, else the built-in one.
        model: a file; under "auto" its content decides which detector it is.
        folders: looked into first; then where InsightFace, ReActor and this pack keep files.

    Raises:
        DetectorError: an unknown name, nothing found, or a file that cannot be used.
        ImportError: the named detector's package is not installed; the message says what to install.
    """
    if name not in DETECTORS:
        raise DetectorError(f"detector: expected one of {', '.join(DETECTORS)}, got {name!r}")
    if model is not None:
        return _from_file(name, Path(model).expanduser())
    if name == "builtin":
        return _builtin()
    files = detector_files(folders)
    for kind in ("insightface", "yunet") if name == "auto" else (name,):
        paths = [path for found, path in files if found == kind]
        if not paths:
            continue
        if name != "auto":
            return _LOADERS[kind](paths[0])
        try:
            return _LOADERS[kind](paths[0])
        except (DetectorError, ImportError) as error:
            _log.warning("%s is passed over: %s", paths[0], error)
    if name == "auto":
        return _builtin()
    looked = ", ".join(str(folder) for folder in searched_folders(folders))
    raise DetectorError(f"no file of the detector {name} was found (looked into {looked}); {_GET[name]}")


def _from_file(name: str, path: Path) -> Detector:
    if name == "builtin":
        raise DetectorError(f"{path}: the built-in detector takes no file; leave the file out, or the name")
    if not path.is_file():
        raise DetectorError(f"{path}: there is no such file; give a detector's .onnx file")
    if name != "auto":
        return _LOADERS[name](path)
    return _LOADERS["yunet" if _has_yunet_outputs(path) else "insightface"](path)


def _has_yunet_outputs(path: Path) -> bool:
    """YuNet names its twelve outputs cls_8 … kps_32; the names stand in the file as they are."""
    content = path.read_bytes()
    return all(name in content for name in (b"cls_8", b"obj_8", b"bbox_8", b"kps_8"))


def _scrfd(path: Path) -> Detector:
    """SCRFD through the insightface package, the detection model alone: nothing is downloaded.

    Raises:
        DetectorError: not a detection model with five landmarks.
        ImportError: insightface or onnxruntime is missing.
    """
    runtime = import_onnxruntime()
    try:
        zoo: Any = importlib.import_module("insightface.model_zoo")
    except ImportError as error:
        raise ImportError(f"the detector insightface needs its package: pip install insightface ({error})") from error
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    providers = [entry if isinstance(entry, str) else entry[0] for entry in providers_for(device, runtime.get_available_providers())]
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # older releases print what they apply
            detector = zoo.get_model(str(path), providers=providers)
    except Exception as error:  # onnxruntime's errors share no base class but this
        raise DetectorError(f"{path}: not a model that ONNX Runtime can read ({_first_line(error)})") from error
    if detector is None or getattr(detector, "taskname", "") != "detection":
        raise DetectorError(f"{path}: not a face detector of InsightFace; {_GET['insightface']}")
    detector.prepare(ctx_id=-1 if detector.session.get_providers()[0].startswith("CPU") else 0, input_size=(640, 640))
    if not getattr(detector, "use_kps", False):
        raise DetectorError(f"{path}: this detector gives no landmarks; take one with them (det_10g, scrfd_*_bnkps)")
    return ScrfdDetector(detector, f"onnxruntime {detector.session.get_providers()[0]}")


def _yunet(path: Path) -> Detector:
    """YuNet in OpenCV.

    Raises:
        DetectorError: OpenCV cannot read the file, or it is something else.
    """
    import cv2

    if not _has_yunet_outputs(path):
        raise DetectorError(f"{path}: not a YuNet model of OpenCV; {_GET['yunet']}")
    try:
        net = cv2.FaceDetectorYN.create(str(path), "", (320, 320))
    except cv2.error as error:
        raise DetectorError(
            f"{path}: OpenCV {cv2.__version__} cannot read it ({_first_line(error)}); fetch the file again"
        ) from error
    return YuNetDetector(net)


def _builtin() -> Detector:
    """The cascade that comes with scikit-image and our landmark network.

    Raises:
        DetectorError: the weights are missing or damaged.
        ImportError: scikit-image is missing.
    """
    try:
        data: Any = importlib.import_module("skimage.data")
    except ImportError as error:
        raise ImportError(f"the built-in detector needs scikit-image: pip install scikit-image ({error})") from error
    try:
        weights = read_state_dict(LANDMARKS_PATH)
        return BuiltinDetector(data.lbp_frontal_face_cascade_filename(), weights)
    except (ModelFileError, FileNotFoundError) as error:
        raise DetectorError(f"the built-in detector cannot be used: {error}; install the pack again") from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


_LOADERS: dict[str, Callable[[Path], Detector]] = {"insightface": _scrfd, "yunet": _yunet}
