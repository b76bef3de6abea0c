"""What happened to every face, in words for people and as a dictionary for programs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

Box = tuple[float, float, float, float]
_SIZES_LISTED = 12


@dataclass(frozen=True)
class FaceNote:
    """One face: where it is in which frame, how large, and what became of it.

    Attributes:
        frame: index of the frame in the batch.
        size: side of the aligned square in pixels of the photo; None where it was never aligned.
        box: x0, y0, x1, y1 in pixels of the photo; None where it is unknown.
        score: the detector's confidence, None where it gave none.
        fate: "restored", "detected", or the reason why the face was left as it was.
        number: the index that ``select`` counts a skipped face by; None where a filter took it out before counting.
    """

    frame: int
    size: float | None
    box: Box | None
    score: float | None
    fate: str
    number: int | None = None


@dataclass
class Report:
    """Collects over all stages; every stage fills in what it knows.

    Attributes:
        frames: frames looked at.
        faces_found: faces that the detector gave, the skipped ones included; None where no detector ran.
        faces_restored: faces that the network restored; None where it did not run.
        faces_pasted: faces that were put back; None where nothing was pasted.
        dropped: detections thrown away as degenerate (coincident landmarks, empty boxes, …).
        faces: one note a face, in the order of work.
        skipped: one note a face or frame that was left as it was, with the reason.
        warnings: sentences that the user should read.
        milliseconds: wall time a stage.
        detector, model: what ran, with device, precision and provider; the model's ``advice`` is None where another
            one would not give more.
    """

    frames: int = 0
    faces_found: int | None = None
    faces_restored: int | None = None
    faces_pasted: int | None = None
    dropped: int = 0
    faces: list[FaceNote] = field(default_factory=list)
    skipped: list[FaceNote] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    milliseconds: dict[str, float] = field(default_factory=dict)
    detector: dict[str, Any] | None = None
    model: dict[str, Any] | None = None

    @contextmanager
    def stage(self, name: str, device: torch.device | None = None) -> Iterator[None]:
        """Add the wall time of the block to the stage; waits for a CUDA device so that the figure is true."""
        start = time.perf_counter()
        try:
            yield
        finally:
            if device is not None and device.type == "cuda":
                torch.cuda.synchronize(device)
            self.milliseconds[name] = self.milliseconds.get(name, 0.0) + (time.perf_counter() - start) * 1000

    def warn(self, sentence: str) -> None:
        """Keep a warning once, however often it comes up."""
        if sentence not in self.warnings:
            self.warnings.append(sentence)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and dictionaries, ready for ``json.dumps``."""

        def note(entry: FaceNote) -> dict[str, Any]:
            return {
                "frame": entry.frame,
                "size": None if entry.size is None else round(entry.size, 1),
                "box": None if entry.box is None else [round(value, 1) for value in entry.box],
                "score": None if entry.score is None else round(entry.score, 3),
                "fate": entry.fate,
            }

        return {
            "frames": self.frames,
            "faces_found": self.faces_found,
            "faces_restored": self.faces_restored,
            "faces_pasted": self.faces_pasted,
            "detections_dropped": self.dropped,
            "faces": [note(entry) for entry in self.faces],
            "skipped": [note(entry) for entry in self.skipped],
            "warnings": list(self.warnings),
            "milliseconds": {name: round(value, 1) for name, value in self.milliseconds.items()},
            "detector": self.detector,
            "model": self.model,
        }

    def text(self) -> str:
        """A few lines for people: counts first, then what ran, then what was left out and why."""
        lines = [self._headline()]
        sizes = [entry.size for entry in self.faces if entry.size is not None]
        if sizes:
            few = len(sizes) <= _SIZES_LISTED
            span = ", ".join(f"{s:.0f}" for s in sizes) if few else f"{min(sizes):.0f} to {max(sizes):.0f}"
            model = f"; the model gives {self.model['out_size']} px" if self.model else ""
            lines.append(f"face size in the photo: {span} px{model}")
        if self.detector:
            lines.append(f"detector: {self.detector['name']} on {self.detector['provider']}")
        if self.model:
            told = self.model
            lines.append(f"model: {told['name']} ({told['provider']}, {told['device']}, {told['precision']})")
            if told["advice"]:
                lines.append(f"advice: {told['advice']}")
        for fate, count in Counter(entry.fate for entry in self.skipped).items():
            frames = sorted({entry.frame for entry in self.skipped if entry.fate == fate})
            shown = ", ".join(map(str, frames[:8])) + (", …" if len(frames) > 8 else "")
            where = f" (frame {shown})" if self.frames > 1 else ""
            lines.append(f"left as it was, {count}×: {fate}{where}")
        if self.dropped:
            lines.append(f"degenerate detections dropped: {self.dropped}")
        lines += [f"warning: {sentence}" for sentence in self.warnings]
        if self.milliseconds:
            lines.append("time: " + ", ".join(f"{name} {ms:.0f} ms" for name, ms in self.milliseconds.items()))
        return "\n".join(lines)

    def _headline(self) -> str:
        parts = []
        if self.faces_found is not None:
            parts.append("no face found" if self.faces_found == 0 else f"{_count(self.faces_found, 'face')} found")
        if self.faces_restored is not None:
            parts.append(f"{self.faces_restored} restored")
        if self.faces_pasted is not None:
            parts.append(f"{self.faces_pasted} pasted back")
        return f"{', '.join(parts) or 'nothing done'} in {_count(self.frames, 'frame')}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
