"""What the values of a GPEN's graph are: terms over named axes, free of layout and of constant factors.

Convention: a batch of one, which has no axis. The axes of a feature map are (channel, row, column), those of a vector
(channel,), those of a number (). A value is a factor times a term, laid out in dimensions that each hold a group of
axes in row-major order; a dimension of size one holds none. Terms are compared by identity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from ..errors import GraphNotUnderstoodError

Kind = TypeVar("Kind")
Parts = tuple[tuple[float, "Term"], ...]


@dataclass(eq=False)
class Axis:
    """A direction of a term. `kind`: "data"; "free", along which a value repeats; "zeros", zero everywhere but at 0."""

    size: int
    kind: str = "data"


@dataclass(eq=False)
class Term:
    axes: tuple[Axis, ...]

    def __str__(self) -> str:
        return f"{type(self).__name__} of {'×'.join(str(axis.size) for axis in self.axes) or 'one number'}"


@dataclass(eq=False)
class Source(Term):
    """The input image."""


@dataclass(eq=False)
class Noise(Term):
    """N(0,1), drawn at every call: the SR variant has it in place of features."""


@dataclass(eq=False)
class Leaf(Term):
    """A constant; the array has the term's axes."""

    array: np.ndarray


@dataclass(eq=False)
class Conv(Term):
    """A convolution; its input channels are scaled by the vectors `ins`, its output channels by `outs`.

    `weight` is [O,I,KH,KW], also where `transposed`; `pads` are (top, bottom, left, right).
    """

    x: Term
    weight: np.ndarray
    stride: int
    pads: tuple[int, ...]
    transposed: bool = False
    ins: tuple[Term, ...] = ()
    outs: tuple[Term, ...] = ()


@dataclass(eq=False)
class Fir(Term):
    """upfirdn per channel: `up - 1` zeros behind every row and column, then `pads` (negative: crop), then `kernel`.

    `up` is (rows, columns). `kernel` is correlated, not flipped; it sums to 1, and is None where there is none yet.
    """

    x: Term
    up: tuple[int, int] = (1, 1)
    pads: tuple[int, ...] = (0, 0, 0, 0)
    kernel: np.ndarray | None = None


@dataclass(eq=False)
class Linear(Term):
    """`weight` [O,I] times a term, flattened in the order of its axes."""

    x: Term
    weight: np.ndarray


@dataclass(eq=False)
class Times(Term):
    """A term times a vector along one of its axes, or times a number (`axis` None)."""

    x: Term
    factor: Term
    axis: Axis | None


@dataclass(eq=False)
class Power(Term):
    x: Term
    exponent: float


@dataclass(eq=False)
class Total(Term):
    """The sum over the axes of `x` that this term lacks."""

    x: Term


@dataclass(eq=False)
class Sum(Term):
    """Terms of the same axes times their factors, plus a constant per channel (`bias`; a number: for all)."""

    parts: Parts
    bias: np.ndarray | None = None


@dataclass(eq=False)
class Concat(Term):
    """Terms times their factors, joined along the first axis."""

    parts: Parts


@dataclass(eq=False)
class LeakyRelu(Term):
    x: Term
    slope: float


@dataclass(eq=False)
class Const:
    """A known value: an array times a factor, so that scaling a weight copies nothing."""

    array: np.ndarray
    factor: float = 1.0

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def value(self) -> np.ndarray:
        """The array times its factor."""
        return self.array if self.factor == 1.0 else self.array * self.array.dtype.type(self.factor)

    @property
    def number(self) -> float | None:
        """The one number that all values are (looked at up to 4096), or None."""
        if not 0 < self.array.size <= 4096 or not (self.array == self.array.flat[0]).all():
            return None
        return float(self.array.flat[0]) * self.factor


@dataclass(eq=False)
class Sym:
    """A value that depends on the image: `factor` times `term`, laid out in `groups`, one per dimension."""

    term: Term
    groups: tuple[tuple[Axis, ...], ...]
    factor: float = 1.0

    def __post_init__(self) -> None:
        self.shape = tuple(math.prod(axis.size for axis in group) for group in self.groups)

    @property
    def flat(self) -> list[Axis]:
        """Its axes in row-major order."""
        return [axis for group in self.groups for axis in group]

    @property
    def places(self) -> list[list[int]]:
        """Per dimension, which of the term's axes it holds."""
        return [[self.term.axes.index(axis) for axis in group] for group in self.groups]

    def of_rank(self, rank: int) -> Sym:
        """With dimensions of one in front, as broadcasting adds them."""
        return replace(self, groups=((),) * (rank - len(self.groups)) + self.groups)


Value = Const | Sym


def require(holds: object, message: str) -> None:
    """Raise GraphNotUnderstoodError unless something holds."""
    if not holds:
        raise GraphNotUnderstoodError(message)


def expect(term: object, kind: type[Kind], what: str) -> Kind:
    """The term, which must be of a kind."""
    if not isinstance(term, kind):
        raise GraphNotUnderstoodError(f"{what} is no {kind.__name__} but {term}")
    return term


def to_sym(value: Value) -> Sym:
    """A constant as a term with an axis per dimension above one; a Sym as it is."""
    if isinstance(value, Sym):
        return value
    groups = tuple((Axis(n),) if n != 1 else () for n in value.shape)
    return Sym(Leaf(tuple(axis for group in groups for axis in group), value.array.squeeze()), groups, value.factor)


def parts_of(term: Term, factor: float = 1.0) -> tuple[Parts, np.ndarray | None]:
    """A term times a factor as the parts of a sum and its bias."""
    if not isinstance(term, Sum):
        return ((factor, term),), None
    bias = None if term.bias is None else term.bias * factor
    return tuple((part * factor, inner) for part, inner in term.parts), bias
