"""One call of the training program: build or resume, train, save the checkpoint, export the weights."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import torch

from ..gpen_arch import GPEN, ConfigError
from ..models import ModelFileError
from .checkpoint import CheckpointError, export_weights, load_checkpoint, read_weights, save_checkpoint
from .dataset import CropStream, DataError, PortraitFolder
from .initialise import compact_config, start_as_copy, take_over
from .measures import RECIPES, detail, face_region, psnr
from .options import SHAPE_OPTIONS, TrainOptions, parse_options
from .sheets import write_sheet
from .trainer import Trainer

CHECKPOINT = "checkpoint.pt"
WEIGHTS = "gpen.safetensors"


def main(argv: list[str] | None = None) -> int:
    """Run ``python training``; 0: done, or the time budget is spent (run it again to resume), 1: an error."""
    options = parse_options(argv)
    try:
        trainer = build(options)
        train(trainer, _portraits(options, "held_out") if options.held_out else None)
    except (DataError, CheckpointError, ConfigError, ModelFileError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def build(options: TrainOptions) -> Trainer:
    """Build a trainer, at the start of a run or from the run's checkpoint.

    Raises:
        DataError, CheckpointError, ConfigError, ModelFileError: with what was expected and what was found.
    """
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    best = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(best if options.device == "auto" else options.device)
    checkpoint = Path(options.run) / CHECKPOINT
    state = load_checkpoint(checkpoint) if checkpoint.is_file() else None
    if state:
        for name in SHAPE_OPTIONS:
            if state["options"][name] != getattr(options, name):
                raise CheckpointError(
                    f"{checkpoint} was made with --{name.replace('_', '-')} {state['options'][name]}, got "
                    f"{getattr(options, name)}; use that value, or another --run folder"
                )
    folder = _portraits(options, "train")
    net = GPEN(
        compact_config(options.size, options.narrow, options.channel_multiplier, options.style_dim, options.mapping)
    )
    start_as_copy(net)
    if options.init and not state:
        taken, missing = take_over(net, read_weights(Path(options.init)))
        print(f"copied {taken} tensors from {options.init}, {len(missing)} are newly initialised")
    trainer = Trainer(net, CropStream(folder, options.size, options.batch, options.seed), options, device)
    if state:
        trainer.load_state_dict(state)
        print(f"resuming at step {trainer.step} after {trainer.seconds / 60:.0f} minutes")
    return trainer


def _portraits(options: TrainOptions, part: str) -> PortraitFolder:
    return PortraitFolder(Path(options.data), part, template=options.template, held_out=options.held_out)


def train(trainer: Trainer, validation: PortraitFolder | None) -> None:
    """Train until ``steps`` are done, the time budget is spent, or a signal arrives; then save.

    Without ``validation`` no sheets are written.
    """
    run = Path(trainer.options.run)
    run.mkdir(parents=True, exist_ok=True)
    stop: list[int] = []
    usual = {number: signal.signal(number, lambda n, _: stop.append(n)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        _steps(trainer, validation, stop)
    finally:  # also after an exception, the steps since the last checkpoint are saved
        for number, handler in usual.items():
            signal.signal(number, handler)
        save(trainer, run)


def _steps(trainer: Trainer, validation: PortraitFolder | None, stop: list[int]) -> None:
    options, run = trainer.options, Path(trainer.options.run)
    begin = saved = last = time.monotonic()
    sums: dict[str, float] = {}
    count = 0
    while not stop and trainer.step < options.steps and not 0 < options.time_budget < last - begin:
        report = trainer.train_step()
        count += 1
        for name, value in report.items():
            sums[name] = sums.get(name, 0.0) + value
        now = time.monotonic()
        trainer.seconds += now - last
        last = now
        if trainer.step % options.log_every == 0:
            means = {name: value / count for name, value in sums.items()}
            print(progress_line(trainer, means, now - begin), flush=True)
            sums, count = {}, 0
        if validation and options.sheet_every and trainer.step % options.sheet_every == 0:
            print(inspect(trainer, validation, run / "sheets" / f"step-{trainer.step:06d}.png"), flush=True)
        if now - saved > options.save_every:
            save(trainer, run)
            saved = now
        last = time.monotonic()


def progress_line(trainer: Trainer, means: dict[str, float], elapsed: float) -> str:
    """Step, pace, learning rate and the mean of each loss since the last line."""
    pace = trainer.seconds / max(1, trainer.step)
    losses = " ".join(f"{name} {value:.4f}" for name, value in means.items())
    skipped = f" · {trainer.skipped} skipped" if trainer.skipped else ""
    return (
        f"step {trainer.step}/{trainer.options.steps} · {elapsed:.0f} s · {pace:.2f} s/step · "
        f"lr {trainer.learning_rate():.1e} · {losses}{skipped}"
    )


def inspect(trainer: Trainer, validation: PortraitFolder, sheet: Path, count: int = 8) -> str:
    """Write a sheet of held-out portraits (degraded, restored; two recipes; original); returns the metrics."""
    size = trainer.options.size
    chosen = list(range(0, len(validation), max(1, len(validation) // count)))[:count]
    original = validation.crops(chosen, size)
    region = face_region(size)
    columns, said = [], []
    for name in ("moderate", "strong"):
        degraded = RECIPES[name](original)
        restored = trainer.restore(degraded).cpu()
        columns += [degraded, restored]
        gain = (psnr(restored, original, region) - psnr(degraded, original, region)).mean()
        energy, regression = (value.mean() for value in detail(restored, original, region))
        more = regression - detail(degraded, original, region)[1].mean()
        said.append(f"{name}: {gain:+.2f} dB, energy {energy:.2f}, regression {regression:.2f} ({more:+.2f})")
    write_sheet(sheet, [*columns, original])
    return f"held out after step {trainer.step}: " + "; ".join(said)


def save(trainer: Trainer, run: Path) -> None:
    """Save the checkpoint, then export the weights."""
    save_checkpoint(run / CHECKPOINT, trainer.state_dict())
    told = {"template": trainer.options.template, "license": trainer.options.license, "steps": str(trainer.step)}
    export_weights(run / WEIGHTS, trainer.ema.state_dict(), metadata={k: v for k, v in told.items() if v})
