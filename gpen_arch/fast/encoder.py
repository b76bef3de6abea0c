"""The encoder: strided convolutions down to the vector, the feature maps kept as rows of channels."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from ..cancel import CheckCancel, never_cancelled
from ..config import GPENConfig
from . import resampling
from .folding import SQRT2, Folder
from .resampling import blur_columns, blur_rows, blur_taps, with_blur_before
from .rows import strip_elements, whole_elements
from .styles import Dense


class Features:
    """The feature map of one level, stored: [N,H,W,C]."""

    def __init__(self, data: torch.Tensor) -> None:
        self.data = data
        self.channels = data.shape[3]

    def rows(self, first: int, last: int) -> torch.Tensor:
        """[N or 1,last-first,W,C] of the rows from ``first`` up to ``last``."""
        return self.data[:, first:last]

    def of(self, index: int) -> Features:
        """The features of one batch entry."""
        return self if self.data.shape[0] == 1 else Features(self.data[index : index + 1])


class StemFeatures(Features):
    """The feature map of the input's own size, computed anew where it is asked for: cheaper than keeping it."""

    def __init__(self, stem: Stem, image: torch.Tensor) -> None:
        self.stem = stem
        self.image = image  # [N,3,H,W], channels last
        self.channels = stem.bias.numel()

    def rows(self, first: int, last: int) -> torch.Tensor:
        return self.stem(self.image[:, :, first:last])

    def of(self, index: int) -> Features:
        return StemFeatures(self.stem, self.image[index : index + 1])


class Stem(nn.Module):
    """RGB to the channels of the first level: 1×1 convolution, leaky ReLU."""

    def __init__(self, folder: Folder, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(folder.conv("ecd0.0.0.weight", dtype), requires_grad=False)
        self.bias = nn.Parameter(folder.bias("ecd0.0.1.bias").to(dtype), requires_grad=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """[N,3,n,W], channels last -> [N,n,W,C]."""
        return F.leaky_relu_(F.conv2d(image, self.weight, self.bias), 0.2).permute(0, 2, 3, 1)


class Down(nn.Module):
    """Blur, 3×3 convolution of stride 2, leaky ReLU: one level of the encoder."""

    taps: torch.Tensor

    def __init__(self, folder: Folder, level: int, dtype: torch.dtype) -> None:
        super().__init__()
        weight = folder.conv(f"ecd{level}.0.1.weight", dtype)
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = nn.Parameter(folder.bias(f"ecd{level}.0.2.bias").to(dtype), requires_grad=False)
        self.register_buffer("taps", blur_taps(dtype))

    def forward(
        self, above: Features, batch: int, size: int, check_cancel: CheckCancel = never_cancelled
    ) -> torch.Tensor:
        """Features of ``size`` px -> [N,size/2,size/2,C], in strips of rows where they are large."""
        half = size // 2
        out = self.weight.new_empty(batch, half, half, self.weight.shape[0])
        row = batch * size * above.channels
        device = self.weight.device
        whole = row * size <= whole_elements(device)
        rows = half if whole else max(4, strip_elements(device) // row // 2)
        merged = resampling.merges_blurs(device)
        weight = with_blur_before(self.weight, self.taps) if merged else self.weight
        for first in range(0, half, rows):
            check_cancel()
            last = min(first + rows, half)
            # output row r reads blurred rows 2r … 2r+2, and these the rows 2r-2 … 2r+3 of the features
            top, bottom = 2 * first - 2, 2 * last + 2
            x = above.rows(max(top, 0), min(bottom, size)).permute(0, 3, 1, 2)
            if top < 0 or bottom > size:
                x = F.pad(x, (0, 0, max(-top, 0), max(bottom - size, 0)))
            if merged:
                y = F.conv2d(x, weight, self.bias, stride=2, padding=(0, 2))
            else:
                y = F.conv2d(blur_columns(blur_rows(x, self.taps), self.taps, pad=2), weight, self.bias, stride=2)
            torch.ops.aten.leaky_relu.out(y.permute(0, 2, 3, 1), 0.2, out=out[:, first:last])
        return out


class Encoder(nn.Module):
    """Image -> the style network's input and the features of every level."""

    def __init__(self, folder: Folder, config: GPENConfig, dtype: torch.dtype) -> None:
        super().__init__()
        self.size = config.in_size
        self.stem = Stem(folder, dtype)
        levels = sum(size < config.in_size for size in config.levels)
        self.downs = nn.ModuleList(Down(folder, k + 1, dtype) for k in range(levels))
        self.vector = Dense(*folder.linear("final_linear.0", gain=SQRT2))

    def forward(
        self, image: torch.Tensor, check_cancel: CheckCancel = never_cancelled
    ) -> tuple[torch.Tensor, list[Features]]:
        """[N,3,in,in] -> z [N,style] float32; features of 4, 8, … in_size px."""
        image = image.to(self.stem.weight.dtype, memory_format=torch.channels_last)
        top = StemFeatures(self.stem, image)
        features: list[Features] = [top]
        size = self.size
        if image.shape[0] * size * size * top.channels <= whole_elements(image.device):
            features[0] = Features(top.rows(0, size))
        for down in self.downs:
            features.insert(0, Features(down(features[0], image.shape[0], size, check_cancel)))
            size //= 2
        last = features[0].rows(0, 4)
        return self.vector(last.permute(0, 3, 1, 2).reshape(last.shape[0], -1)), features
