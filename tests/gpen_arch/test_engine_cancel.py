"""Cancelling acts within one face: the engines check between levels and strips, and keep nothing afterwards."""

from __future__ import annotations

import gc
import importlib
import weakref

import pytest
import torch
from gpen_pack.gpen_arch import GPEN, GPENConfig
from gpen_pack.gpen_arch.fast import build_engine

rows = importlib.import_module("gpen_pack.gpen_arch.fast.rows")
CONFIG = GPENConfig.standard(64, narrow=1 / 32, style_dim=32, mapping_layers=2)


class Cancelled(BaseException):
    """A BaseException, as ComfyUI's newer one is."""


class After:
    """Cancels after so many calls."""

    def __init__(self, questions: float) -> None:
        self.left = questions
        self.asked = 0

    def __call__(self) -> None:
        self.asked += 1
        self.left -= 1
        if self.left < 0:
            raise Cancelled


@pytest.fixture(params=["whole levels", "strips", "reference"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> torch.nn.Module:
    if request.param == "strips":
        monkeypatch.setattr(rows, "_STRIP_ELEMENTS", {"cpu": 1 << 9})
        monkeypatch.setattr(rows, "_WHOLE_ELEMENTS", {"cpu": 1 << 9})
    torch.manual_seed(3)
    state = GPEN(CONFIG).state_dict()
    if request.param == "reference":
        state["ecd1.0.0.kernel"][0] += 0.02
    return build_engine(state, CONFIG)


def test_it_is_called_many_times_within_one_face(engine: torch.nn.Module) -> None:
    check = After(float("inf"))
    engine(torch.rand(1, 3, 64, 64), check)
    levels = len(CONFIG.levels)
    assert check.asked >= 2 * (levels - 1), "less than once per level on the way down and up again"


def test_every_call_may_cancel(engine: torch.nn.Module) -> None:
    x = torch.rand(2, 3, 64, 64) * 2 - 1
    expected = engine(x)
    count = After(float("inf"))
    engine(x, count)
    for questions in range(count.asked):
        with pytest.raises(Cancelled):
            engine(x, After(questions))
    assert torch.equal(engine(x), expected), "a run after a cancelled one differs"
    assert torch.equal(engine(x, After(count.asked)), expected), "checking changes the result"


def test_nothing_is_left_behind(engine: torch.nn.Module) -> None:
    x = torch.rand(1, 3, 64, 64)
    before = {id(t) for t in (*engine.parameters(), *engine.buffers())}
    gone = weakref.ref(x)
    with pytest.raises(Cancelled) as caught:
        engine(x, After(5))
    del x, caught
    gc.collect()
    assert gone() is None, "the input is still held"
    assert {id(t) for t in (*engine.parameters(), *engine.buffers())} == before
