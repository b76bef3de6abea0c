"""The arguments of ``restore``: the widgets of the Restore Image node under their own names, and what a file needs.

The lists of choices stand here as plain text so that ``--help`` need not load torch; a test holds them equal to the
core's.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable
from pathlib import Path

DETECTORS = ("auto", "insightface", "yunet", "builtin")
ORDERS = ("large-small", "small-large", "left-right", "right-left", "top-bottom", "bottom-top", "confidence")
TEMPLATES = ("gpen", "ffhq")
BLEND_MODES = ("linear", "detail")
COLOR_MATCHES = ("none", "mean_std", "wavelet")
MASK_SHAPES = ("face", "ellipse", "box")
CROP_SIZES = ("auto", "256", "512", "1024", "2048")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")

EXAMPLES = """\
examples:
  {prog} photo.jpg -o restored.png
  {prog} photo.jpg -o restored.png --model GPEN-BFR-2048.pth --compare sheet.png
  {prog} holiday/ -o holiday-restored/ --mask-out masks/ --json
  {prog} "swapped/*.png" -o restored/ --original-image originals/
  {prog} small.jpg -o large.png --scale 4 --fidelity 0.1 --blend-mode detail

A folder is searched with its subfolders and linked folders, and OUTPUT gets the same tree; OUTPUT and what the file
options name are then folders, too (a mask for holiday/a/b.jpg is looked for as masks/a/b.jpg, then as masks/a/b.png and
so on). JPEG, PNG, WebP, TIFF, BMP, AVIF and, with the package pillow-heif, HEIC are read; other files are counted, with
--json on a last line {"left_out": ...}. The format of a result follows OUTPUT's extension: JPEG, PNG, WebP, TIFF; in
a folder BMP, AVIF and HEIC become PNG. An input is never overwritten; another file of OUTPUT's name is replaced and
keeps its permissions, unless it is write-protected. Pictures come out upright, 16 bits stay 16 bits, grey stays grey. A
picture without a face is copied.

exit codes: 0 done; 1 something failed (the rest is done); 2 wrong usage, or an unusable model or detector file.
"""


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the examples as they are, and shows a default only where it is informative."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=34, width=min(shutil.get_terminal_size().columns, 120) - 2)

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        if action.default in (None, False, argparse.SUPPRESS) or "%(default)" in text or not action.option_strings:
            return text
        return f"{text} (default: %(default)s)"


def number(low: float, high: float, kind: type[int] | type[float] = float) -> Callable[[str], float]:
    """A parser of numbers in [low, high]; anything else is wrong usage."""

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high or value == float("inf"):
            name = "a whole number" if kind is int else "a number"
            limits = f"from {low:g} to {high:g}" if high < float("inf") else f"of {low:g} or more"
            raise argparse.ArgumentTypeError(f"expected {name} {limits}, got {text!r}")
        return value

    return parse


def add_restore_arguments(parser: argparse.ArgumentParser) -> None:
    """All arguments of ``restore``, in groups."""
    unlimited = float("inf")
    files = parser.add_argument_group("pictures")
    files.add_argument("inputs", nargs="+", metavar="INPUT", help="picture, folder, or pattern such as 'shots/*.jpg'")
    files.add_argument("-o", "--output", required=True, metavar="OUTPUT", help="file; a folder for several pictures")
    files.add_argument("--quality", type=number(1, 100, int), default=95, metavar="Q",
                       help="of JPEG (4:4:4) and WebP, where 100 is lossless")  # fmt: skip
    files.add_argument("--color", action="store_true", help="write colour for grey inputs (a model that colours)")
    files.add_argument("--skip-existing", action="store_true", help="skip pictures whose output exists")

    model = parser.add_argument_group("model")
    model.add_argument("--model", metavar="FILE|NAME|builtin",
                       help="a model file, its name in a model folder, or builtin (default: the largest GPEN model "
                            "that is found, else builtin)")  # fmt: skip
    model.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps, …")
    model.add_argument("--precision", choices=PRECISIONS, default="auto",
                       help="what the network computes in; auto is fp32")  # fmt: skip
    model.add_argument("--onnxruntime", action="store_true",
                       help="run an .onnx model in ONNX Runtime, also where its weights can be read")  # fmt: skip

    faces = parser.add_argument_group("which faces")
    faces.add_argument("--detector", choices=DETECTORS, default="auto", help="what detects the faces")
    faces.add_argument("--detector-model", type=Path, metavar="FILE", help="the detector's model file")
    faces.add_argument("--threshold", type=number(0, 1), default=0.6, metavar="T", help="minimum confidence of a face")
    faces.add_argument("--select", default="all", metavar="LIST", help="all, or indexes in --order, such as 0 or 0,2")
    faces.add_argument("--order", choices=ORDERS, default="large-small", help="how faces are numbered")
    faces.add_argument("--min-face-px", type=number(0, unlimited), default=16, metavar="PX",
                       help="faces with a smaller aligned square in the photo are skipped")  # fmt: skip
    faces.add_argument("--mask", type=Path, metavar="FILE", help="restore only where this picture is white")
    faces.add_argument("--original-image", type=Path, metavar="FILE",
                       help="the picture before a face swap: only faces that differ from it are restored")  # fmt: skip

    look = parser.add_argument_group("how they are restored")
    look.add_argument("--fidelity", type=number(0, 1), default=0.2, metavar="F",
                      help="0 is GPEN's face, 1 the original's")  # fmt: skip
    look.add_argument("--blend-mode", choices=BLEND_MODES, default="linear",
                      help="linear cross-fades; detail keeps the original's light and colour")  # fmt: skip
    look.add_argument("--color-match", choices=COLOR_MATCHES, default="none", help="take colours from the original")
    look.add_argument("--template", choices=TEMPLATES, help="alignment (default: the model's, mostly gpen)")
    look.add_argument("--crop-size", choices=CROP_SIZES, default="auto", help="side of the crops in pixels")

    paste = parser.add_argument_group("how they are pasted")
    paste.add_argument("--feather", type=number(0, 0.5), default=0.1, metavar="F",
                       help="width of the soft edge, as a fraction of the face, 0 to 0.5")  # fmt: skip
    paste.add_argument("--mask-shape", choices=MASK_SHAPES, default="face", help="shape of what is pasted")
    paste.add_argument("--scale", type=number(1, 4), default=1.0, metavar="S",
                       help="enlarge the picture, 1 to 4 times, so that the detail shows")  # fmt: skip
    paste.add_argument("--upscaled-image", type=Path, metavar="FILE",
                       help="an enlarged version of the picture to paste the faces onto")  # fmt: skip

    further = parser.add_argument_group("further outputs")
    further.add_argument("--mask-out", type=Path, metavar="FILE",
                         help="where faces were pasted: 16-bit PNG, 0 means untouched")  # fmt: skip
    further.add_argument("--save-crops", type=Path, metavar="DIR", help="the crops before restoration, as PNG")
    further.add_argument("--compare", type=Path, metavar="FILE", help="a before/after sheet")

    running = parser.add_argument_group("running")
    running.add_argument("--aligned", action="store_true",
                         help="inputs are aligned crops, outputs restored crops at the model's size")  # fmt: skip
    running.add_argument("--json", action="store_true", help="one line of JSON per file on standard output")
    running.add_argument("--quiet", action="store_true", help="print errors only")


# without meaning for --aligned, where nothing is detected and nothing is pasted
NOT_FOR_ALIGNED = (
    "detector", "detector_model", "threshold", "select", "order", "min_face_px", "mask", "original_image", "template",
    "crop_size", "feather", "mask_shape", "scale", "upscaled_image", "mask_out", "save_crops",
)  # fmt: skip


def given(parser: argparse.ArgumentParser, args: argparse.Namespace, names: tuple[str, ...]) -> list[str]:
    """Those of the options that differ from their default, as they are typed."""
    return [f"--{name.replace('_', '-')}" for name in names if getattr(args, name) != parser.get_default(name)]
