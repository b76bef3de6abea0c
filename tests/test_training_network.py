"""Training of the network: losses, the adversary, the start as a copy, growing, checkpoints, and a run in two parts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from gpen_pack.gpen_arch import GPEN, ConfigError, GPENConfig
from gpen_pack.training import losses
from gpen_pack.training.checkpoint import (
    CheckpointError,
    export_weights,
    load_checkpoint,
    read_weights,
    save_checkpoint,
)
from gpen_pack.training.degradation import filter_each, gaussian_kernels
from gpen_pack.training.discriminator import Discriminator, cut, minibatch_deviation, windows
from gpen_pack.training.initialise import compact_config, start_as_copy, take_over
from gpen_pack.training.options import TrainOptions, parse_options
from gpen_pack.training.run import CHECKPOINT, WEIGHTS, build, main
from gpen_pack.training.sheets import write_sheet
from PIL import Image

TINY = {"size": 32, "narrow": 1 / 32, "style_dim": 16, "mapping": 1, "batch": 2, "threads": 1, "sheet_every": 0}


@pytest.fixture
def portraits(tmp_path: Path) -> Path:
    folder = tmp_path / "portraits"
    folder.mkdir()
    rng = np.random.default_rng(0)
    points = [[23.0, 30.0], [37.0, 30.0], [30.0, 38.0], [25.0, 46.0], [35.0, 46.0]]
    for i in range(8):
        small = Image.fromarray(rng.integers(0, 255, (9, 8, 3), dtype=np.uint8))
        small.resize((60, 72), Image.Resampling.BICUBIC).save(folder / f"p{i}.png")
    (folder / "landmarks.json").write_text(json.dumps({f"p{i}.png": points for i in range(8)}))
    return folder


def tiny(portraits: Path, run: Path, **more: object) -> TrainOptions:
    return TrainOptions(data=str(portraits), run=str(run), **{**TINY, **more})  # type: ignore[arg-type]


def sized() -> list[str]:
    return [part for name, value in TINY.items() for part in ("--" + name.replace("_", "-"), str(value))]


@pytest.mark.parametrize("size", [8, 32])
def test_discriminator_learns_to_tell_noise_from_plain(size: int) -> None:
    torch.manual_seed(0)
    net = Discriminator(size, narrow=1 / 32)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01, betas=(0.0, 0.99))
    for _ in range(60):
        plain, noise = torch.zeros(4, 3, size, size), torch.randn(4, 3, size, size)
        loss = losses.discriminator_adversarial(net(plain), net(noise))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.5
    with pytest.raises(ValueError, match="power of two"):
        Discriminator(20)


def test_minibatch_deviation_tells_a_batch_of_twins() -> None:
    twins = torch.rand(1, 2, 4, 4).expand(4, -1, -1, -1)
    assert minibatch_deviation(twins)[:, -1].max() < 1e-3
    assert minibatch_deviation(torch.rand(4, 2, 4, 4))[:, -1].min() > 0.1
    assert minibatch_deviation(torch.rand(3, 2, 4, 4)).shape == (3, 3, 4, 4)


def test_windows_lie_inside_and_cut_what_they_say() -> None:
    corners = windows(torch.Generator().manual_seed(0), 50, 32, 16)
    assert all(0 <= y <= 16 and 0 <= x <= 16 for y, x in corners) and len(set(corners)) > 5
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(cut(x, [(3, 5), (0, 16)], 16)[1], x[1, :, :16, 16:])


@pytest.mark.parametrize("size", [32, 64])
def test_a_fresh_network_returns_its_input(size: int) -> None:
    net = GPEN(compact_config(size, 0.25, 1, 32, 2))
    start_as_copy(net, sharpen=(), residual=0)
    x = torch.rand(2, 3, size, size) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(net(x), x, atol=1e-4, rtol=0)


def test_a_fresh_network_sharpens_and_keeps_plain_areas() -> None:
    net = GPEN(compact_config(64, 0.25, 1, 32, 2))
    start_as_copy(net, sharpen=(1.0, 0.5), residual=0)
    x = torch.full((1, 3, 64, 64), -0.5)
    x[:, 0, :, 32:] = 0.5
    with torch.no_grad():
        y = net(x)
    inside = (slice(None), slice(None), slice(24, 40))
    torch.testing.assert_close(y[inside][..., 16:18], x[inside][..., 16:18], atol=0.02, rtol=0)
    assert y[0, 0, 32, 32] > 0.6 and y[0, 0, 32, 31] < -0.6  # the edge overshoots on both sides


def test_small_weights_fill_the_lower_levels_of_a_larger_network() -> None:
    small = GPEN(compact_config(32, 1 / 32, 1, 16, 1))
    large = GPEN(compact_config(64, 1 / 32, 1, 16, 1))
    taken, missing = take_over(large, small.state_dict())
    assert torch.equal(large.get_parameter("ecd2.0.1.weight"), small.get_parameter("ecd1.0.1.weight"))
    assert torch.equal(
        large.get_parameter("generator.convs.4.conv.weight"), small.get_parameter("generator.convs.4.conv.weight")
    )
    assert taken > 40 and "generator.convs.6.conv.weight" in missing
    x = torch.rand(1, 3, 64, 64)
    assert large(x).shape == x.shape
    with pytest.raises(ValueError, match="never shrink"):
        take_over(small, large.state_dict())
    with pytest.raises(ConfigError):
        take_over(small, {"other": torch.zeros(1)})


def test_exported_weights_load_strictly_and_are_half_precision(tmp_path: Path) -> None:
    net = GPEN(compact_config(32, 1 / 32, 1, 16, 1))
    path = tmp_path / "w.safetensors"
    export_weights(path, net.state_dict(), metadata={"license": "CC0-1.0"})
    weights = read_weights(path)
    again = GPEN(GPENConfig.from_state_dict(weights))
    again.load_state_dict(weights)
    assert path.stat().st_size < 2.5 * sum(p.numel() for p in net.state_dict().values()) + 20_000
    broken = {"w": torch.tensor([1e6])}
    with pytest.raises(CheckpointError, match="not finite"):
        export_weights(path, broken)


def test_checkpoints_are_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    save_checkpoint(path, {"step": 3, "ema": {"w": torch.ones(2)}})
    assert load_checkpoint(path)["step"] == 3 and [p.name for p in tmp_path.iterdir()] == ["c.pt"]
    assert torch.equal(read_weights(path)["w"], torch.ones(2))
    torch.save({"w": torch.ones(1)}, path)
    with pytest.raises(CheckpointError, match="expected a training checkpoint"):
        load_checkpoint(path)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_goes_downhill(portraits: Path, tmp_path: Path, precision: str) -> None:
    options = tiny(portraits, tmp_path / "run", precision=precision, batch=4, warmup=5, adversarial=0.001, jpeg=90)
    options.shrink, options.noise, options.blur = 1.5, 0.0, 2.0
    trainer = build(options)
    target = trainer.stream.folder.crops([0, 1, 2, 3], 32)
    spoilt = filter_each(target, gaussian_kernels(*[torch.full((4,), 1.2)] * 3, 4))

    def error() -> float:
        return float((trainer.restore(spoilt) - target).abs().mean())

    before = error()
    reports = [trainer.train_step() for _ in range(40)]
    assert error() < 0.95 * before and trainer.skipped == 0
    assert {"g", "d"} <= set(reports[-1]) and "r1" in reports[0]


def test_compiling_changes_nothing_but_the_pace(
    portraits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[object] = []

    def stand_in(function: object, **_: object) -> object:
        compiled.append(function)  # the real one wants a C++ compiler and a minute
        return function

    monkeypatch.setattr(torch, "compile", stand_in)
    flags = [*sized(), "--data", str(portraits), "--adversarial", "0.01"]
    plain, fast = (
        build(parse_options([*flags, "--run", str(tmp_path / flag), flag])).train_step()
        for flag in ("--no-compile", "--compile")
    )
    assert len(compiled) == 2 and plain == fast


def test_a_stopped_run_goes_on_as_if_it_had_not(portraits: Path, tmp_path: Path) -> None:
    whole = build(tiny(portraits, tmp_path / "a", precision="fp32", adversarial=0.01))
    for _ in range(4):
        whole.train_step()
    first = build(tiny(portraits, tmp_path / "b", precision="fp32", adversarial=0.01))
    for _ in range(2):
        first.train_step()
    (tmp_path / "b").mkdir()
    save_checkpoint(tmp_path / "b" / CHECKPOINT, first.state_dict())
    second = build(tiny(portraits, tmp_path / "b", precision="fp32", adversarial=0.01, seed=5))
    for _ in range(2):
        second.train_step()
    assert second.step == 4
    for ours, theirs in zip(second.ema.parameters(), whole.ema.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_bad_gradient_is_left_out(portraits: Path, tmp_path: Path) -> None:
    trainer = build(tiny(portraits, tmp_path / "run", precision="fp32"))
    before = {name: p.clone() for name, p in trainer.net.named_parameters()}
    trainer.net.get_parameter("ecd0.0.0.weight").register_hook(lambda g: g * float("nan"))
    trainer.train_step()
    assert trainer.skipped == 1
    assert all(torch.equal(p, before[name]) for name, p in trainer.net.named_parameters())


def test_the_program_trains_resumes_fine_tunes_and_hands_out_weights(
    portraits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    flags = ["--data", str(portraits), "--size", "32", "--narrow", "0.03125", "--style-dim", "16", "--mapping", "1"]
    flags += ["--batch", "2", "--threads", "1", "--log-every", "1", "--sheet-every", "2"]
    assert main([*flags, "--run", str(run), "--steps", "2"]) == 0
    assert main([*flags, "--run", str(run), "--steps", "3"]) == 0
    said = capsys.readouterr().out
    assert "step 2/2" in said and "goes on at step 2" in said and "held out after step 2: moderate" in said
    assert [p.name for p in (run / "sheets").iterdir()] == ["step-000002.png"]
    weights = read_weights(run / WEIGHTS)
    GPEN(GPENConfig.from_state_dict(weights)).load_state_dict(weights)
    assert main([*flags, "--run", str(tmp_path / "fine"), "--init", str(run / WEIGHTS), "--steps", "1"]) == 0
    assert "0 start anew" in capsys.readouterr().out
    assert main([*flags, "--run", str(run), "--style-dim", "8"]) == 1
    assert "was made with --style-dim 16" in capsys.readouterr().err


def test_time_budget_ends_the_call(portraits: Path, tmp_path: Path) -> None:
    options = tiny(portraits, tmp_path / "run", time_budget=0.001, steps=50)
    from gpen_pack.training.dataset import PortraitFolder
    from gpen_pack.training.run import train

    trainer = build(options)
    train(trainer, PortraitFolder(portraits, "held_out"))
    assert 1 <= trainer.step < 10 and (tmp_path / "run" / CHECKPOINT).is_file()


def test_wrong_flags_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_options(["--data", "/nowhere"])
    assert "expected a folder of portraits" in capsys.readouterr().err


def test_sheet_lays_columns_beside_rows(tmp_path: Path) -> None:
    black, white = torch.zeros(3, 3, 4, 4), torch.ones(3, 3, 4, 4)
    write_sheet(tmp_path / "s.png", [black, white], rows=2)
    sheet = np.asarray(Image.open(tmp_path / "s.png"))
    assert sheet.shape == (8, 8, 3) and sheet[:, :4].max() == 0 and sheet[:, 4:].min() == 255
    with pytest.raises(ValueError, match="one shape"):
        write_sheet(tmp_path / "s.png", [])
