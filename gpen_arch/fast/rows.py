"""Row strips: the large levels run in little memory, a few rows of all channels at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch

# Activations per strip (at the level of the output size). On a CPU a strip stays in the cache and in memory that the
# allocator reuses; on an accelerator strips only bound the memory, and small ones would leave it idle.
_STRIP_ELEMENTS = {"cpu": 1 << 21}
_STRIP_ELEMENTS_ELSEWHERE = 1 << 26
# Levels up to this many activations run whole, which is simpler and makes the convolutions larger.
_WHOLE_ELEMENTS = {"cpu": 1 << 23}
_WHOLE_ELEMENTS_ELSEWHERE = 1 << 26


def strip_elements(device: torch.device) -> int:
    """Number of activations that one strip may hold on ``device``."""
    return _STRIP_ELEMENTS.get(device.type, _STRIP_ELEMENTS_ELSEWHERE)


def whole_elements(device: torch.device) -> int:
    """Number of activations up to which a map is not split into strips on ``device``."""
    return _WHOLE_ELEMENTS.get(device.type, _WHOLE_ELEMENTS_ELSEWHERE)


class RowStrip:
    """A few rows of a map that is written from top to bottom and read through windows with one row of overlap.

    The producer fills :meth:`next_rows`, the consumer iterates over :meth:`windows`. Between two strips the last two
    rows are carried to the top of the buffer, and one row of zeros lies above and below the map. A strip as high as
    the map gives one window with everything in it.

    Args:
        height: rows of the whole map.
        rows: the most rows that are written at once.
        shape: (N, …) of a row, its axes in memory order: (N, W, C), or (N, 2, W, C) for two alternating maps.
        like: gives dtype and device.
    """

    def __init__(self, height: int, rows: int, shape: tuple[int, ...], like: torch.Tensor) -> None:
        batch, *row = shape
        self.height = height
        self.done = 0  # rows of the map that have been written
        self._buffer = like.new_empty(batch, min(rows, height) + 3, *row)
        self._buffer[:, 0].zero_()
        self._filled = 1  # rows of the buffer in use

    def next_rows(self, count: int) -> torch.Tensor:
        """The next ``count`` rows, to be written in place: [N,count,…]."""
        return self._buffer[:, self._filled : self._filled + count]

    def windows(self, count: int) -> Iterator[torch.Tensor]:
        """Windows [N,n+2,…] of the n rows that have both neighbours now that ``count`` more rows are written.

        Each window overlaps the one before by two rows and is valid until the next step of the iteration.
        """
        self._filled += count
        self.done += count
        if self.done == self.height:
            self._buffer[:, self._filled].zero_()
            self._filled += 1
        if self._filled < 3:
            return
        yield self._buffer[:, : self._filled]
        if self.done < self.height:
            tail = self._buffer[:, self._filled - 2 : self._filled]
            self._buffer[:, :2] = tail.clone() if self._filled < 4 else tail
            self._filled = 2


def row_windows(padded: torch.Tensor, rows: int) -> Iterator[torch.Tensor]:
    """Windows [N,n+2,W,C], n <= ``rows``, of a whole map [N,H+2,W,C] with a row of zeros above and below."""
    height = padded.shape[1] - 2
    for first in range(0, height, rows):
        yield padded[:, first : min(first + rows, height) + 2]
