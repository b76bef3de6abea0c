"""Match the frames of a swapped video to the original ones, some of which the swap may have dropped."""

from __future__ import annotations

import torch
from torch import Tensor

SAMPLES = 96  # points per side of a frame that are compared, or every pixel of smaller frames
TOLERANCE = 3 / 255  # larger differences saturate: a swapped face must not outweigh a moved scene
AT_ONCE = 32  # frames compared at a time: 32 × 9216 points × 3 channels are 3.5 MB


def match_frames(images: Tensor, originals: Tensor) -> list[int | None]:
    """The index of each image's original, or None.

    Frames of another size have no original. Equal counts are matched one to one, without looking at the pixels.
    Otherwise the shorter batch is aligned to the longer one, in order, with the smallest total difference: dropped
    frames leave originals unmatched; surplus images get None.

    A frame and its original agree up to rounding except in the swapped faces, and adjacent frames of a video hardly
    differ. So single points are compared, not averages (noise and slow motion distinguish neighbours), and differences
    are weighted by the Geman-McClure function d² / (d² + tau²), which a large one (the swap) cannot dominate. Compares
    9216 points per frame, whatever its size.

    Args:
        images: (N, H, W, C), [0, 1], any float dtype and device; the first three channels are compared.
        originals: (M, H', W', C'), likewise.
    """
    count, available = len(images), len(originals)
    if tuple(images.shape[1:3]) != tuple(originals.shape[1:3]) or available == 0:
        return [None] * count
    if count == available:
        return list(range(count))
    channels = min(3, images.shape[3], originals.shape[3])
    few, many = sorted((_points(images, channels), _points(originals, channels)), key=len)
    places = _lay_into(_differences(few, many))
    if count < available:
        return list(places)
    partners: list[int | None] = [None] * count
    for original, image in enumerate(places):
        partners[image] = original
    return partners


def _points(frames: Tensor, channels: int) -> Tensor:
    """(N, H, W, C) -> (N, points, channels) float32 on the CPU: single pixels on a regular grid, per frame."""
    height, width = frames.shape[1:3]
    rows, columns = (_even_indexes(n).to(frames.device) for n in (height, width))
    points = torch.empty(len(frames), len(rows) * len(columns), channels, dtype=torch.float32, device="cpu")
    for index, frame in enumerate(frames):
        points[index] = frame[rows][:, columns, :channels].reshape(-1, channels).float().nan_to_num().cpu()
    return points


def _even_indexes(size: int) -> Tensor:
    """At most ``SAMPLES`` indexes of ``0 … size - 1``, evenly spaced and centred."""
    count = min(size, SAMPLES)
    return ((torch.arange(count, dtype=torch.float32, device="cpu") + 0.5) * (size / count)).long()


def _differences(few: Tensor, many: Tensor) -> Tensor:
    """(n, points, C) and (m, points, C), n <= m -> (n, m - n + 1): row i compares ``few[i]`` with ``many[i + k]``.

    The order is kept and the shorter batch has no gaps, so frame i can only match i to i + m - n.
    """
    slack = len(many) - len(few)
    costs = torch.empty(len(few), slack + 1, dtype=torch.float32, device="cpu")
    for i, points in enumerate(few):
        for start in range(0, slack + 1, AT_ONCE):
            stop = min(start + AT_ONCE, slack + 1)
            squares = (many[i + start : i + stop] - points).square_()  # [k,points,C]
            squares = sum(
                squares.unbind(dim=2), torch.zeros((), dtype=torch.float32, device="cpu")
            )  # three times as fast as .sum(dim=2)
            costs[i, start:stop] = 1 - (TOLERANCE**2 / (squares + TOLERANCE**2)).mean(dim=1)
    return costs


def _lay_into(costs: Tensor) -> list[int]:
    """Strictly increasing indexes into the longer batch, one per row of ``costs``, with the smallest total cost.

    ``costs`` is what :func:`_differences` returns; ties go to the front. Dynamic programming: best[k] is the smallest
    cost so far with the current frame matched k places beyond its own index; k never decreases.
    """
    best = torch.zeros(costs.shape[1], dtype=torch.float64, device="cpu")
    choices = []
    for row in costs.double():
        best, choice = torch.cummin(best, dim=0)  # the row before has the same k or a smaller one
        choices.append(choice)
        best = best + row
    k = int(best.argmin())
    places = []
    for index in range(len(costs) - 1, -1, -1):
        places.append(index + k)
        k = int(choices[index][k])
    return places[::-1]
