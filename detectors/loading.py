"""From a name or a file to a detector that runs. Nothing is looked for, imported or opened before it is asked for."""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..models import OWN_FOLDER, ModelFileError, read_state_dict
from ..models.files.formats import sniff_format
from ..models.onnx.graph import read_onnx_graph
from ..models.restorers.providers import CPU, open_session, why_cpu
from .detector import Detector
from .search import DetectorFile, detector_files, search_folders

__all__ = ["DETECTORS", "DetectorError", "DetectorFile", "detector_files", "load_detector"]

DETECTORS = ("auto", "insightface", "yunet", "builtin")
LANDMARK_WEIGHTS = OWN_FOLDER / "builtin" / "face-landmarks.safetensors"
_NO_CONFIG = np.zeros(0, dtype=np.uint8)
_SCRFD_OUTPUTS = (9, 15)  # scores, boxes and points at 3 or 5 sizes; without points there are 6 or 10
_GET = {
    "insightface": (
        "put an SCRFD model with landmarks there, for instance det_10g.onnx of InsightFace's pack buffalo_l "
        "(github.com/deepinsight/insightface, model zoo; its weights are for non-commercial research only)"
    ),
    "yunet": (
        "put face_detection_yunet_2023mar.onnx or a newer one there "
        "(OpenCV Zoo, github.com/opencv/opencv_zoo, models/face_detection_yunet; MIT licence)"
    ),
}

_logger = logging.getLogger(__name__)


class DetectorError(ValueError):
    """No such detector, its file or package is missing, or the file cannot be used. Says what to do next."""


def load_detector(
    name: str = "auto",
    model: Path | str | None = None,
    folders: Sequence[Path | str] = (),
    device: torch.device | str | None = None,
) -> Detector:
    """A face detector.

    Args:
        name: ``insightface`` (SCRFD through the package insightface), ``yunet`` (through OpenCV), ``builtin``, or
            ``auto``: with a file, what that file is; without, the first of the three, in this order, that can be used.
        model: a detector's ONNX file; its content decides what it is. None: looked for.
        folders: looked through first, with their subfolders; then the pack's own model folders, ComfyUI's
            ``models/insightface`` and ``models/facedetection`` around it, and ``~/.insightface``.
        device: where SCRFD runs, for instance ``cpu`` or ``cuda:1``; None: the accelerator that ONNX Runtime has, if
            any. YuNet and the built-in detector always run on the CPU.

    Returns:
        A detector; its ``provider`` says what really runs. Nothing is downloaded.

    Raises:
        DetectorError: as its name says.
    """
    if name not in DETECTORS:
        raise DetectorError(f"no detector {name!r}: expected one of {', '.join(DETECTORS)}")
    wanted = _device(device)
    if model is not None:
        return _load_file(name, Path(model).expanduser(), wanted)
    if name == "builtin":
        return _load_builtin()
    files = [file for file in detector_files(folders) if name in ("auto", file.kind)]
    failures: list[str] = []
    for file in files:
        try:
            return _LOADERS[file.kind](_checked(file.path, file.kind), wanted)
        except DetectorError as error:
            failures.append(str(error))
            _logger.warning("%s", error)
    if name == "auto":
        if failures:
            _logger.warning("no detector's file could be used: falling back to the built-in one")
        return _load_builtin()
    if failures:
        raise DetectorError(" ".join(failures))
    looked = ", ".join(map(str, search_folders(folders)))
    raise DetectorError(f"no file of the detector {name!r} in {looked} or below: {_GET[name]}, or name a file.")


def _device(device: torch.device | str | None) -> torch.device:
    if device is None:
        return torch.device("cuda")  # in ONNX Runtime: any provider for a GPU, and the CPU where there is none
    try:
        return torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise DetectorError(f"no device {device!r}: expected a torch.device, or a name as cpu, cuda, cuda:1") from error


def _load_file(name: str, path: Path, device: torch.device) -> Detector:
    if name == "builtin":
        raise DetectorError(f"{path}: the built-in detector takes no file; choose the detector auto, or give no file.")
    kind = _kind_of(path)
    if name not in ("auto", kind):
        raise DetectorError(f"{path}: it is a file for the detector {kind}, not {name}; choose {kind} or auto.")
    return _LOADERS[kind](path, device)


def _checked(path: Path, kind: str) -> Path:
    """A file that was found by its name: what it is must be what it is called."""
    is_kind = _kind_of(path)
    if is_kind != kind:
        raise DetectorError(f"{path}: by its name a file for {kind}, by its content one for {is_kind}; rename it.")
    return path


def _kind_of(path: Path) -> str:
    """``insightface`` or ``yunet``, by the outputs of the ONNX graph."""
    if not path.exists():
        raise DetectorError(f"{path}: no such file; {_GET['yunet']}, or {_GET['insightface']}.")
    try:
        if sniff_format(path) != "onnx":
            raise DetectorError(f"{path}: it is not an ONNX file; {_GET['yunet']}, or {_GET['insightface']}.")
        outputs = read_onnx_graph(path).outputs
    except ModelFileError as error:
        remedy = f"; {error.remedy}" if error.remedy else ""
        raise DetectorError(f"{path}: not a detector's file: {error.what}{remedy}.") from error
    except OSError as error:
        raise DetectorError(f"{path}: cannot be read ({error}); check its permissions.") from error
    names = {output.name for output in outputs}
    if {"cls_8", "obj_8", "bbox_8", "kps_8"} <= names:
        return "yunet"
    if {"loc", "conf", "iou"} <= names:
        raise DetectorError(
            f"{path}: it is a YuNet from before 2023, which OpenCV 4.8 and newer cannot run; {_GET['yunet']}."
        )
    if len(outputs) in _SCRFD_OUTPUTS:
        return "insightface"
    if len(outputs) in (6, 10):
        raise DetectorError(f"{path}: an SCRFD without landmarks ({len(outputs)} outputs); {_GET['insightface']}.")
    raise DetectorError(
        f"{path}: neither an SCRFD with landmarks nor a YuNet, its outputs are "
        f"{', '.join(sorted(names)) or 'none'}; {_GET['yunet']}, or {_GET['insightface']}."
    )


def _load_scrfd(path: Path, device: torch.device) -> Detector:
    from .scrfd import ScrfdDetector

    # an older insightface imports albumentations, which asks the network for news of itself
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    try:
        import onnxruntime  # noqa: F401 # so that the sentence below is said of it, too

        with _logged_stdout():
            import insightface
            from insightface.model_zoo.scrfd import SCRFD
    except (ImportError, ValueError) as error:  # ValueError: compiled for another numpy, a common state of 0.7
        raise DetectorError(
            f"{path}: the detector insightface needs the packages insightface and onnxruntime ({error}); "
            "pip install insightface onnxruntime, or onnxruntime-gpu for NVIDIA."
        ) from error
    try:
        session, available = open_session(path, device, varied_shapes=True)
        with _logged_stdout():
            model: Any = SCRFD(session=session)  # with the file it opens one more session per input size
            if not getattr(model, "use_kps", False):
                raise DetectorError(f"{path}: to insightface it is no detector with landmarks; {_GET['insightface']}.")
            running = session.get_providers()[0]
            detector = ScrfdDetector(model, f"onnxruntime {running}")
            # insightface 0.7 runs the packs' own models, but not every other SCRFD: it shows at the first picture
            detector.detect(np.full((640, 640, 3), 127, np.uint8), 0.5)
    except DetectorError:
        raise
    except Exception as error:  # onnxruntime has a class of its own for every kind of damage, below Exception alone
        raise DetectorError(
            f"{path}: insightface {insightface.__version__} cannot run it ({' '.join(str(error).split())[:200]}); "
            "the file may be cut off, or insightface too old for it (pip install -U insightface): "
            f"{_GET['insightface']}."
        ) from error
    if running == CPU and torch.cuda.is_available() and device.type == "cuda":
        _logger.warning("the detector insightface runs on the CPU: %s", why_cpu(device, available))
    return detector


def _load_yunet(path: Path, _device: torch.device) -> Detector:
    from .yunet import YuNetDetector

    try:
        import cv2
    except ImportError as error:
        raise DetectorError(f"{path}: the detector yunet needs OpenCV ({error}); pip install opencv-python.") from error
    if not hasattr(cv2, "FaceDetectorYN"):
        raise DetectorError(
            f"{path}: this OpenCV ({cv2.__version__}) has no FaceDetectorYN; pip install 'opencv-python>=4.8'."
        )
    graph = np.frombuffer(path.read_bytes(), dtype=np.uint8)  # OpenCV opens no path in another script on Windows

    def create() -> Any:
        with _quiet_opencv(cv2):
            return cv2.FaceDetectorYN.create("onnx", graph, _NO_CONFIG, (640, 640), 0.6, 0.3, 5000)

    try:
        return YuNetDetector(create, f"opencv {cv2.__version__} cpu")
    except cv2.error as error:
        raise DetectorError(
            f"{path}: OpenCV {cv2.__version__} cannot load it ({' '.join(str(error).split())[:200]}); "
            f"the file may be cut off, download it again: {_GET['yunet']}."
        ) from error


def _load_builtin() -> Detector:
    try:
        import skimage.data

        from .builtin.detector import BuiltinDetector

        return BuiltinDetector(skimage.data.lbp_frontal_face_cascade_filename(), read_state_dict(LANDMARK_WEIGHTS))
    except (ImportError, OSError, ValueError) as error:
        raise DetectorError(
            f"the built-in detector cannot be used: {error} Install scikit-image (pip install scikit-image) and the "
            f"pack's own {LANDMARK_WEIGHTS.name}, or use another detector: {_GET['yunet']}."
        ) from error


@contextlib.contextmanager
def _logged_stdout() -> Iterator[None]:
    """insightface prints what it loads: into the log, at debug level."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            yield
    finally:
        for line in printed.getvalue().splitlines():
            _logger.debug("insightface: %s", line)


@contextlib.contextmanager
def _quiet_opencv(cv2: Any) -> Iterator[None]:
    """OpenCV 5 warns about a setting of its own at every YuNet, on stderr: only errors, for as long as it takes."""
    logging_api = getattr(getattr(cv2, "utils", None), "logging", None)  # OpenCV 4.8 to 4.12 have none
    if logging_api is None:
        yield
        return
    before = logging_api.getLogLevel()
    logging_api.setLogLevel(logging_api.LOG_LEVEL_ERROR)
    try:
        yield
    finally:
        logging_api.setLogLevel(before)


_LOADERS: dict[str, Callable[[Path, torch.device], Detector]] = {"insightface": _load_scrfd, "yunet": _load_yunet}
