"""``demo``: restores the face in a photo that comes with scikit-image, in the way that ``restore`` does.

The photo: Eileen Collins, NASA, public domain (``skimage.data.astronaut``), made small and soft first.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

from ...jobs.atomic import write_atomically
from ..errors import UsageError
from ..packages import missing, require

FOLDER = Path(__file__).resolve().parents[2] / "demo"
SIDE = 256  # pixels of the small photo, half of the original's: the face in it is about 90 px
SOFTNESS = 0.7  # standard deviation of a lens's blur, pixels of the small photo
JPEG_QUALITY = 80
SCALE = "2"


def add_parser(subparsers: Any) -> None:
    """The command ``demo``."""
    parser = subparsers.add_parser(
        "demo",
        help="restore a photo that comes with the packages, and write a before/after sheet",
        description="Restore the face in a photo that comes with scikit-image (Eileen Collins, NASA, public domain), "
        "made small and soft first, and write photo.jpg, restored.png and before-after.png.",
    )
    parser.add_argument("-o", "--output", type=Path, default=FOLDER, metavar="DIR", help="default: %(default)s")
    parser.add_argument("--model", default="builtin", metavar="FILE|NAME|builtin", help="default: %(default)s")


def run(args: argparse.Namespace) -> int:
    """Write ``photo.jpg``, ``restored.png`` and ``before-after.png``; the exit code is that of ``restore``.

    Raises:
        UsageError: a package is missing.
    """
    require()
    from .. import build_parser
    from . import restore as command

    folder: Path = args.output
    photo, sheet = folder / "photo.jpg", folder / "before-after.png"
    write_atomically(photo, small_photo())
    typed = ["restore", str(photo), "-o", str(folder / "restored.png"), "--compare", str(sheet), "--scale", SCALE]
    code = command.run(build_parser("restore").parse_args([*typed, "--model", args.model]))
    if code == 0:
        print(f"\nbefore and after: {sheet}")
    return code


def small_photo() -> bytes:
    """The photo as a small JPEG, as an old camera or a messenger leaves one.

    Raises:
        UsageError: scikit-image is not installed.
    """
    import numpy as np
    from PIL import Image, ImageFilter

    try:
        from skimage import data
    except ImportError as error:
        raise UsageError(f"the demo's photo comes with scikit-image, but {missing('skimage', error)}") from error
    photo = Image.fromarray(np.asarray(data.astronaut())).resize((SIDE, SIDE), Image.Resampling.BOX)
    out = io.BytesIO()
    photo.filter(ImageFilter.GaussianBlur(SOFTNESS)).save(out, "JPEG", quality=JPEG_QUALITY)
    return out.getvalue()
