"""What became of one input: a row of the report, of ``--json``, of a cluster's results."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .job import PictureJob

if TYPE_CHECKING:
    from ..restoration import Report


FAILURES = (ValueError, OSError, RuntimeError, MemoryError)  # of one picture; a bug of ours is none of these


@dataclass
class Row:
    """One input, its outputs, and its own report and warnings.

    Attributes:
        output: where the result is, or would be; None where no job was made of the input.
        size: (height, width) of the result.
        crops: the files of the crops before restoration.
        warnings: sentences: of the picture's file, of its own report, of the file that was written.
        error: why it failed; None where it did not.
        skipped: the output was there already and was left alone.
        copied: nothing was restored, and the file was copied as it is.
        seconds: from reading to writing; pictures that share a batch share some of that time.
    """

    source: Path
    output: Path | None = None
    mask_out: Path | None = None
    compare: Path | None = None
    report: Report | None = None
    size: tuple[int, int] | None = None
    crops: list[Path] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    error: str | None = None
    skipped: bool = False
    copied: bool = False
    seconds: float = 0.0

    @classmethod
    def of(cls, job: PictureJob) -> Row:
        """The row of a job that has not begun."""
        return cls(job.source, job.output, job.mask_out, job.compare)

    def to_dict(self) -> dict[str, Any]:
        """One line of ``--json``; always the same keys."""
        report, done = self.report, self.error is None and not self.skipped
        return {
            "input": str(self.source),
            "output": None if self.error or self.output is None else str(self.output),
            "ok": self.error is None,
            "error": self.error,
            "skipped": self.skipped,
            "copied": self.copied,
            "width": self.size[1] if self.size else None,
            "height": self.size[0] if self.size else None,
            "faces_found": report.faces_found if report else None,
            "faces_restored": report.faces_restored if report else None,
            "mask_out": str(self.mask_out) if self.mask_out and done else None,
            "compare": str(self.compare) if self.compare and done else None,
            "crops": [str(path) for path in self.crops],
            "warnings": self.warnings,
            "seconds": round(self.seconds, 3),
            "report": report.to_dict() if report else None,
        }


def sentence_of(error: BaseException, source: Path) -> str:
    """Why a picture failed, in one sentence that names it."""
    sentence = str(error).strip() or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        sentence = f"{error.filename or source}: cannot be read or written: {error.strerror}"
    return sentence if str(source) in sentence else f"{source}: {sentence}"
