"""The quality benchmark: what it asks of a model, and that the built-in model answers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from gpen_pack.benchmarks.quality import ASTRONAUT, HELD_TO, Row, astronaut_crop, markdown, measure, verdict
from gpen_pack.training.degradation import filter_each, gaussian_kernels
from gpen_pack.training.measures import RECIPES


@pytest.fixture(scope="module")
def original() -> torch.Tensor:
    sigma = torch.full((2,), 1.0)
    rng = torch.Generator().manual_seed(0)
    soft = filter_each(torch.rand(2, 3, 64, 64, generator=rng), gaussian_kernels(sigma, sigma, sigma * 0, 4))
    return ((soft - 0.5) * 3 + 0.5).clamp(0, 1)


def test_a_model_that_does_nothing_fails_and_equals_the_enlargement(original: torch.Tensor) -> None:
    rows, pictures = measure(SimpleNamespace(restore=lambda x: x), original, RECIPES)
    assert verdict(rows) == dict.fromkeys(RECIPES, False)
    for name in RECIPES:
        given, _, ours = (row for row in rows if row.recipe == name)
        assert ours.psnr == pytest.approx(given.psnr, abs=1e-3) and ours.energy == pytest.approx(given.energy, abs=1e-3)
        assert [x.shape for x in pictures[name]] == [original.shape] * 3


def test_a_perfect_model_meets_every_bar(original: torch.Tensor) -> None:
    rows, _ = measure(SimpleNamespace(restore=lambda _: original.permute(0, 2, 3, 1)), original, RECIPES)
    assert all(verdict(rows).values())
    perfect = [row for row in rows if row.answer == "GPEN"]
    assert min(row.ssim for row in perfect) > 0.99 and max(row.drift for row in perfect) < 1


def test_each_bar_can_fail_alone() -> None:
    def judged(psnr: float, energy: float, regression: float) -> bool:
        given = [Row("r", "bicubic", 25.0, 0.3, 0.3, 0.8, 0.5), Row("r", "unsharp mask", 25.3, 0.55, 0.42, 0.8, 0.5)]
        return verdict([*given, Row("r", "GPEN", psnr, energy, regression, 0.9, 0.5)])["r"]

    assert judged(26.1, 0.9, 0.45)
    assert not judged(25.9, 0.9, 0.45) and not judged(26.1, 0.5, 0.45) and not judged(26.1, 1.5, 0.45)
    assert not judged(26.1, 0.9, 0.39)


@pytest.mark.parametrize("better_at", ["psnr", "energy", "regression"])
def test_an_unsharp_mask_must_be_beaten_in_everything(better_at: str) -> None:
    figures = {"psnr": 26.1, "energy": 0.8, "regression": 0.45}
    rival = {"psnr": 26.0, "energy": 0.7, "regression": 0.44} | {better_at: figures[better_at] * 1.02}
    rows = [Row("r", "bicubic", 25.0, 0.3, 0.3, 0.8, 0.5)]
    rows += [Row("r", name, **one, ssim=0.8, drift=0.5) for name, one in (("unsharp mask", rival), ("GPEN", figures))]
    assert not verdict(rows)["r"]
    assert verdict([rows[0], Row("r", "unsharp mask", 25.5, 0.6, 0.4, 0.8, 0.5), rows[2]])["r"]


def test_the_page_states_recipes_and_verdict(original: torch.Tensor) -> None:
    rows, _ = measure(SimpleNamespace(restore=lambda x: x), original, RECIPES)
    page = markdown(rows, RECIPES, 2, "some model", "figure.jpg")
    assert all(recipe.describe() in page for recipe in RECIPES.values())
    assert page.count("| GPEN |") == 3 and "Mild: missed." in page and "(figure.jpg)" in page


@pytest.mark.slow
def test_the_built_in_model_meets_its_bars_on_faces_it_has_never_seen(shared: Path) -> None:
    """And they are those of the card: its figures cannot stay behind when the weights change."""
    from gpen_pack.models import BUILTIN_PATH, load_gpen
    from gpen_pack.training.dataset import PortraitFolder

    portraits = PortraitFolder(shared / "portraits", "held_out")
    originals = portraits.crops(list(range(len(portraits))), 256)
    rows, _ = measure(load_gpen("builtin"), originals, {HELD_TO: RECIPES[HELD_TO]})
    assert verdict(rows) == {HELD_TO: True}
    ours = rows[-1]
    card = BUILTIN_PATH.with_suffix(".md").read_text(encoding="utf-8")
    (told,) = [line for line in card.splitlines() if line.startswith(f"| {HELD_TO} | GPEN |")]
    psnr, energy, regression = (float(cell.split()[0]) for cell in told.split("|")[3:6])
    assert (ours.psnr, ours.energy, ours.regression) == pytest.approx((psnr, energy, regression), abs=0.011)


def test_the_built_in_model_is_small_and_improves_a_face() -> None:
    """On a photograph that is not from the training set; the full figures stand beside the weights."""
    from gpen_pack.faces.geometry.templates import TEMPLATES
    from gpen_pack.models import BUILTIN_PATH, load_gpen
    from gpen_pack.training.measures import detail, face_region, psnr

    assert BUILTIN_PATH.stat().st_size < 16e6
    restorer = load_gpen("builtin")
    assert TEMPLATES["gpen"].shape == torch.tensor(ASTRONAUT).shape
    target = astronaut_crop(256)
    degraded = RECIPES["moderate"](target)
    restored = restorer.restore(degraded.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    region = face_region(256)
    assert float(psnr(restored, target, region)) > float(psnr(degraded, target, region))
    assert float(detail(restored, target, region)[1]) > float(detail(degraded, target, region)[1])
    grey = degraded.mean(1, keepdim=True).expand(-1, 3, -1, -1).permute(0, 2, 3, 1).contiguous()
    stays = restorer.restore(grey)
    assert float((stays.amax(-1) - stays.amin(-1)).mean()) < 4 / 255  # black and white stays black and white
