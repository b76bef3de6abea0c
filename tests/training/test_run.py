"""Training from end to end on tiny sizes: steps, resuming, fine-tuning, and every mistake in one sentence."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from gpen_pack.gpen_arch import GPEN, GPENConfig
from gpen_pack.training.checkpoint import (
    load_checkpoint,
    read_weights,
    save_checkpoint,
)
from gpen_pack.training.degradation import filter_each, gaussian_kernels
from gpen_pack.training.initialise import compact_config
from gpen_pack.training.options import TrainOptions, parse_options
from gpen_pack.training.run import CHECKPOINT, WEIGHTS, build, main, train
from onnx import TensorProto, helper

TINY = {"size": 32, "narrow": 1 / 32, "style_dim": 16, "mapping": 1, "batch": 2, "threads": 1, "sheet_every": 0}


def tiny(portraits: Path, run: Path, **more: object) -> TrainOptions:
    return TrainOptions(data=str(portraits), run=str(run), **{**TINY, **more})  # type: ignore[arg-type]


def sized() -> list[str]:
    return [part for name, value in TINY.items() for part in ("--" + name.replace("_", "-"), str(value))]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_goes_downhill(portraits: Path, tmp_path: Path, precision: str) -> None:
    options = tiny(portraits, tmp_path / "run", precision=precision, batch=4, warmup=5, adversarial=0.001, jpeg=90)
    options.shrink, options.noise, options.blur = 1.5, 0.0, 2.0
    trainer = build(options)
    target = trainer.stream.folder.crops([0, 1, 2, 3], 32)
    degraded = filter_each(target, gaussian_kernels(*[torch.full((4,), 1.2)] * 3, 4))

    def error() -> float:
        return float((trainer.restore(degraded) - target).abs().mean())

    before = error()
    reports = [trainer.train_step() for _ in range(40)]
    assert error() < 0.95 * before and trainer.skipped == 0
    assert {"g", "d"} <= set(reports[-1]) and "r1" in reports[0]


def test_what_a_step_computes_is_handed_to_the_compiler(
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
    assert "step 2/2" in said and "resuming at step 2" in said and "held out after step 2: moderate" in said
    assert [p.name for p in (run / "sheets").iterdir()] == ["step-000002.png"]
    weights = read_weights(run / WEIGHTS)
    GPEN(GPENConfig.from_state_dict(weights)).load_state_dict(weights)
    assert main([*flags, "--run", str(tmp_path / "fine"), "--init", str(run / WEIGHTS), "--steps", "1"]) == 0
    assert "0 are newly initialised" in capsys.readouterr().out
    assert main([*flags, "--run", str(run), "--style-dim", "8"]) == 1
    assert "was made with --style-dim 16" in capsys.readouterr().err


def test_time_budget_ends_the_call(portraits: Path, tmp_path: Path) -> None:
    options = tiny(portraits, tmp_path / "run", time_budget=0.001, steps=50)
    from gpen_pack.training.dataset import PortraitFolder

    trainer = build(options)
    train(trainer, PortraitFolder(portraits, "held_out"))
    assert 1 <= trainer.step < 10 and (tmp_path / "run" / CHECKPOINT).is_file()


def test_wrong_flags_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_options(["--data", "/nowhere"])
    assert "expected a folder of portraits" in capsys.readouterr().err


def test_the_command_refuses_what_cannot_be_meant(
    portraits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for flag, value in (
        ("--batch", "0"), ("--log-every", "0"), ("--warmup", "0"), ("--window", "100"), ("--size", "48"),
        ("--template", "x"), ("--held-out", "-1"),
    ):  # fmt: skip
        with pytest.raises(SystemExit):
            parse_options(["--data", str(portraits), flag, value])
        assert flag in capsys.readouterr().err


def test_files_that_cannot_be_taken_are_named(
    portraits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*more: str) -> str:
        assert main(["--data", str(portraits), *sized(), "--run", str(tmp_path / "run"), "--steps", "1", *more]) == 1
        return capsys.readouterr().err

    larger, wider = tmp_path / "larger.pth", tmp_path / "wider.pth"
    torch.save(GPEN(compact_config(64, 1 / 32, 1, 16, 1)).state_dict(), larger)
    torch.save(GPEN(compact_config(32, 1 / 16, 1, 24, 2)).state_dict(), wider)
    (tmp_path / "page.safetensors").write_text("<html>")
    (tmp_path / "torn.pth").write_bytes(larger.read_bytes()[:5000])
    assert "never shrink" in told("--init", str(larger))
    assert "--narrow 0.0625 --channel-multiplier 1 --style-dim 24 --mapping 2" in told("--init", str(wider))
    assert "page.safetensors" in told("--init", str(tmp_path / "page.safetensors"))
    assert "torn.pth" in told("--init", str(tmp_path / "torn.pth"))
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 32, 32]) for name in ("input", "output")]
    nodes = [helper.make_node("Relu", ["input"], ["output"])]
    onnx.save(helper.make_model(helper.make_graph(nodes, "none", values[:1], values[1:])), str(tmp_path / "none.onnx"))
    assert "none.onnx" in told("--init", str(tmp_path / "none.onnx"))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / CHECKPOINT).write_bytes(larger.read_bytes()[:5000])
    assert "move it away" in told()


def test_what_was_learnt_outlives_an_error(portraits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = build(tiny(portraits, tmp_path / "run", precision="fp32", steps=9))
    step = trainer.train_step
    monkeypatch.setattr(trainer, "train_step", lambda: step() if trainer.step < 2 else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(trainer, None)
    assert load_checkpoint(tmp_path / "run" / CHECKPOINT)["step"] == 2


def test_without_held_out_portraits_there_are_no_sheets(portraits: Path, tmp_path: Path) -> None:
    flags = ["--data", str(portraits), *sized(), "--run", str(tmp_path / "run"), "--steps", "1"]
    assert main([*flags, "--held-out", "0", "--sheet-every", "1"]) == 0
    assert not (tmp_path / "run" / "sheets").exists()
