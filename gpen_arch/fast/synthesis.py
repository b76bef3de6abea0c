"""The synthesis network: small levels whole and batched, large ones per batch entry in strips of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from ..cancel import CheckCancel, never_cancelled
from ..hyperparameters import Hyperparameters
from .encoder import Features
from .folding import FoldedWeights
from .level import Injection, Level
from .modulated import ModulatedConv
from .rgb import SkipRGB, ToRGB
from .rows import row_windows, strip_elements, whole_elements
from .styles import Styles


class Synthesis(nn.Module):
    """Vector and features -> RGB; the counterpart of the reference's ``Generator``."""

    constant: torch.Tensor

    def __init__(self, weights: FoldedWeights, config: Hyperparameters, dtype: torch.dtype, tf32: bool) -> None:
        super().__init__()
        base = config.channels[0]
        constant = weights.scaled("generator.input.input").permute(0, 2, 3, 1)  # [1,4,4,C]
        constant = nn.functional.pad(constant, (0, 0, 0, 0, 1, 1))  # a row of zeros above and below
        self.register_buffer("constant", constant.to(dtype))
        self.conv = ModulatedConv(weights, "generator.conv1", base, dtype, tf32, up=False, scale_weights=False)
        self.inject = Injection(weights, "generator.conv1", base, dtype, concat=config.concat)
        self.to_rgb = ToRGB(weights, "generator.to_rgb1")
        self.width = base * (2 if config.concat else 1)
        self.levels = nn.ModuleList(Level(weights, config, i, dtype, tf32) for i in range(len(config.levels) - 1))
        prefixes = ["generator.conv1", "generator.to_rgb1"]
        for i in range(len(self.levels)):
            prefixes += [f"generator.convs.{2 * i}", f"generator.convs.{2 * i + 1}", f"generator.to_rgbs.{i}"]
        self.styles = Styles(weights, config.mapping_layers, prefixes)

    def forward(
        self, z: torch.Tensor, features: Sequence[Features], check_cancel: CheckCancel = never_cancelled
    ) -> torch.Tensor:
        """[N,style] float32 and the features of 4, 8, … out_size px -> [N,3,out,out] float32."""
        styles = self.styles(z)
        batch, dtype = z.shape[0], self.constant.dtype
        x = self.constant.new_zeros(batch, 6, 4, self.width)
        y = self.conv.prepare(styles[0])(self.constant.expand(batch, -1, -1, -1))
        self.inject(y, features[0].rows(0, 4), x[:, 1:5])
        rgb = SkipRGB(self.to_rgb, styles[1], 4, dtype, None, last=False)
        rgb.add(x[:, 1:5])

        per_level = [styles[i : i + 3] for i in range(2, len(styles), 3)]
        todo: list[Step] = list(zip(self._levels(), per_level, features[1:], strict=True))
        while todo and not todo[0][0].scale_weights:
            x, rgb = self._run([todo.pop(0)], x, rgb, x.shape[2], check_cancel)
        if not todo:
            return rgb.data
        out = []
        for n in range(batch):
            one: list[Step] = [(level, [s[n : n + 1] for s in style], f.of(n)) for level, style, f in todo]
            out.append(self._one(one, x[n : n + 1], rgb.of(n), check_cancel))
        return torch.cat(out) if batch > 1 else out[0]

    def _one(self, todo: list[Step], x: torch.Tensor, rgb: SkipRGB, check_cancel: CheckCancel) -> torch.Tensor:
        """The remaining levels of one batch entry: level by level while they are small, the large ones together."""
        while todo and todo[0][0].activations <= whole_elements(x.device):
            x, rgb = self._run([todo.pop(0)], x, rgb, x.shape[2], check_cancel)
        if todo:
            per_row = max(level.activations // x.shape[2] for level, _, _ in todo)
            rows = min(x.shape[2], max(4, strip_elements(x.device) // per_row))
            _, rgb = self._run(todo, x, rgb, rows, check_cancel)
        return rgb.data

    def _run(
        self, steps: Sequence[Step], x: torch.Tensor, rgb: SkipRGB, rows: int, check_cancel: CheckCancel
    ) -> tuple[torch.Tensor, SkipRGB]:
        """Levels over [N,S+2,S,C] (zero rows at both ends), ``rows`` at a time -> the last window, the last RGB.

        With all S rows at a time the window is the whole map of the last level, padded for the next one.
        """
        windows: Iterator[torch.Tensor] = row_windows(x, rows)
        for level, style, features in steps:
            rgb = SkipRGB(level.to_rgb, style[2], level.size, x.dtype, rgb, last=level is self.levels[-1])
            windows = level.rows(windows, rows, style, features, rgb)
            rows = 2 * rows + 2
        for x in windows:  # noqa: B007 - the last window is the result
            check_cancel()  # per level, or per strip of the large ones
        return x, rgb

    def _levels(self) -> list[Level]:
        return [level for level in self.levels if isinstance(level, Level)]


Step = tuple[Level, Sequence[torch.Tensor], Features]
