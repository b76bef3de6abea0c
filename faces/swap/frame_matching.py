"""Which frame of a video is the original of which: a swap may have dropped some on the way."""

from __future__ import annotations

import torch
from torch import Tensor

SAMPLES = 96  # points along either side of a frame that are compared, or every pixel where there are fewer
TOLERANCE = 3 / 255  # larger differences count more and more alike: a swapped face must not outweigh a moved scene
AT_ONCE = 32  # frames compared in one go: 32 × 9216 points × 3 channels are 3.5 MB


def match_frames(images: Tensor, originals: Tensor) -> list[int | None]:
    """For every image the index of its original, or None.

    images, originals: (N, H, W, C) and (M, H', W', C'), [0, 1], any float type and device; the first three channels
        are compared.

    Frames of another size have no partner. Equal counts belong together one by one, unseen. Otherwise the shorter batch
    is laid into the longer one, in order, with the smallest difference in all: dropped frames leave originals over;
    surplus images get None.

    A frame and its original agree up to rounding except in the swapped faces, and neighbours of a video hardly differ
    at all: so single points are compared, not averages (noise and slow motion tell neighbours apart), and a
    difference counts by the Geman-McClure function d² / (d² + tau²), which a large one (the swap) cannot dominate.
    Looks at 9216 points a frame, whatever its size.
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
    """(N, H, W, C) -> (N, points, channels) float32 on the CPU: single pixels on an even grid, read frame by frame."""
    height, width = frames.shape[1:3]
    rows, columns = (_even_indexes(n).to(frames.device) for n in (height, width))
    points = torch.empty(len(frames), len(rows) * len(columns), channels, dtype=torch.float32, device="cpu")
    for index, frame in enumerate(frames):
        points[index] = frame[rows][:, columns, :channels].reshape(-1, channels).float().nan_to_num().cpu()
    return points


def _even_indexes(size: int) -> Tensor:
    """At most ``SAMPLES`` of ``0 … size - 1``, evenly spread, as far from either end."""
    count = min(size, SAMPLES)
    return ((torch.arange(count, dtype=torch.float32, device="cpu") + 0.5) * (size / count)).long()


def _differences(few: Tensor, many: Tensor) -> Tensor:
    """(n, points, C) and (m, points, C), n <= m -> (n, m - n + 1): row i compares ``few[i]`` with ``many[i + k]``.

    In order and without gaps in the shorter batch, frame i can only lie between i and i + m - n.
    """
    slack = len(many) - len(few)
    costs = torch.empty(len(few), slack + 1, dtype=torch.float32, device="cpu")
    for i, points in enumerate(few):
        for start in range(0, slack + 1, AT_ONCE):
            stop = min(start + AT_ONCE, slack + 1)
            squares = (many[i + start : i + stop] - points).square_()  # [k,points,C]
            squares = sum(
                squares.unbind(dim=2), torch.zeros((), dtype=torch.float32, device="cpu")
            )  # three times as quick as .sum(dim=2)
            costs[i, start:stop] = 1 - (TOLERANCE**2 / (squares + TOLERANCE**2)).mean(dim=1)
    return costs


def _lay_into(costs: Tensor) -> list[int]:
    """Rising places of every row with the smallest sum; ``costs`` as ``_differences`` gives them, ties to the front.

    Dynamic programming: best[k] is the smallest sum so far with the current frame k places behind its own index, and k
    never falls.
    """
    best = torch.zeros(costs.shape[1], dtype=torch.float64, device="cpu")
    choices = []
    for row in costs.double():
        best, choice = torch.cummin(best, dim=0)  # the row before may lie at the same k or at a smaller one
        choices.append(choice)
        best = best + row
    k = int(best.argmin())
    places = []
    for index in range(len(costs) - 1, -1, -1):
        places.append(index + k)
        k = int(choices[index][k])
    return places[::-1]
