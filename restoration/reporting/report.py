"""What happened to every face, in words for people and as a dictionary for programs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from ...faces import Faces, Skipped
from .sentences import ADVICE, Warned

Box = tuple[float, float, float, float]
MOST_NOTES = 100_000  # of either list of a run
_SIZES_LISTED = 12


@dataclass(frozen=True)
class FaceNote:
    """One face that was taken.

    Attributes:
        frame: index of the frame in the batch.
        size: side of the aligned square in pixels of the photo.
        box: x0, y0, x1, y1 in pixels of the photo.
        score: the detector's confidence.
        fate: "restored" or "detected".
    """

    frame: int
    size: float
    box: Box
    score: float
    fate: str


@dataclass
class Report:
    """The report of one run, or of one of its frames; every stage fills in what it knows.

    Attributes:
        frames: frames looked at.
        faces_found: faces that the detector gave, the skipped ones included; None where no detector ran.
        faces_restored: faces that the network restored; None where it did not run.
        faces_pasted: faces that were put back; None where nothing was pasted.
        dropped: detections left out as degenerate (coincident landmarks, empty boxes, …).
        faces: one note per face, in the order of work.
        skipped: one record per face or frame that was left as it was.
        notes_left_out: entries of ``faces`` and ``skipped`` beyond ``MOST_NOTES``; the counts include them.
        warned: one record per warning.
        milliseconds: wall time per stage. On CUDA, work that is only queued in one stage counts where the host waits.
        detector, model: what ran, with device, precision and provider; the model's ``advice`` is None where another
            one would not give more.
    """

    frames: int = 0
    faces_found: int | None = None
    faces_restored: int | None = None
    faces_pasted: int | None = None
    dropped: int = 0
    faces: list[FaceNote] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    notes_left_out: int = 0
    warned: list[Warned] = field(default_factory=list)
    milliseconds: dict[str, float] = field(default_factory=dict)
    detector: dict[str, Any] | None = None
    model: dict[str, Any] | None = None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the wall time of the block to the stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add_time(name, (time.perf_counter() - start) * 1000)

    def add_time(self, name: str, milliseconds: float) -> None:
        """Add to a stage's wall time."""
        self.milliseconds[name] = self.milliseconds.get(name, 0.0) + milliseconds

    def warn(self, kind: str, *, frame: int | None = None, **values: Any) -> None:
        """Keep a warning once, however often it comes up."""
        record = Warned(kind, frame, values)
        if record not in self.warned:
            self.warned.append(record)

    def note_faces(self, faces: Faces, fate: str) -> None:
        """One note per face."""
        for index in range(len(faces)):
            x0, y0, x1, y1 = faces.boxes[index].tolist()
            size, score = float(faces.sizes[index]), float(faces.scores[index])
            self.faces.append(FaceNote(int(faces.frame_indices[index]), size, (x0, y0, x1, y1), score, fate))

    def add_frame(self, other: Report, index: int) -> None:
        """Take in the report of the single frame ``index``; advice on the largest face is left out."""
        self.frames += other.frames
        for name in ("faces_found", "faces_restored", "faces_pasted"):
            value = getattr(other, name)
            if value is not None:
                setattr(self, name, (getattr(self, name) or 0) + value)
        self.dropped += other.dropped
        for name in ("faces", "skipped"):  # an endless stream must not fill the memory with notes
            own, more = getattr(self, name), getattr(other, name)
            room = max(0, MOST_NOTES - len(own))
            own += _moved(more[:room], index)
            self.notes_left_out += len(more) - len(more[:room])
        for record in other.warned:
            if record.kind not in ADVICE:
                self.warn(record.kind, **record.values)
        for name, value in other.milliseconds.items():
            self.add_time(name, value)
        self.detector, self.model = other.detector or self.detector, other.model or self.model

    @property
    def warnings(self) -> list[str]:
        """The warnings in words, every sentence once."""
        return list(dict.fromkeys(record.sentence for record in self.warned))

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and dictionaries, ready for ``json.dumps``."""
        return {
            "frames": self.frames,
            "faces_found": self.faces_found,
            "faces_restored": self.faces_restored,
            "faces_pasted": self.faces_pasted,
            "detections_dropped": self.dropped,
            "faces": [{**_place(entry), "fate": entry.fate} for entry in self.faces],
            "skipped": [{**_place(entry), "kind": entry.kind, "fate": entry.reason} for entry in self.skipped],
            "notes_left_out": self.notes_left_out,
            "warnings": self.warnings,
            "milliseconds": {name: round(value, 1) for name, value in self.milliseconds.items()},
            "detector": self.detector,
            "model": self.model,
        }

    def text(self) -> str:
        """A few lines for people: counts first, then what ran, then what was left out and why."""
        lines = [self._headline()]
        sizes = [entry.size for entry in self.faces]
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
        for entries in _grouped(self.skipped):
            frames = sorted({entry.frame for entry in entries})
            where = f" (frame {_few(frames, 8)})" if self.frames > 1 else ""
            lines.append(f"left as it was, {len(entries)}×: {_reason(entries)}{where}")
        if self.dropped:
            lines.append(f"degenerate detections left out: {self.dropped}")
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


def _grouped(skipped: Iterable[Skipped]) -> list[list[Skipped]]:
    """Records that one line tells: those of one reason, and all faces that one ``select`` leaves out."""
    groups: dict[Any, list[Skipped]] = {}
    for entry in skipped:
        key = (entry.kind, *entry.values.values()) if entry.kind == "not_selected" else entry.reason
        groups.setdefault(key, []).append(entry)
    return list(groups.values())


def _reason(entries: list[Skipped]) -> str:
    """The reason of a group."""
    numbers = sorted({entry.number for entry in entries if entry.number is not None})
    if entries[0].kind != "not_selected" or len(numbers) < 2:
        return entries[0].reason
    values = entries[0].values
    return f"faces {_few(numbers, _SIZES_LISTED)} ({values['order']}) are not among select {values['select']}"


def _few(numbers: list[int], most: int) -> str:
    return ", ".join(map(str, numbers[:most])) + (", …" if len(numbers) > most else "")


def _moved(entries: Iterable[Any], index: int) -> list[Any]:
    return [replace(entry, frame=entry.frame + index) for entry in entries]


def _place(entry: FaceNote | Skipped) -> dict[str, Any]:
    return {
        "frame": entry.frame,
        "size": None if entry.size is None else round(entry.size, 1),
        "box": None if entry.box is None else [round(value, 1) for value in entry.box],
        "score": None if entry.score is None else round(entry.score, 3),
    }


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
