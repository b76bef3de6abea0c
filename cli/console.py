"""Where words go: results to standard output, the bar, notes and errors to standard error."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from ..jobs.image_io.kinds import left_out_text
from .text import printable

if TYPE_CHECKING:
    from ..jobs.row import Row


class Console:
    """Prints the rows of a run, as words or as lines of JSON, around a progress bar.

    Args:
        pictures: how many there are.
        as_json: one line of JSON per row in place of words.
        quiet: print errors only.
    """

    def __init__(self, pictures: int, *, as_json: bool = False, quiet: bool = False) -> None:
        self.json, self.quiet, self.pictures = as_json, quiet, pictures
        self._bar: Any = None
        self._done = 0

    def __enter__(self) -> Console:
        if not (self.json or self.quiet) and sys.stderr.isatty():
            self._bar = self._new_bar()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _new_bar(self) -> Any:
        try:
            from tqdm import tqdm
        except ImportError as error:
            self.note(f"no progress bar: the package tqdm cannot be loaded ({error}): pip install tqdm")
            return None
        layout = "{percentage:3.0f}%|{bar}| {elapsed}"
        if self.pictures > 1:
            layout = "{percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} pictures [{elapsed}<{remaining}]"
        return tqdm(total=float(self.pictures), file=sys.stderr, bar_format=layout, leave=False)

    def progress(self, pictures: float) -> None:
        """How many pictures' worth of work is done."""
        if self._bar is not None:
            self._bar.update(max(0.0, min(pictures, self.pictures) - self._bar.n))

    def note(self, sentence: str, *, even_if_quiet: bool = False) -> None:
        """To standard error."""
        if not self.quiet or even_if_quiet:
            self._print(printable(sentence, keep="\n"), sys.stderr)

    def row(self, row: Row, known: Sequence[str] = ()) -> None:
        """What became of an input.

        Args:
            known: warnings that were printed already; among many pictures they are not repeated.
        """
        if row.output is not None:
            self._done += 1
        if self._bar is not None:
            self._bar.update(max(0.0, self._done - self._bar.n))
        if row.error is not None:
            self._print(f"error: {printable(row.error)}", sys.stderr)
        if self.json:
            self._print(json.dumps(row.to_dict()), sys.stdout)
        elif row.error is None and not self.quiet:
            self._print(_at_length(row) if self.pictures == 1 else _in_short(row, known), sys.stdout)

    def left_out(self, kinds: Counter[str]) -> None:
        """What was not read, by kind: words on standard error, or a last line of JSON."""
        if not kinds:
            return
        if self.json:
            self._print(json.dumps({"left_out": dict(sorted(kinds.items()))}), sys.stdout)
        hint = "; HEIC needs pip install pillow-heif" if kinds.get("HEIC") else ""
        hint += "; AVIF needs a newer Pillow" if kinds.get("AVIF") else ""
        self.note(f"left out: {left_out_text(kinds)}{hint}")

    def _print(self, text: str, stream: TextIO) -> None:
        if self._bar is not None:
            self._bar.clear()
        print(text, file=stream, flush=True)
        if self._bar is not None:
            self._bar.refresh()


def _at_length(row: Row) -> str:
    """Everything that is known, for a single picture."""
    report = row.report
    lines = report.text().splitlines() if report else []
    lines += [f"warning: {sentence}" for sentence in row.warnings if report and sentence not in report.warnings]
    return _joined(_from_to(row), lines + _remarks(row))


def _in_short(row: Row, known: Sequence[str]) -> str:
    """A line, and what is out of the ordinary."""
    counts, report = "", row.report
    if report is not None and report.faces_found is not None:
        counts = f": {report.faces_restored} of {report.faces_found} faces restored, {row.seconds:.1f} s"
    lines = [f"warning: {sentence}" for sentence in row.warnings if sentence not in known]
    return _joined(_from_to(row) + counts, lines + _remarks(row))


def _joined(head: str, lines: Sequence[str]) -> str:
    return "\n".join([printable(head), *(f"  {printable(line)}" for line in lines)])


def _from_to(row: Row) -> str:
    return f"{row.source} -> {row.output}"


def _remarks(row: Row) -> list[str]:
    if row.skipped:
        return ["the output is there already: left alone"]
    return ["nothing was restored: the file was copied as it is"] if row.copied else []
