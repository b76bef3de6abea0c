"""``restore``: load once, then one picture after the other; a bad one does not stop the rest."""

from __future__ import annotations

import argparse
import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..arguments import EXAMPLES, NOT_FOR_ALIGNED, HelpFormatter, add_restore_arguments, given
from ..console import Console
from ..errors import UsageError
from ..packages import require

if TYPE_CHECKING:
    from ...jobs.options import Files, Networks, RestoreOptions
    from ...models import Restorer


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command ``restore``."""
    parser = subparsers.add_parser(
        "restore",
        help="restore the faces in pictures",
        usage="%(prog)s INPUT... -o OUTPUT [option...]",
        description="Find the faces in pictures, restore them with GPEN, paste them back; nothing else is changed.",
        formatter_class=HelpFormatter,
    )
    parser.epilog = EXAMPLES.replace("{prog}", parser.prog)
    add_restore_arguments(parser)
    parser.set_defaults(parser=parser)


def run(args: argparse.Namespace) -> int:
    """0: all done; 1: some inputs failed.

    Raises:
        UsageError: what was typed cannot be done, a package is missing, or the model or the detector cannot be used.
    """
    if args.aligned and (senseless := given(args.parser, args, NOT_FOR_ALIGNED)):
        raise UsageError(f"--aligned looks for no faces and pastes none, so {', '.join(senseless)} cannot apply.")
    require()
    from ...jobs.errors import JobError
    from ...jobs.picture_job import restore_pictures
    from ...jobs.plan import plan_jobs
    from ...jobs.protection import check_writable

    _check_select(args.select)
    try:
        plan = plan_jobs(files_of(args))
        check_writable(plan.jobs)
    except JobError as error:
        raise UsageError(str(error)) from error
    console = Console(len(plan.jobs), as_json=args.json, quiet=args.quiet)
    failed = len(plan.failed)
    for row in plan.failed:
        console.row(row)
    if not plan.jobs:
        console.left_out(plan.left_out)
        return 1
    with _errors_only() if args.quiet else contextlib.nullcontext():
        networks = load_networks(args, console.note)
        known = tuple(networks.restorer.warnings)
        with console:
            for row in restore_pictures(plan.jobs, networks, options_of(args), console.progress):
                failed += row.error is not None
                console.row(row, known)
        console.left_out(plan.left_out)
    if failed and (total := len(plan.jobs) + len(plan.failed)) > 1:
        console.note(f"{failed} of {total} inputs failed.", even_if_quiet=True)
    return 1 if failed else 0


def files_of(args: argparse.Namespace) -> Files:
    """The files that were named."""
    from ...jobs.options import Files

    in_use = tuple(Path(path) for path in (args.model, args.detector_model) if path)
    names = ("mask", "original_image", "upscaled_image", "mask_out", "compare", "save_crops")
    return Files(tuple(args.inputs), args.output, **{name: getattr(args, name) for name in names}, in_use=in_use)


def options_of(args: argparse.Namespace) -> RestoreOptions:
    """How the pictures are restored."""
    from ...jobs.options import RestoreOptions

    names = ("threshold", "select", "order", "min_face_px", "template", "fidelity", "blend_mode", "color_match",
             "feather", "mask_shape", "scale", "aligned", "color", "quality", "skip_existing")  # fmt: skip
    crop_size = args.crop_size if args.crop_size == "auto" else int(args.crop_size)
    return RestoreOptions(**{name: getattr(args, name) for name in names}, crop_size=crop_size)


@contextlib.contextmanager
def _errors_only() -> Iterator[None]:
    """Our own log without warnings, as ``--quiet`` promises."""
    log = logging.getLogger(__name__.partition(".")[0])
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def load_networks(args: argparse.Namespace, note: Callable[[str], None]) -> Networks:
    """Model and detector.

    Raises:
        UsageError: one of them cannot be used.
    """
    from ...detectors import DetectorError, load_detector
    from ...jobs.options import Networks

    restorer = load_restorer(args, note)
    try:
        detector = (
            None if args.aligned else load_detector(args.detector, model=args.detector_model, device=restorer.device)
        )
    except (DetectorError, ImportError) as error:
        raise UsageError(str(error)) from error
    return Networks(restorer, detector, args.template or restorer.template)


def load_restorer(args: argparse.Namespace, note: Callable[[str], None]) -> Restorer:
    """The model that was named, or the best that is found, which is then said.

    Raises:
        UsageError: there is none, or it cannot be used.
    """
    from ...models import ModelFileError, load_gpen
    from ..choosing import choose_device, choose_dtype, load_best_model

    device = choose_device(args.device)

    def load(model: str) -> Restorer:
        return load_gpen(model, device=device, dtype=choose_dtype(args.precision), onnxruntime=bool(args.onnxruntime))

    try:
        return load_best_model(load, note) if args.model is None else load(args.model)
    except (ModelFileError, ImportError) as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(f"{error.filename or args.model}: cannot be read: {error.strerror or error}.") from error


def _check_select(select: str) -> None:
    from ...faces import parse_select

    try:
        parse_select(select)
    except ValueError as error:
        raise UsageError(f"--select: {error}.") from error
