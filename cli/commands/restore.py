"""``restore``: load once, then one picture after the other; a bad one does not stop the rest."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ...jobs.errors import UsageError
from ...jobs.plan import Job, plan_jobs
from ..arguments import EXAMPLES, NOT_FOR_ALIGNED, HelpFormatter, add_restore_arguments, given

if TYPE_CHECKING:
    from ...jobs.picture_job import Outcome, Tools
    from ...models import Restorer


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command ``restore``."""
    parser = subparsers.add_parser(
        "restore",
        help="restore the faces in pictures",
        usage="%(prog)s INPUT... -o OUTPUT [option...]",
        description="Find the faces in pictures, restore them with GPEN, put them back; nothing else is changed.",
        formatter_class=HelpFormatter,
    )
    parser.epilog = EXAMPLES.replace("{prog}", parser.prog)
    add_restore_arguments(parser)
    parser.set_defaults(parser=parser)


def run(args: argparse.Namespace) -> int:
    """0: all done; 1: some pictures failed.

    Raises:
        UsageError: what was typed cannot be done, or the model or the detector cannot be used.
    """
    if args.aligned and (senseless := given(args.parser, args, NOT_FOR_ALIGNED)):
        raise UsageError(f"--aligned looks for no faces and puts none back, so {', '.join(senseless)} cannot apply.")
    _check_select(args.select)
    jobs = plan_jobs(args)
    say = _Voice(args, len(jobs))
    failed = 0
    with _errors_only() if args.quiet else contextlib.nullcontext():
        tools = load_tools(args, say.note)
        with say:
            for job in jobs:
                outcome = _attempt(job, tools, args, say)
                failed += outcome.error is not None
                say.outcome(outcome, tools.restorer.warnings)
    if failed and len(jobs) > 1:
        say.note(f"{failed} of {len(jobs)} pictures failed.", even_if_quiet=True)
    return 1 if failed else 0


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


def load_tools(args: argparse.Namespace, note: Callable[[str], None]) -> Tools:
    """Model and detector.

    Raises:
        UsageError: one of them cannot be used.
    """
    from ...detectors import DetectorError, load_detector
    from ...jobs.picture_job import Tools

    restorer = load_restorer(args, note)
    try:
        detector = None if args.aligned else load_detector(args.detector, model=args.detector_model)
    except (DetectorError, ImportError) as error:
        raise UsageError(str(error)) from error
    return Tools(restorer, detector, args.template or restorer.template)


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


def _attempt(job: Job, tools: Tools, args: argparse.Namespace, say: _Voice) -> Outcome:
    from ...jobs.picture_job import Outcome, restore_file

    if args.skip_existing and job.output.exists():
        return Outcome(job, skipped=True)
    try:
        return restore_file(job, tools, args, say.progress)
    except (ValueError, OSError, RuntimeError, MemoryError) as error:  # of this picture; a bug of ours is none of these
        sentence = str(error).strip() or type(error).__name__
        if isinstance(error, OSError) and error.strerror:
            sentence = f"{error.filename or job.output}: cannot be read or written: {error.strerror}"
        if str(job.source) not in sentence:
            sentence = f"{job.source}: {sentence}"
        return Outcome(job, error=sentence)


class _Voice:
    """Where words go: JSON lines or words to standard output, the bar, notes and errors to standard error."""

    def __init__(self, args: argparse.Namespace, pictures: int) -> None:
        self.json, self.quiet, self.pictures = args.json, args.quiet, pictures
        self.bar: Any = None

    def __enter__(self) -> _Voice:
        # many pictures: always; one picture: only where somebody watches, faces being quick on most machines
        if not (self.json or self.quiet) and (self.pictures > 1 or sys.stderr.isatty()):
            from tqdm import tqdm

            layout = "{percentage:3.0f}%|{bar}| {elapsed}" if self.pictures == 1 else None
            self.bar = tqdm(total=float(self.pictures), file=sys.stderr, unit="picture", bar_format=layout, leave=False)
            if layout is None:
                self.bar.bar_format = "{percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} pictures [{elapsed}<{remaining}]"
            self.done = 0
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def progress(self, done: int, total: int, preview: object) -> None:
        """``on_progress`` of ``restore_image``: a fraction of the picture that is worked on."""
        if self.bar is not None:
            self.bar.update(max(0.0, self.done + min(done / max(total, 1), 1.0) - self.bar.n))

    def note(self, sentence: str, *, even_if_quiet: bool = False) -> None:
        """To standard error."""
        if not self.quiet or even_if_quiet:
            self._print(sentence, sys.stderr)

    def outcome(self, outcome: Outcome, known: Sequence[str]) -> None:
        """What became of a picture; of its warnings, those of many that were said when the model was loaded are not."""
        if self.bar is not None:
            self.done += 1
            self.bar.update(self.done - self.bar.n)
        if outcome.error is not None:
            self._print(f"error: {outcome.error}", sys.stderr)
        if self.json:
            self._print(json.dumps(outcome.to_dict()), sys.stdout)
        elif outcome.error is None and not self.quiet:
            self._print(_at_length(outcome) if self.pictures == 1 else _in_short(outcome, known), sys.stdout)

    def _print(self, text: str, stream: Any) -> None:
        if self.bar is not None:
            self.bar.clear()
        print(text, file=stream, flush=True)
        if self.bar is not None:
            self.bar.refresh()


def _at_length(outcome: Outcome) -> str:
    """All that is known, for a single picture."""
    report = outcome.report
    lines = report.text().splitlines() if report else []
    lines += [f"warning: {sentence}" for sentence in outcome.warnings if report and sentence not in report.warnings]
    return "\n".join([_from_to(outcome), *(f"  {line}" for line in lines + _remarks(outcome))])


def _in_short(outcome: Outcome, known: Sequence[str]) -> str:
    """A line, and what is out of the ordinary."""
    counts, report = "", outcome.report
    if report is not None and report.faces_found is not None:
        counts = f": {report.faces_restored} of {report.faces_found} faces restored, {outcome.seconds:.1f} s"
    lines = [f"warning: {sentence}" for sentence in outcome.warnings if sentence not in known]
    return "\n".join([_from_to(outcome) + counts, *(f"  {line}" for line in lines + _remarks(outcome))])


def _from_to(outcome: Outcome) -> str:
    return f"{outcome.job.source} -> {outcome.job.output}"


def _remarks(outcome: Outcome) -> list[str]:
    if outcome.skipped:
        return ["the output is there already: left alone"]
    return ["nothing was restored: the file was copied as it is"] if outcome.copied else []
