"""How good the built-in model is on portraits it has never seen: ``python benchmarks/quality.py --data PORTRAITS``.

Aligned faces are spoilt by fixed recipes (``training/measures.py``) and restored; the figures are means over the
held-out portraits, inside the ellipse of brows, eyes, nose and mouth. The model is held to its bars under the recipe
*moderate*; the others tell how far it carries. Two answers that need no training stand beside
the model: the bicubic enlargement, and an unsharp mask on it.
"""

from __future__ import annotations

import argparse
import importlib
import json
import runpy
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

ROOT = Path(__file__).resolve().parents[1]
# eyes, nose, corners of the mouth in skimage.data.astronaut()
ASTRONAUT = ((203.3, 100.8), (247.0, 103.0), (225.0, 125.0), (206.0, 141.0), (241.0, 142.5))
ANSWERS = ("bicubic", "unsharp mask", "GPEN")
HELD_TO = "moderate"  # the recipe whose bars decide the exit code
BARS = {"gain": 1.0, "energy": (0.6, 1.4), "regression": 0.10}


@dataclass(frozen=True)
class Row:
    """Means over all portraits for one answer under one recipe; PSNR in dB, drift of 255."""

    recipe: str
    answer: str
    psnr: float
    energy: float
    regression: float
    ssim: float
    drift: float


def measure(restorer: Any, original: torch.Tensor, recipes: dict[str, Any]) -> tuple[list[Row], dict[str, list[Any]]]:
    """Spoil, answer, compare.

    Args:
        restorer: what ``load_gpen`` gave.
        original: [N,3,S,S] in [0,1], aligned, S the restorer's size.
        recipes: name -> recipe.

    Returns:
        The rows, and for every recipe its pictures [spoilt, unsharp, restored], each [N,3,S,S].
    """
    measures = importlib.import_module("gpen_pack.training.measures")
    region = measures.face_region(original.shape[-1])
    rows, pictures = [], {}
    for name, recipe in recipes.items():
        spoilt = recipe(original)
        unsharp = measures.unsharp_mask(spoilt)
        restored = restorer.restore(spoilt.permute(0, 2, 3, 1).contiguous()).cpu().permute(0, 3, 1, 2)
        restored = (restored * 255).round() / 255  # what a file would hold
        pictures[name] = [spoilt, unsharp, restored]
        for answer, x in zip(ANSWERS, pictures[name], strict=True):
            energy, regression = measures.detail(x, original, region)
            values = (
                measures.psnr(x, original, region),
                energy,
                regression,
                measures.ssim(x, original, region),
                measures.color_drift(x, original, region),
            )
            rows.append(Row(name, answer, *(float(value.mean()) for value in values)))
    return rows, pictures


def verdict(rows: list[Row]) -> dict[str, bool]:
    """Whether the model meets every bar under every recipe.

    Against the bicubic row of the same recipe, and better in all three figures than the unsharp mask (energy and
    regression: closer to 1).
    """
    met = {}
    for name in dict.fromkeys(row.recipe for row in rows):
        given, rival, ours = (next(r for r in rows if r.recipe == name and r.answer == a) for a in ANSWERS)
        met[name] = (
            ours.psnr > rival.psnr
            and abs(1 - ours.energy) < abs(1 - rival.energy)
            and abs(1 - ours.regression) < abs(1 - rival.regression)
            and ours.psnr - given.psnr >= BARS["gain"]
            and BARS["energy"][0] <= ours.energy <= BARS["energy"][1]
            and ours.regression - given.regression >= BARS["regression"]
        )
    return met


def markdown(rows: list[Row], recipes: dict[str, Any], count: int, model: str, figure: str | None) -> str:
    """The page: what was done, the table, the bars."""
    given = {row.recipe: row for row in rows if row.answer == "bicubic"}
    lines = [
        f"# Quality of {model}",
        "",
        f"Means over {count} held-out portraits, face region, 256 px. Higher PSNR and SSIM are better; energy is the "
        "detail there is (1: as much as in the original), regression the part of the original's detail that is there "
        "(both behind a Gaussian of sigma 1.2 px and a Laplacian, so grain does not count); drift is the distance of "
        "the mean colours, of 255. In brackets: against the bicubic enlargement.",
        "",
        "| recipe | answer | PSNR dB | energy | regression | SSIM | drift |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        base = given[row.recipe]
        lines.append(
            f"| {row.recipe} | {row.answer} | {row.psnr:.2f} ({row.psnr - base.psnr:+.2f}) | {row.energy:.2f} | "
            f"{row.regression:.2f} ({row.regression - base.regression:+.2f}) | {row.ssim:.3f} | {row.drift:.2f} |"
        )
    met = verdict(rows)
    lines += ["", "Recipes:", ""]
    lines += [f"* {name}: {recipe.describe()}" for name, recipe in recipes.items()]
    lines += [
        "",
        f"Bars: PSNR at least {BARS['gain']:g} dB and regression at least {BARS['regression']:g} above the bicubic "
        f"enlargement, energy {BARS['energy'][0]:g} to {BARS['energy'][1]:g}, and better than the unsharp mask in all "
        f"three; the model is held to them under {HELD_TO}. "
        + " ".join(f"{name.capitalize()}: {'met' if ok else 'missed'}." for name, ok in met.items()),
    ]
    if figure:
        lines += ["", f"![spoilt, unsharp mask, restored, original]({figure})", ""]
        lines += [
            "From left to right: spoilt, unsharp mask, restored, original; from top to bottom: "
            f"{', '.join(recipes)}. Eileen Collins, NASA, public domain; never trained on."
        ]
    return "\n".join(lines) + "\n"


def astronaut_crop(size: int) -> torch.Tensor:
    """A face that everybody may show, scikit-image's astronaut, aligned: [1,3,size,size] in [0,1]."""
    import torch
    from skimage.data import astronaut

    dataset = importlib.import_module("gpen_pack.training.dataset")
    photo = torch.from_numpy(astronaut()).permute(2, 0, 1) / 255
    return dataset.sample_squares([photo], dataset.unit_matrices(torch.tensor([ASTRONAUT], dtype=torch.float64)), size)


def draw(path: Path, restorer: Any, recipes: dict[str, Any]) -> None:
    """Write the astronaut spoilt, sharpened, restored and as she was, a row a recipe."""
    import torch

    original = astronaut_crop(restorer.config.in_size)
    pictures = measure(restorer, original, recipes)[1].values()
    columns = [torch.cat(column) for column in zip(*([*row, original] for row in pictures), strict=True)]
    importlib.import_module("gpen_pack.training.sheets").write_sheet(path, columns)


def main(argv: list[str] | None = None) -> int:
    """Measure, print the table, write what was asked for; 1 where a bar is missed under the recipe that counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of portraits with landmarks.json")
    parser.add_argument("--model", default="builtin", help="a model file or name")
    parser.add_argument("--count", type=int, default=64, help="portraits to measure")
    parser.add_argument("--markdown", type=Path, help="write the page here")
    parser.add_argument("--figure", type=Path, help="write a picture here (.jpg or .png)")
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args(argv)
    runpy.run_path(str(ROOT / "load_pack.py"))["load_pack"]()
    measures = importlib.import_module("gpen_pack.training.measures")
    portraits = importlib.import_module("gpen_pack.training.dataset").PortraitFolder(args.data, "held_out")
    restorer = importlib.import_module("gpen_pack.models").load_gpen(args.model)
    count = min(args.count, len(portraits))
    size = restorer.config.in_size
    original = portraits.crops(list(range(count)), size)
    rows, _ = measure(restorer, original, measures.RECIPES)
    if args.figure:
        draw(args.figure, restorer, measures.RECIPES)
    page = markdown(rows, measures.RECIPES, count, restorer.name, args.figure and args.figure.name)
    print(page)
    if args.markdown:
        args.markdown.write_text(page, encoding="utf-8")
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")
    return 0 if verdict(rows)[HELD_TO] else 1


if __name__ == "__main__":
    sys.exit(main())
