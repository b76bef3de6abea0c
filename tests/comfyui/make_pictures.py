"""Make the pictures of the help pages and the templates' thumbnails with the pack itself; run by hand.

    python tests/comfyui/make_pictures.py

The photo is the astronaut that comes with scikit-image (NASA, public domain), made worse first.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from skimage import data

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.machinery.ModuleSpec("gpen_pack", None, is_package=True)
spec.submodule_search_locations = [str(ROOT)]
sys.modules["gpen_pack"] = importlib.util.module_from_spec(spec)

from gpen_pack.faces import paste_faces  # noqa: E402 - the alias must stand first
from gpen_pack.models import load_gpen  # noqa: E402
from gpen_pack.nodes.preview import before_after, numbered_faces  # noqa: E402
from gpen_pack.restoration import detect, load_detector, restore_crops, restore_image  # noqa: E402

DOCS, TEMPLATES = ROOT / "web" / "docs", ROOT / "example_workflows"


def tensor(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(picture.convert("RGB"), dtype=np.float32)[None] / 255)


def image(pixels: torch.Tensor) -> Image.Image:
    return Image.fromarray((pixels[..., :3].clamp(0, 1) * 255).round().to(torch.uint8).numpy())


def worse(picture: Image.Image, factor: float = 2.5) -> Image.Image:
    """A small, compressed photo of the same size."""
    small = picture.resize([round(side / factor) for side in picture.size], Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=45)
    return Image.open(buffer).convert("RGB").resize(picture.size, Image.Resampling.BICUBIC)


def row(*pictures: Image.Image, gap: int = 6) -> Image.Image:
    high = max(picture.height for picture in pictures)
    sheet = Image.new("RGB", (sum(p.width for p in pictures) + gap * (len(pictures) - 1), high), (255, 255, 255))
    x = 0
    for picture in pictures:
        sheet.paste(picture, (x, 0))
        x += picture.width + gap
    return sheet


def split(left: Image.Image, right: Image.Image) -> Image.Image:
    """One picture, left half before and right half after, with a line between."""
    both = right.copy()
    middle = both.width // 2
    both.paste(left.crop((0, 0, middle, left.height)), (0, 0))
    both.paste((255, 255, 255), (middle - 1, 0, middle + 1, both.height))
    return both


def square(picture: Image.Image, side: int = 384) -> Image.Image:
    return picture.resize((side, side), Image.Resampling.LANCZOS)


def main() -> None:
    restorer, detector = load_gpen("builtin"), load_detector("builtin")
    photo = worse(Image.fromarray(data.astronaut()))
    head = (110, 0, 350, 240)  # left, top, right, bottom: a square around the face
    pixels = tensor(photo)
    found: Any = detect(pixels, detector, crop_size=256)
    restored = restore_crops(found.crops, restorer, fidelity=0.0).restored
    done = restore_image(pixels, restorer, detector, fidelity=0.0)
    after = image(done.image[0])

    wide = Image.new("RGB", (920, 512), (222, 215, 214))  # the photo's own background
    wide.paste(photo, (0, 0))
    wide.paste(photo.resize((380, 380)), (540, 132))
    people: Any = detect(tensor(wide), detector, select="0")
    DOCS.mkdir(exist_ok=True)
    numbered = numbered_faces(tensor(wide), people.faces, people.report)[0]
    numbered.save(DOCS / "detect.jpg", quality=85)
    pair = row(*(image(batch[0]).resize((320, 320)) for batch in (found.crops, restored)))
    pair.save(DOCS / "builtin-model.jpg", quality=88)
    both: Any = detect(tensor(wide), detector, crop_size=256)
    strip = before_after(both.crops, restore_crops(both.crops, restorer, fidelity=0.0).restored)
    strip.save(DOCS / "before-after.jpg", quality=88)
    mask = Image.fromarray((done.mask[0] * 255).to(torch.uint8).numpy()).convert("RGB")
    row(*(part.crop(head).resize((320, 320)) for part in (photo, mask, after))).save(DOCS / "paste.jpg", quality=88)
    row(photo.resize((400, 400)), after.resize((400, 400))).save(DOCS / "restore-image.jpg", quality=88)

    big = photo.resize((1024, 1024), Image.Resampling.LANCZOS)
    pasted = image(paste_faces(tensor(big), found.faces, restored)[0][0])
    sheet = Image.new("RGB", (384, 384), (255, 255, 255))
    parts = (numbered.crop((0, 0, 512, 512)), image(found.crops[0]), image(restored[0]), after)
    for index, part in enumerate(parts):
        sheet.paste(part.resize((190, 190)), (index % 2 * 194, index // 2 * 194))
    frames = Image.new("RGB", (384, 384), (20, 20, 20))
    for index in range(3):
        shift = 14 * index
        frames.paste(after.crop((head[0] + shift, 60, head[2] + shift, 140)).resize((348, 116)), (16, 10 + 124 * index))
    inset = square(pasted.crop((220, 0, 700, 480)))
    inset.paste(square(photo, 110), (6, 268))
    marked = np.asarray(after).astype(np.float32)
    marked[..., 1] += done.mask[0].numpy() * 60
    only = Image.fromarray(marked.clip(0, 255).astype(np.uint8))
    one, three = split(photo.crop(head), after.crop(head)), split(photo.crop(head), only.crop(head))
    thumbnails = (one, sheet, three, frames, inset)
    for file, picture in zip(sorted(TEMPLATES.glob("*.json")), thumbnails, strict=True):
        square(picture).save(file.with_suffix(".jpg"), quality=85)


if __name__ == "__main__":
    main()
