"""Options of a training run."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..faces.geometry.templates import TEMPLATES
from .degradation import DegradationRange
from .losses import LossWeights


def _option(default: Any, text: str, **more: Any) -> Any:
    return field(default=default, metadata={"help": text, **more})


@dataclass
class TrainOptions:
    """Options of a run; each field is a command line flag of the same name, with dashes."""

    data: str = _option("", "folder of portraits with landmarks.json (file name -> five (x, y) points)")
    run: str = _option("training/runs/gpen", "folder of checkpoint, weights and sheets; an existing run is resumed")
    init: str = _option("", "weights to start from (.safetensors, .pth, or a checkpoint); may be a smaller model")
    size: int = _option(256, "side of the input and output in pixels", least=32)
    narrow: float = _option(0.25, "width relative to the published models")
    channel_multiplier: float = _option(1.0, "width of the levels from 64 px, relative to StyleGAN2's")
    style_dim: int = _option(256, "width of the style vector", least=1)
    mapping: int = _option(4, "number of layers of the mapping network", least=0)
    template: str = _option("gpen", "alignment template", choices=tuple(TEMPLATES))
    license: str = _option("", "licence of your weights, written into the file")
    held_out: int = _option(64, "portraits that are never trained on", least=0)
    batch: int = _option(4, "pictures per step", least=1)
    group: int = _option(1, "pictures that share a kind of degradation; a quarter of the batch suits a GPU", least=1)
    steps: int = _option(10000, "total number of steps", least=1)
    lr: float = _option(2.5e-3, "learning rate (equalised, so larger than usual)")
    gate_pace: float = _option(0.05, "learning rate of the gains and biases of features, relative to the rest")
    lr_floor: float = _option(0.05, "learning rate at the end, relative to --lr")
    warmup: int = _option(50, "steps until the learning rate reaches --lr", least=1)
    anneal: float = _option(0.5, "fraction of the steps over which the learning rate decays, at the end")
    clip: float = _option(10.0, "largest gradient norm")
    ema: float = _option(0.999, "decay of the moving average, which is what is exported")
    pixel: float = _option(0.3, "weight of L1")
    decibel: float = _option(0.1, "weight of the logarithm of the squared error per picture")
    bands: float = _option(0.4, "weight of L1 on the Laplacian bands")
    energy: float = _option(0.2, "weight of the bands' local energy")
    chroma: float = _option(0.5, "weight of blurred colour")
    adversarial: float = _option(0.0, "weight of the adversarial loss; 0: none")
    face: float = _option(12.0, "additional weight of the middle of the face")
    adversarial_from: int = _option(0, "step at which the adversarial loss begins")
    adversarial_lr: float = _option(2e-3, "learning rate of the discriminator; it does not decay")
    adversarial_ramp: int = _option(200, "steps over which the adversarial weight ramps up", least=1)
    window: int = _option(0, "side of the discriminator's window; 0: 128, or the whole of smaller pictures", least=0)
    r1: float = _option(2.0, "weight of the R1 gradient penalty")
    r1_every: int = _option(16, "steps between two gradient penalties", least=1)
    noise: float = _option(10.0, "largest sigma of the noise, in units of 1/255")
    blur: float = _option(2.5, "largest sigma of the blur, in pixels")
    shrink: float = _option(4.5, "largest downscaling factor", least=1)
    jpeg: int = _option(55, "lowest JPEG quality", least=1)
    fade: float = _option(0.0, "probability of faded colour")
    in_order: float = _option(0.5, "probability that degradations come in the order of a camera")
    precision: str = _option("bf16", "bf16 or fp32; the weights stay float32", choices=("bf16", "fp32"))
    device: str = _option("auto", "auto, cpu, cuda, …")
    compile: bool = _option(
        False, "compile networks and losses first (needs a C++ compiler); a third faster, after some minutes"
    )
    threads: int = _option(0, "CPU threads; 0: all", least=0)
    seed: int = _option(0, "random seed")
    time_budget: float = _option(0.0, "seconds after which this call saves and stops; 0: no limit")
    save_every: float = _option(300.0, "seconds between checkpoints")
    sheet_every: int = _option(500, "steps between sample sheets with held-out measurements; 0: none", least=0)
    log_every: int = _option(10, "steps between progress lines", least=1)

    def loss_weights(self) -> LossWeights:
        """The weights of the losses."""
        return LossWeights(**{f.name: getattr(self, f.name) for f in fields(LossWeights)})

    def degradation_range(self) -> DegradationRange:
        """The distribution of degradations; what is no option has the defaults of :class:`DegradationRange`."""
        usual = DegradationRange()
        return DegradationRange(
            blur=(min(usual.blur[0], self.blur), self.blur),
            shrink=(1, max(1.0, self.shrink)),
            noise=(0, self.noise),
            jpeg=(self.jpeg, max(self.jpeg, 95)),
            fade_chance=self.fade,
            in_order_chance=self.in_order,
        )

    def to_dict(self) -> dict[str, Any]:
        """The options as plain values, for the checkpoint."""
        return asdict(self)


SHAPE_OPTIONS = ("size", "narrow", "channel_multiplier", "style_dim", "mapping", "window")


def parse_options(argv: list[str] | None = None) -> TrainOptions:
    """Parse the command line; exits with a message if it is not valid."""
    parser = argparse.ArgumentParser(
        prog="python training",
        description="Train or fine-tune a GPEN on a folder of portraits. It may be stopped; the same command resumes.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    for option in fields(TrainOptions):
        flag, text = "--" + option.name.replace("_", "-"), option.metadata["help"]
        if isinstance(option.default, bool):
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=option.default, help=text)
            continue
        parser.add_argument(
            flag,
            type=type(option.default),
            default=option.default,
            help=text,
            choices=option.metadata.get("choices"),
        )
    options = TrainOptions(**vars(parser.parse_args(argv)))
    for option in fields(TrainOptions):
        least, value = option.metadata.get("least"), getattr(options, option.name)
        if least is not None and value < least:
            parser.error(f"--{option.name.replace('_', '-')}: expected {least} or more, got {value}")
    for name in ("size", "window"):
        value = getattr(options, name)
        if value & (value - 1) or (value and not 8 <= value <= options.size):
            parser.error(f"--{name}: expected a power of two from 8 to the pictures' size, got {value}")
    if not options.data or not Path(options.data).is_dir():
        parser.error(f"--data: expected a folder of portraits with landmarks.json, got {options.data!r}")
    if options.init and not Path(options.init).is_file():
        parser.error(f"--init: no such file: {options.init}")
    return options
