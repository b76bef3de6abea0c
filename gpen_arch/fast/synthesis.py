"""The synthesis network: small levels whole and for the batch, large ones an entry at a time in strips of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from ..cancel import CheckCancel, never_cancelled
from ..config import GPENConfig
from .encoder import Features
from .folding import Folder
from .level import Injection, Level
from .modulated import ModulatedConv
from .rgb import Picture, ToRGB
from .rows import row_windows, strip_elements, whole_elements
from .styles import Styles


class Synthesis(nn.Module):
    """Style vector and features -> picture; the counterpart of the reference's ``Generator``."""

    constant: torch.Tensor

    def __init__(self, folder: Folder, config: GPENConfig, dtype: torch.dtype) -> None:
        super().__init__()
        base = config.channels[0]
        constant = folder.scaled("generator.input.input").permute(0, 2, 3, 1)  # [1,4,4,C]
        constant = nn.functional.pad(constant, (0, 0, 0, 0, 1, 1))  # a row of zeros above and below
        self.register_buffer("constant", constant.to(dtype))
        self.conv = ModulatedConv(folder, "generator.conv1", base, dtype, up=False, scale_weights=False)
        self.inject = Injection(folder, "generator.conv1", base, dtype, concat=config.concat)
        self.rgb = ToRGB(folder, "generator.to_rgb1")
        self.width = base * (2 if config.concat else 1)
        self.levels = nn.ModuleList(Level(folder, config, i, dtype) for i in range(len(config.levels) - 1))
        prefixes = ["generator.conv1", "generator.to_rgb1"]
        for i in range(len(self.levels)):
            prefixes += [f"generator.convs.{2 * i}", f"generator.convs.{2 * i + 1}", f"generator.to_rgbs.{i}"]
        self.styles = Styles(folder, config.mapping_layers, prefixes)

    def forward(
        self, z: torch.Tensor, features: Sequence[Features], check_cancel: CheckCancel = never_cancelled
    ) -> torch.Tensor:
        """[N,style] float32 and the features of 4, 8, … out_size px -> [N,3,out,out] float32."""
        styles = self.styles(z)
        batch, dtype = z.shape[0], self.constant.dtype
        x = self.constant.new_zeros(batch, 6, 4, self.width)
        y = self.conv.prepare(styles[0])(self.constant.expand(batch, -1, -1, -1))
        self.inject(y, features[0].rows(0, 4), x[:, 1:5])
        picture = Picture(self.rgb, styles[1], 4, dtype, None, last=False)
        picture.add(x[:, 1:5])

        per_level = [styles[i : i + 3] for i in range(2, len(styles), 3)]
        todo: list[Step] = list(zip(self._levels(), per_level, features[1:], strict=True))
        while todo and not todo[0][0].scale_weights:
            x, picture = self._run([todo.pop(0)], x, picture, x.shape[2], check_cancel)
        if not todo:
            return picture.data
        out = []
        for n in range(batch):
            one: list[Step] = [(level, [s[n : n + 1] for s in style], f.of(n)) for level, style, f in todo]
            out.append(self._one(one, x[n : n + 1], picture.of(n), check_cancel))
        return torch.cat(out) if batch > 1 else out[0]

    def _one(self, todo: list[Step], x: torch.Tensor, picture: Picture, check_cancel: CheckCancel) -> torch.Tensor:
        """The remaining levels of one entry: whole ones one after the other, then the large ones together."""
        while todo and todo[0][0].activations <= whole_elements(x.device):
            x, picture = self._run([todo.pop(0)], x, picture, x.shape[2], check_cancel)
        if todo:
            per_row = max(level.activations // x.shape[2] for level, _, _ in todo)
            rows = min(x.shape[2], max(4, strip_elements(x.device) // per_row))
            _, picture = self._run(todo, x, picture, rows, check_cancel)
        return picture.data

    def _run(
        self, steps: Sequence[Step], x: torch.Tensor, picture: Picture, rows: int, check_cancel: CheckCancel
    ) -> tuple[torch.Tensor, Picture]:
        """Levels over [N,S+2,S,C] (zero rows at both ends), ``rows`` at a time -> the last window, the last picture.

        With all S rows at a time the window is the whole map of the last level, bordered for the next one.
        """
        windows: Iterator[torch.Tensor] = row_windows(x, rows)
        for level, style, features in steps:
            picture = Picture(level.rgb, style[2], level.size, x.dtype, picture, last=level is self.levels[-1])
            windows = level.rows(windows, rows, style, features, picture)
            rows = 2 * rows + 2
        for x in windows:  # noqa: B007 - the last window is the result
            check_cancel()  # after every level, or every strip of the large ones
        return x, picture

    def _levels(self) -> list[Level]:
        return [level for level in self.levels if isinstance(level, Level)]


Step = tuple[Level, Sequence[torch.Tensor], Features]
