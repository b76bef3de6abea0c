"""``doctor``: what is installed, what runs, where models are looked for and what was found there."""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import sys
from dataclasses import asdict, dataclass, field
from typing import Any

from ..errors import UsageError
from ..packages import PACKAGES, missing

GPU_PROVIDERS = ("CUDAExecutionProvider", "ROCMExecutionProvider", "MIGraphXExecutionProvider")
MEND = ("pip uninstall -y onnxruntime onnxruntime-gpu", "pip install onnxruntime-gpu")


@dataclass
class Findings:
    """Everything that ``--json`` prints; ``problems`` keep the pack from working, ``notes`` are worth knowing."""

    python: str = ""
    platform: str = ""
    packages: dict[str, str | None] = field(default_factory=dict)
    devices: list[str] = field(default_factory=list)
    onnxruntime: dict[str, Any] = field(default_factory=dict)
    model_folders: list[dict[str, Any]] = field(default_factory=list)
    models: list[dict[str, Any]] = field(default_factory=list)
    default_model: str | None = None
    detector_folders: list[dict[str, Any]] = field(default_factory=list)
    detector_files: list[dict[str, Any]] = field(default_factory=list)
    detectors: list[dict[str, Any]] = field(default_factory=list)
    default_detector: str | None = None
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def add_parser(subparsers: Any) -> None:
    """The command ``doctor``."""
    parser = subparsers.add_parser(
        "doctor",
        help="say what is installed, which devices run, and which models and detectors are found",
        description="Say what is installed, which devices run, and which models and detectors are found and verified.",
        epilog="exit codes: 0 the pack can work; 1 something that it needs is missing (the last lines say what).",
    )
    parser.add_argument("--json", action="store_true", help="the findings as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print the findings; 1 if there is a problem."""
    findings = examine()
    print(json.dumps(asdict(findings)) if args.json else "\n".join(_lines(findings)))
    return 1 if findings.problems else 0


def examine() -> Findings:
    """Look at everything; what is missing or broken is a finding, not an error."""
    found = Findings(f"{platform.python_version()} ({sys.executable})", platform.platform())
    modules = _packages(found)
    if "torch" in modules:
        found.devices = devices(modules["torch"])
    if "onnxruntime" in modules and "torch" in modules:
        _onnxruntime(found, modules["onnxruntime"], gpu=bool(modules["torch"].cuda.is_available()))
    if not found.problems:  # they import torch and OpenCV
        _models(found)
        _detectors(found)
    return found


def _packages(found: Findings) -> dict[str, Any]:
    modules = {}
    for name, distribution, purpose in PACKAGES:
        try:
            modules[name] = importlib.import_module(name)
            found.packages[distribution] = str(getattr(modules[name], "__version__", "unknown version"))
        except Exception as error:  # a package built for another numpy fails with AttributeError or ValueError, too
            found.packages[distribution] = None
            if purpose:
                found.notes.append(f"{missing(name, error)} (needed for {purpose})")
            else:
                found.problems.append(missing(name, error))
    return modules


def devices(torch: Any) -> list[str]:
    """What the network can run on, the one that ``--device auto`` takes first."""
    listed = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            listed.append(f"cuda:{index} {properties.name}, {properties.total_memory / 2**30:.1f} GiB")
    if torch.backends.mps.is_available():
        listed.append("mps")
    return [*listed, f"cpu, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"]


def _onnxruntime(found: Findings, onnxruntime: Any, gpu: bool) -> None:
    """What ONNX Runtime runs on; a note only where detection runs on the CPU although there is a GPU."""
    from ...models.restorers.providers import installed_packages

    packages = list(installed_packages())
    providers = list(onnxruntime.get_available_providers())
    slower = gpu and not set(providers) & set(GPU_PROVIDERS)
    hidden = {"onnxruntime", "onnxruntime-gpu"} <= {package.split(" ")[0] for package in packages}
    found.onnxruntime = {"packages": packages, "providers": providers, "gpu_hidden": hidden and slower}
    if not slower:
        return
    found.onnxruntime["mend"] = list(MEND)
    reason = "onnxruntime (CPU) hides onnxruntime-gpu" if hidden else "this onnxruntime has no GPU support"
    found.notes.append(
        f"{reason}: the insightface detector and .onnx models run on the CPU, although there is a GPU. With NVIDIA, "
        f"these two lines change it: {MEND[0]}; {MEND[1]}"
    )


def _models(found: Findings) -> None:
    from ...detectors import detector_files
    from ...models import (
        BUILTIN_LABEL,
        BUILTIN_PATH,
        default_folders,
        default_shared_folders,
        find_model_files,
        verify_file,
    )
    from ..choosing import choose_model

    for folder in (*default_folders(), *default_shared_folders()):
        found.model_folders.append({"path": str(folder), "exists": folder.is_dir()})
    detectors = {file.path.resolve() for file in detector_files()}
    files = (file.path for file in find_model_files(None, default_shared_folders()))
    paths = [path for path in files if path.resolve() not in detectors]
    for path in [*paths, *([BUILTIN_PATH] if BUILTIN_PATH.is_file() else [])]:
        verdict = verify_file(path)
        known = BUILTIN_LABEL if path == BUILTIN_PATH else verdict.entry.name if verdict.entry else None
        found.models.append(
            {
                "path": str(path),
                "usable": verdict.usable,
                "what": str(verdict.info) if verdict.info else verdict.entry.note if verdict.entry else None,
                "known_as": known,
                "sha256": verdict.sha256,
                "warning": verdict.problem or verdict.contradiction or None,
            }
        )
    model, _ = choose_model()
    if model != "builtin" or BUILTIN_PATH.is_file():
        found.default_model = model
    else:
        found.problems.append(
            "no model: put a GPEN file into one of the folders above; 'models list' names them, 'models download NAME' "
            "fetches one"
        )


def _detectors(found: Findings) -> None:
    from ...detectors import DetectorError, detector_files, load_detector, search_folders
    from ...models import entry_of_sha256, sha256_of

    found.detector_folders = [{"path": str(folder), "exists": folder.is_dir()} for folder in search_folders()]
    for file in detector_files():
        digest = sha256_of(file.path)
        entry = entry_of_sha256(digest)
        known = entry.name if entry else None
        found.detector_files.append({"path": str(file.path), "kind": file.kind, "sha256": digest, "known_as": known})
    for name in ("insightface", "yunet", "builtin"):
        try:
            detector = load_detector(name)
            found.detectors.append({"name": name, "usable": True, "what": f"{detector.name} ({detector.provider})"})
        except (DetectorError, ImportError, UsageError) as error:
            found.detectors.append({"name": name, "usable": False, "what": str(error)})
    usable = [entry["name"] for entry in found.detectors if entry["usable"]]
    if usable:
        found.default_detector = usable[0]
    else:
        found.problems.append("no face detector can be used: each of them says above what it needs")


def _folders(entries: list[dict[str, Any]]) -> list[str]:
    return [f"  {entry['path']}{'' if entry['exists'] else '  (not there)'}" for entry in entries]


def _known(entry: dict[str, Any]) -> str:
    return f"known as {entry['known_as']}" if entry["known_as"] else "sha256 not among the published ones"


def _lines(found: Findings) -> list[str]:
    lines = [f"python      {found.python}", f"platform    {found.platform}", "", "packages"]
    lines += [f"  {name:<18}{version or 'missing'}" for name, version in found.packages.items()]
    lines += ["", "devices, the first is taken", *(f"  {device}" for device in found.devices)]
    if found.onnxruntime:
        lines += ["", "ONNX Runtime", f"  packages   {', '.join(found.onnxruntime['packages']) or 'unknown'}"]
        lines += [f"  providers  {', '.join(found.onnxruntime['providers'])}"]
        if found.onnxruntime["gpu_hidden"]:
            lines += ["  onnxruntime (CPU) hides onnxruntime-gpu; these two lines change it:"]
            lines += [f"    {line}" for line in MEND]
    lines += ["", "models are looked for in"]
    lines += _folders(found.model_folders)
    for entry in found.models:
        known = _known(entry)
        lines += [f"  {'ok ' if entry['usable'] else 'BAD'} {entry['path']}"]
        if entry["what"]:
            lines += [f"      {entry['what']}; {known}"]
        if entry["warning"]:
            lines += [f"      {entry['warning']}"]
    lines += [f"  taken where none is named: {found.default_model}"] if found.default_model else []
    lines += ["", "detectors are looked for in", *_folders(found.detector_folders)] if found.detectors else []
    for entry in found.detector_files:
        lines += [f"  {entry['path']}", f"      {entry['kind']}; {_known(entry)}"]
    lines += ["  the first that can be used is taken:"] if found.detectors else []
    for entry in found.detectors:
        lines += [f"  {'ok ' if entry['usable'] else 'no '} {entry['name']:<12} {entry['what']}"]
    for title, sentences in (("worth knowing", found.notes), ("missing", found.problems)):
        if sentences:
            lines += ["", title, *(f"  {sentence}" for sentence in sentences)]
    return [*lines, "", "Something is missing: see above." if found.problems else "All that is needed is here."]
