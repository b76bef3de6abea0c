"""``demo``: restores the face in a photo that comes with scikit-image, through the very path that ``restore`` takes.

The photo: Eileen Collins, NASA, public domain (``skimage.data.astronaut``), made small first.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .atomic import write_atomically
from .errors import UsageError

if TYPE_CHECKING:
    from ..faces.detector import Detections

FOLDER = Path(__file__).resolve().parents[1] / "demo"
SIDE = 256  # pixels of the small photo, half of the original's: the face in it is about 90 px
JPEG_QUALITY = 90
SCALE = "2"


def add_parser(subparsers: Any) -> None:
    """The command ``demo``."""
    parser = subparsers.add_parser(
        "demo",
        help="restore a photo that comes with the packages, and write a before/after sheet",
        description="Restore the face in a photo that comes with scikit-image (Eileen Collins, NASA, public domain), "
        "made small first, and write photo.jpg, restored.png and before-after.png.",
    )
    parser.add_argument("-o", "--output", type=Path, default=FOLDER, metavar="DIR", help="default: %(default)s")
    parser.add_argument("--model", metavar="FILE|NAME|builtin", help="default: the built-in model")


def run(args: argparse.Namespace) -> int:
    """Write ``photo.jpg``, ``restored.png`` and ``before-after.png``; the exit code is that of ``restore``."""
    from ..restoration import DetectorError, load_detector
    from . import build_parser
    from . import restore as command
    from .one_picture import Tools

    folder: Path = args.output
    photo, sheet = folder / "photo.jpg", folder / "before-after.png"
    write_atomically(photo, small_photo())
    typed = ["restore", str(photo), "-o", str(folder / "restored.png"), "--compare", str(sheet), "--scale", SCALE]
    with _model(args.model) as (model, made_up):
        wanted = build_parser("restore").parse_args([*typed, "--model", model])
        try:
            detector = load_detector("auto")
        except DetectorError as error:
            print(f"No face detector can be used here ({error}); the face's known place stands in.", file=sys.stderr)
            detector = KnownFace()
        restorer = command.load_restorer(wanted, lambda sentence: print(sentence, file=sys.stderr))
        code = command.run(wanted, Tools(restorer, detector, restorer.template))
    if code == 0:
        print(f"\nbefore and after: {sheet}" + (" (made-up weights: this is not a restoration)" if made_up else ""))
    return code


@contextlib.contextmanager
def _model(named: str | None) -> Iterator[tuple[str, bool]]:
    """What ``--model`` is to be, and whether it is made up: so that nobody takes noise for the work of a network."""
    from ..models import BUILTIN_NAME, BUILTIN_PATH
    from .made_up import write_made_up_weights

    if named is not None or BUILTIN_PATH.is_file():
        yield named or BUILTIN_NAME, False
        return
    print(
        "The built-in model is not part of this copy, so made-up weights stand in for it: every step runs, but what is "
        "put on the face is NOT a restoration. With a model of yours: demo --model FILE",
        file=sys.stderr,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made-up-weights.safetensors"
        write_made_up_weights(path)
        yield str(path), True


class KnownFace:
    """Knows where the face is in this one photo, for a copy of the pack without any detector's file."""

    name, provider = "none: the demo photo's known face", "nothing"
    # fractions of the photo, read off once with a detector
    BOX = (0.348, 0.123, 0.524, 0.344)
    LANDMARKS = ((0.391, 0.199), (0.483, 0.200), (0.430, 0.243), (0.388, 0.279), (0.468, 0.280))

    def detect(self, image: np.ndarray, threshold: float) -> Detections:
        """The face, in a view of the whole photo: (S,S,3)."""
        from ..faces.detector import Detections

        height, width = image.shape[:2]
        if height != width:
            return Detections.none()
        return Detections.of([np.array(self.BOX) * width], [np.array(self.LANDMARKS) * width], [1.0])


def small_photo() -> bytes:
    """The photo as a small JPEG, as an old camera or a messenger leaves one.

    Raises:
        UsageError: scikit-image is not installed.
    """
    from PIL import Image

    try:
        from skimage import data
    except ImportError as error:
        raise UsageError("the demo's photo comes with scikit-image: pip install scikit-image.") from error
    photo = Image.fromarray(np.asarray(data.astronaut())).resize((SIDE, SIDE), Image.Resampling.BOX)
    out = io.BytesIO()
    photo.save(out, "JPEG", quality=JPEG_QUALITY)
    return out.getvalue()
