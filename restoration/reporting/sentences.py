"""Warnings as records, and the sentences that a report makes of them at the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

#: kind -> sentence; placeholders are the record's ``values``
SENTENCES = {
    "model": "{text}",
    "no_face": "no face to restore: the crop is one black picture, and pasting returns the image as it is",
    "black_crop": "crop {crop} is black (no face was found): it was not restored",
    "scale_unused": "scale {scale:g} was not used: upscaled_image decides the size of the result ({width}×{height})",
    "template": "the faces were aligned by template {template}, but this model is for {of_model}: "
    "choose template {of_model}, unless that is meant",
    "model_too_large": "{out_size} px cannot show in a {face:.0f} px face: enlarge the picture first "
    "(scale {scale:.1f}, or an enlarged picture as upscaled_image)",
    "model_too_small": "a {face:.0f} px face is larger than this model's {out_size} px: it comes out softer than it "
    "was; use a larger model, or leave such faces out with select",
    "fidelity_one": "fidelity 1 blends back the original face, resampled: nothing of the restoration shows",
    "out_of_memory": "out of memory ({was}): went on {step}",
    "step_failed": "{step} failed ({error}): went on with what is left",
    "widened": "{model}: {dtype} overflowed on a face, which was repeated in float32; "
    "choose precision fp32 or bf16 to avoid the second pass",
}
#: what depends on the largest face of all: a run says it once, not per frame
ADVICE = ("template", "model_too_large", "model_too_small", "fidelity_one")


@dataclass(frozen=True)
class Warned:
    """Something that the user should know: its kind, where, and the numbers.

    Attributes:
        kind: a key of ``SENTENCES``; what a restorer reports under a kind of its own is shown as it is.
        frame: index of the frame; None where it is about the run.
        values: the numbers that the sentence shows.
    """

    kind: str
    frame: int | None = None
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """The record in words."""
        template = SENTENCES.get(self.kind)
        if template is None:
            return ", ".join([self.kind, *(f"{name} {value}" for name, value in self.values.items())])
        return template.format(**self.values)
