"""Detector sessions: one per choice, files and device, shared between nodes, freed with the last node that uses it."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import torch

from ..detectors import Detector, DetectorFile, detector_files
from ..detectors import load_detector as load_session
from . import host

SESSION_BYTES = 1 << 29  # what the largest SCRFD, det_10g, takes on a GPU: weights, cuDNN, activations at 640 pixels

# sessions live as long as a node that uses them: ComfyUI drops the nodes of a graph that is gone
_sessions: weakref.WeakValueDictionary[tuple[Any, ...], Detector] = weakref.WeakValueDictionary()

FileSignature = tuple[str, int, int]


def load_detector(name: str, keeper: Any) -> Detector:
    """A detector where ComfyUI computes; ``keeper``, the node, holds it while the node lives.

    Raises:
        DetectorError: no such detector, or its file cannot be read.
    """
    device = host.torch_device()
    files = _candidates(name)
    key = (name, str(device), *(_signature(file.path) for file in files))  # a replaced file makes another session
    detector = _sessions.get(key)
    if detector is None:
        if device.type != "cpu" and any(file.kind == "insightface" for file in files):
            host.make_room(SESSION_BYTES, device)
        with torch.inference_mode(False):  # its weights outlive the run that loads them
            detector = _sessions[key] = load_session(name, folders=host.detector_folders(), device=device)
    keeper.kept_detector = detector
    return detector


def detector_signature(name: str) -> tuple[FileSignature, ...]:
    """Path, bytes and time of change (ns) of all files that a choice may load, the best first; for ``IS_CHANGED``."""
    return tuple(_signature(file.path) for file in _candidates(name))


def _candidates(name: str) -> list[DetectorFile]:
    if name == "builtin":
        return []
    return [file for file in detector_files(host.detector_folders()) if name in ("auto", file.kind)]


def _signature(path: Path) -> FileSignature:
    try:
        facts = path.stat()
    except OSError:  # gone since it was listed: the loader says so, or takes another
        return str(path), 0, 0
    return str(path), facts.st_size, facts.st_mtime_ns
