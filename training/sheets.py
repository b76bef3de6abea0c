"""Sample sheets: grids of pictures for visual inspection."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image


def write_sheet(path: Path, columns: list[torch.Tensor], rows: int | None = None) -> None:
    """Write a grid of pictures: column c of row r is ``columns[c][r]``.

    Args:
        path: a PNG or JPEG; overwritten.
        columns: [N,3,S,S] in [0,1] each, all of one size.
        rows: number of rows; None: all.

    Raises:
        ValueError: no columns, or different shapes.
    """
    if not columns or any(column.shape != columns[0].shape for column in columns):
        raise ValueError(f"expected columns of one shape, got {[list(column.shape) for column in columns]}")
    pictures = torch.stack(columns)[:, :rows].clamp(0, 1)  # [columns,rows,3,S,S]
    c, r, _, h, w = pictures.shape
    sheet = pictures.permute(1, 3, 0, 4, 2).reshape(r * h, c * w, 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((sheet * 255).round().byte().cpu().numpy()).save(path, quality=92)
