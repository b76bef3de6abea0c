"""Where a tensor lies in a weight file: its shape is known before it is read, and it is mapped rather than copied."""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence
from dataclasses import dataclass

import torch

_MOST_DIMENSIONS = 16


class DamagedError(ValueError):
    """The bytes contradict themselves; the message says where, without a full stop and without quoting the file."""


@dataclass(frozen=True)
class TensorRecord:
    """A tensor inside a file, checked to lie within its storage.

    Args:
        dtype: the stored element type.
        shape: sizes.
        stride: distance between neighbours per dimension, in elements.
        start: offset of the first element in the file, in bytes.
        span: bytes from the first element to the end of the last one.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    start: int
    span: int

    @property
    def numel(self) -> int:
        """How many elements it has."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """What its elements take, in bytes."""
        return self.numel * self.dtype.itemsize

    def empty(self) -> torch.Tensor:
        """A meta tensor of this shape and dtype, without memory."""
        return torch.empty(self.shape, dtype=self.dtype, device="meta")

    def read(self, data: mmap.mmap) -> torch.Tensor:
        """The tensor as a view of the mapped file; a copy where the file does not align it to its element size.

        Args:
            data: the file, mapped with ``mmap.ACCESS_COPY``; it stays mapped for as long as the view lives.
        """
        if not self.numel:
            return torch.empty(self.shape, dtype=self.dtype)
        if self.start % self.dtype.itemsize == 0:
            flat = torch.frombuffer(data, dtype=self.dtype, count=self.span // self.dtype.itemsize, offset=self.start)
        else:
            copied = torch.frombuffer(data, dtype=torch.uint8, count=self.span, offset=self.start).clone()
            flat = copied.view(self.dtype)
            if hasattr(mmap, "MADV_DONTNEED"):  # the mapped pages are of no more use and count as our memory
                page = self.start - self.start % mmap.PAGESIZE
                data.madvise(mmap.MADV_DONTNEED, page, self.start + self.span - page)
        return flat.as_strided(self.shape, self.stride)


def locate(
    dtype: torch.dtype, shape: Sequence[object], stride: Sequence[object] | None, offset: object, start: int, end: int
) -> TensorRecord:
    """The record of a tensor in the storage at bytes ``start``…``end`` of a file.

    Args:
        dtype, shape: of the tensor.
        stride: in elements; None: contiguous.
        offset: of the first element in the storage, in elements.
        start, end: the storage's bytes in the file.

    Raises:
        DamagedError: a size that is no whole number, or elements outside of the storage.
    """
    sizes = _whole_numbers(shape)
    steps = _contiguous(sizes) if stride is None else _whole_numbers(stride)
    (first,) = _whole_numbers([offset])
    if len(steps) != len(sizes):
        raise DamagedError("a tensor has more sizes than strides, or fewer")
    count = math.prod(sizes)
    span = sum((size - 1) * step for size, step in zip(sizes, steps, strict=True)) + 1 if count else 0
    # an expanded tensor (stride 0) would turn a few bytes into any number of elements
    if (first + max(span, count)) * dtype.itemsize > end - start:
        raise DamagedError("a tensor reaches beyond its storage")
    return TensorRecord(dtype, sizes, steps, start + first * dtype.itemsize, span * dtype.itemsize)


def _whole_numbers(values: Sequence[object]) -> tuple[int, ...]:
    numbers = tuple(value for value in values if type(value) is int and 0 <= value < 1 << 48)
    if len(numbers) != len(values) or len(numbers) > _MOST_DIMENSIONS:
        raise DamagedError("the shape of a tensor is not a list of a few whole numbers")
    return numbers


def _contiguous(sizes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(sizes[axis + 1 :]) for axis in range(len(sizes)))
