"""The training step: generator, moving average, discriminator and their optimisers."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

from ..gpen_arch import GPEN
from .dataset import CropStream
from .degradation import DegradationRange, degrade
from .discriminator import Discriminator, cut, windows
from .losses import (
    LossWeights,
    discriminator_adversarial,
    generator_adversarial,
    r1_penalty,
    reconstruction_loss,
)
from .options import TrainOptions


class Trainer:
    """State and training step of one run.

    Args:
        net: the initialised generator; moved to ``device``.
        stream: source of the crops.
        options: options of the run.
        device: device for training.
    """

    def __init__(self, net: GPEN, stream: CropStream, options: TrainOptions, device: torch.device) -> None:
        self.options, self.stream, self.device = options, stream, device
        self.weights: LossWeights = options.loss_weights()
        self.ranges: DegradationRange = options.degradation_range()
        self.working = torch.bfloat16 if options.precision == "bf16" else torch.float32
        self.net = net.to(device).train()
        self.ema = copy.deepcopy(self.net).eval().requires_grad_(False)
        # the memory layout of the constant propagates through the decoder
        self.net.generator.input.register_forward_hook(_constant_layout)
        window = options.window or min(128, options.size)
        self.discriminator = Discriminator(window, narrow=options.narrow).to(device)
        groups = [
            {"params": [p for name, p in self.net.named_parameters() if _is_gate(name) == gate], "pace": pace}
            for gate, pace in ((False, 1.0), (True, options.gate_pace))
        ]
        self.g_optim = torch.optim.Adam(groups, lr=options.lr, betas=(0.9, 0.99))
        # constant learning rate: a discriminator slower than the generator gives no useful gradient
        self.d_optim = torch.optim.Adam(self.discriminator.parameters(), lr=options.adversarial_lr, betas=(0.0, 0.99))
        self.rng = torch.Generator().manual_seed(options.seed + 1)
        self._generate, self._discriminate = self._restore_and_measure, self._logits
        if options.compile:
            self._generate = torch.compile(self._generate, dynamic=False)
            self._discriminate = torch.compile(self._discriminate, dynamic=False)
        self.step = 0
        self.seconds = 0.0
        self.skipped = 0  # steps whose gradient was not finite

    def learning_rate(self) -> float:
        """Learning rate of this step: short warm-up, constant, then cosine decay over the last part of the steps."""
        o = self.options
        warm = min(1.0, (self.step + 1) / o.warmup)
        start = o.steps * (1 - o.anneal)
        late = min(1.0, max(0.0, (self.step - start) / max(1.0, o.steps - start)))
        return o.lr * warm * (o.lr_floor + (1 - o.lr_floor) * 0.5 * (1 + math.cos(math.pi * late)))

    def train_step(self) -> dict[str, float]:
        """Train on one batch, including the discriminator if it is due; returns the losses by name."""
        target = self.stream.next().to(self.device)
        degraded = degrade(target, self.rng, self.ranges, group=self.options.group)
        target, degraded = target * 2 - 1, degraded * 2 - 1
        for group in self.g_optim.param_groups:
            group["lr"] = self.learning_rate() * group["pace"]
        for group in self.d_optim.param_groups:
            group["lr"] = self.options.adversarial_lr

        restored, loss, parts = self._generate(degraded, target)
        report = {name: float(value) for name, value in parts.items()}
        adversarial = self.weights.adversarial > 0 and self.step >= self.options.adversarial_from
        window = self.discriminator.size
        corners = windows(self.rng, len(target), target.shape[-1], window)
        if adversarial:
            self.discriminator.requires_grad_(False)
            fooled = generator_adversarial(self._discriminate(cut(restored, corners, window)))
            ramp = min(1.0, (self.step - self.options.adversarial_from + 1) / self.options.adversarial_ramp)
            loss = loss + self.weights.adversarial * ramp * fooled
            report["g"] = float(fooled.detach())
        self.g_optim.zero_grad(set_to_none=True)
        loss.backward()
        if self._finite(self.net):
            self.g_optim.step()
            self._follow()
        if adversarial:
            report |= self._discriminator_step(cut(target, corners, window), cut(restored.detach(), corners, window))
        self.step += 1
        report["loss"] = float(loss.detach())
        return report

    def restore(self, x: torch.Tensor) -> torch.Tensor:
        """Restore with the moving average, in float32: [N,3,S,S] in [0,1] -> [N,3,S,S], clamped."""
        with torch.no_grad():
            return torch.cat([(self.ema(part * 2 - 1) + 1) / 2 for part in x.to(self.device).split(4)]).clamp(0, 1)

    def state_dict(self) -> dict[str, Any]:
        """The whole state of the run, from which it resumes identically."""
        return {
            "net": self.net.state_dict(),
            "ema": self.ema.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "g_optim": self.g_optim.state_dict(),
            "d_optim": self.d_optim.state_dict(),
            "stream": self.stream.state_dict(),
            "rng": self.rng.get_state(),
            "step": self.step,
            "seconds": self.seconds,
            "skipped": self.skipped,
            "options": self.options.to_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from ``state``. Learning rates and weights of the losses are those of the current options."""
        self.net.load_state_dict(state["net"])
        self.ema.load_state_dict(state["ema"])
        self.discriminator.load_state_dict(state["discriminator"])
        self.g_optim.load_state_dict(state["g_optim"])
        self.d_optim.load_state_dict(state["d_optim"])
        self.stream.load_state_dict(state["stream"])
        self.rng.set_state(state["rng"])
        self.step, self.seconds, self.skipped = int(state["step"]), float(state["seconds"]), int(state["skipped"])

    def _run(self, module: nn.Module, x: torch.Tensor) -> torch.Tensor:
        """Forward in the working dtype; the cast from float32 weights is in the graph, so gradients are float32."""
        x = _fast_layout(x.to(self.working))
        if self.working == torch.float32:
            return module(x)
        return functional_call(module, {name: p.to(self.working) for name, p in module.named_parameters()}, (x,))

    def _restore_and_measure(
        self, degraded: torch.Tensor, target: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        restored = self._run(self.net, degraded)
        return restored, *reconstruction_loss(restored, target, self.weights)

    def _logits(self, x: torch.Tensor) -> torch.Tensor:
        return self._run(self.discriminator, x)

    def _discriminator_step(self, real: torch.Tensor, fake: torch.Tensor) -> dict[str, float]:
        o = self.options
        self.discriminator.requires_grad_(True)
        loss = discriminator_adversarial(self._discriminate(real), self._discriminate(fake))
        report = {"d": float(loss.detach())}
        if self.step % o.r1_every == 0:
            real = real.detach().clone().requires_grad_(True)
            penalty = r1_penalty(self.discriminator(real), real)  # in float32, since it is differentiated twice
            loss = loss + penalty * (o.r1 / 2 * o.r1_every)
            report["r1"] = float(penalty.detach())
        self.d_optim.zero_grad(set_to_none=True)
        loss.backward()
        if self._finite(self.discriminator):
            self.d_optim.step()
        return report

    def _finite(self, module: nn.Module) -> bool:
        """Clip the gradient; False if it is not finite, and the step is skipped."""
        norm = torch.nn.utils.clip_grad_norm_(module.parameters(), self.options.clip)
        if bool(norm.isfinite()):
            return True
        self.skipped += 1
        return False

    @torch.no_grad()
    def _follow(self) -> None:
        decay = min(self.options.ema, (1 + self.step) / (10 + self.step))
        for ours, theirs in zip(self.ema.parameters(), self.net.parameters(), strict=True):
            ours.lerp_(theirs, 1 - decay)


def _is_gate(name: str) -> bool:
    """Whether a parameter can switch off a level: at full rate Adam does so while the features are still noise."""
    return name.endswith(("noise.weight", "activate.bias")) or (name.startswith("ecd") and name.endswith("bias"))


def _constant_layout(_module: nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
    return _fast_layout(output)


def _fast_layout(x: torch.Tensor) -> torch.Tensor:
    return x.contiguous(memory_format=torch.channels_last)
