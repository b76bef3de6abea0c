"""Quality of the built-in model on held-out portraits: ``python benchmarks/quality.py --data PORTRAITS``.

Aligned faces are degraded by fixed recipes (``training/measures.py``) and restored; the figures are means over the
held-out portraits, inside the ellipse of brows, eyes, nose and mouth. The bars apply to the recipe *moderate*; the
others show how far the model generalises. There are two baselines: bicubic upscaling, and an unsharp mask on it.
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
HELD_TO = "moderate"  # the recipe that decides the exit code
BARS = {"gain": 1.0, "energy": (0.6, 1.4), "regression": 0.10}


@dataclass(frozen=True)
class Row:
    """Means over all portraits for one answer under one recipe; PSNR in dB, drift in units of 1/255."""

    recipe: str
    answer: str
    psnr: float
    energy: float
    regression: float
    ssim: float
    drift: float


def measure(restorer: Any, original: torch.Tensor, recipes: dict[str, Any]) -> tuple[list[Row], dict[str, list[Any]]]:
    """Degrade, restore and compare.

    Args:
        restorer: from ``load_gpen``.
        original: [N,3,S,S] in [0,1], aligned, S the restorer's size.
        recipes: name -> recipe.

    Returns:
        The rows, and per recipe the pictures [degraded, unsharp, restored], each [N,3,S,S].
    """
    measures = importlib.import_module("gpen_pack.training.measures")
    region = measures.face_region(original.shape[-1])
    rows, pictures = [], {}
    for name, recipe in recipes.items():
        degraded = recipe(original)
        unsharp = measures.unsharp_mask(degraded)
        restored = restorer.restore(degraded.permute(0, 2, 3, 1).contiguous()).cpu().permute(0, 3, 1, 2)
        restored = (restored * 255).round() / 255  # as in an 8-bit file
        pictures[name] = [degraded, unsharp, restored]
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
    """Whether the model meets all bars, by recipe.

    The bars are relative to the bicubic row of the same recipe; besides, the model must beat the unsharp mask in all
    three figures (energy and regression: closer to 1).
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
    """The results as a page: method, table, bars."""
    given = {row.recipe: row for row in rows if row.answer == "bicubic"}
    lines = [
        f"# Quality of {model}",
        "",
        f"Means over {count} held-out portraits, face region, 256 px. Higher PSNR and SSIM are better. Energy is the "
        "amount of detail (1: as much as in the original), regression the part of the original's detail that is "
        "restored (both after a Gaussian of sigma 1.2 px and a Laplacian, so that grain does not count). Drift is the "
        "distance between the mean colours, in units of 1/255. In brackets: difference to bicubic upscaling.",
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
        f"Bars: PSNR at least {BARS['gain']:g} dB and regression at least {BARS['regression']:g} above bicubic "
        f"upscaling, energy {BARS['energy'][0]:g} to {BARS['energy'][1]:g}, and better than the unsharp mask in all "
        f"three; required under {HELD_TO}. "
        + " ".join(f"{name.capitalize()}: {'met' if ok else 'missed'}." for name, ok in met.items()),
    ]
    if figure:
        lines += ["", f"![degraded, unsharp mask, restored, original]({figure})", ""]
        lines += [
            "From left to right: degraded, unsharp mask, restored, original; from top to bottom: "
            f"{', '.join(recipes)}. Eileen Collins, NASA, public domain; never trained on."
        ]
    return "\n".join(lines) + "\n"


def astronaut_crop(size: int) -> torch.Tensor:
    """An aligned face in the public domain, scikit-image's astronaut: [1,3,size,size] in [0,1]."""
    import torch
    from skimage.data import astronaut

    dataset = importlib.import_module("gpen_pack.training.dataset")
    photo = torch.from_numpy(astronaut()).permute(2, 0, 1) / 255
    return dataset.sample_squares([photo], dataset.unit_matrices(torch.tensor([ASTRONAUT], dtype=torch.float64)), size)


def draw(path: Path, restorer: Any, recipes: dict[str, Any]) -> None:
    """Write the astronaut degraded, sharpened, restored and original, one row per recipe."""
    import torch

    original = astronaut_crop(restorer.config.in_size)
    pictures = measure(restorer, original, recipes)[1].values()
    columns = [torch.cat(column) for column in zip(*([*row, original] for row in pictures), strict=True)]
    importlib.import_module("gpen_pack.training.sheets").write_sheet(path, columns)


def main(argv: list[str] | None = None) -> int:
    """Measure, print the table, write the files asked for; 1 if a bar is missed under ``HELD_TO``."""
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
