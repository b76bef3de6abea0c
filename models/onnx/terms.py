"""What the values of a GPEN's ONNX graph mean: terms over named axes, in which reshapes and factors have gone.

Convention: a batch of one, which has no axis. An image term's axes are (channel, row, column), a vector's (channel,),
a number's (). A value is a term times a factor, laid out in dimensions that each hold a group of axes in row-major
order; a dimension of one holds none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import GraphNotUnderstoodError


@dataclass(eq=False)
class Axis:
    """A direction of a term. `kind`: "data"; "free", along which a value repeats; "zeros", where all but 0 is zero."""

    size: int
    kind: str = "data"


@dataclass(eq=False)
class Term:
    """A node of the meaning: compared by identity."""

    axes: tuple[Axis, ...]


@dataclass(eq=False)
class Source(Term):
    """The picture that goes in."""


@dataclass(eq=False)
class Noise(Term):
    """N(0,1), drawn anew at every call: what the SR variant takes for features."""


@dataclass(eq=False)
class Leaf(Term):
    """A constant; the array has the term's axes."""

    array: np.ndarray


@dataclass(eq=False)
class Conv(Term):
    """A convolution whose input channels are multiplied by the vectors `ins` and its output channels by `outs`.

    `weight` is [O,I,KH,KW] also where `transposed`; `pads` are (top, bottom, left, right).
    """

    x: Term
    weight: np.ndarray
    stride: int
    pads: tuple[int, int, int, int]
    transposed: bool = False
    ins: tuple[Term, ...] = ()
    outs: tuple[Term, ...] = ()


@dataclass(eq=False)
class Fir(Term):
    """Every channel alike: `up - 1` zeros behind every pixel, `pads` (negative ones crop), then `kernel`.

    `kernel` is correlated, not flipped, sums to 1, and is None before there is one.
    """

    x: Term
    up: int = 1
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
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
    """Every value to the power of `exponent`."""

    x: Term
    exponent: float


@dataclass(eq=False)
class Total(Term):
    """The sum over all axes of `x` that this term has no more."""

    x: Term


@dataclass(eq=False)
class Sum(Term):
    """Terms of the same axes times their factors, plus a constant along the first axis (a number: everywhere)."""

    parts: tuple[tuple[float, Term], ...]
    bias: np.ndarray | None = None


@dataclass(eq=False)
class Concat(Term):
    """Terms times their factors, one behind the other along the first axis."""

    parts: tuple[tuple[float, Term], ...]


@dataclass(eq=False)
class LeakyRelu(Term):
    """max(x, slope·x)."""

    x: Term
    slope: float


@dataclass(eq=False)
class Const:
    """A value that is known: an array times a factor, so that scaling a weight copies nothing."""

    array: np.ndarray
    factor: float = 1.0

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def value(self) -> np.ndarray:
        """The array with its factor."""
        return self.array if self.factor == 1.0 else (self.array * self.array.dtype.type(self.factor))


@dataclass(eq=False)
class Sym:
    """A value that depends on the picture: `factor` times `term`, laid out in `groups`, one a dimension."""

    term: Term
    groups: tuple[tuple[Axis, ...], ...]
    factor: float = 1.0
    shape: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.shape = tuple(math.prod(axis.size for axis in group) for group in self.groups)


Value = Const | Sym


def to_sym(value: Value) -> Sym:
    """A constant as a term with an axis for every dimension above one; what is a term already as it is."""
    if isinstance(value, Sym):
        return value
    groups = tuple((Axis(n),) if n != 1 else () for n in value.shape)
    leaf = Leaf(tuple(axis for group in groups for axis in group), value.array.squeeze())
    return Sym(leaf, groups, value.factor)


def only_axis(value: Sym, dimension: int) -> Axis:
    """The one axis of a dimension."""
    group = value.groups[dimension]
    if len(group) != 1 or group[0].kind != "data":
        raise GraphNotUnderstoodError("a dimension holds several axes where one is needed")
    return group[0]


def times(term: Term, factor: Term, axis: Axis | None) -> Term:
    """Multiply; what follows a convolution becomes part of it, also through a blur, which leaves channels apart."""
    if axis is not None and isinstance(term, Fir) and axis is term.axes[0]:
        inner = term.x
        return replace(term, x=times(inner, factor, inner.axes[0]))
    if axis is not None and isinstance(term, Conv) and axis is term.axes[0]:
        return replace(term, outs=(*term.outs, factor))
    return Times(term.axes, term, factor, axis)


def power(value: Sym, exponent: float) -> Sym:
    """Raise to a power; the powers of square roots and reciprocals merge."""
    if value.factor <= 0 and exponent != 2:
        raise GraphNotUnderstoodError("a root or reciprocal of what may be negative")
    term, merged = value.term, exponent
    if isinstance(term, Power) and term.exponent in (0.5, -0.5, -1):
        term, merged = term.x, exponent * term.exponent
    return replace(value, term=Power(term.axes, term, merged), factor=value.factor**exponent)


def parts_of(value: Sym) -> tuple[tuple[tuple[float, Term], ...], np.ndarray | None]:
    """A value as the parts of a sum and what is added to them."""
    term, factor = value.term, value.factor
    if not isinstance(term, Sum):
        return ((factor, term),), None
    bias = None if term.bias is None else term.bias * factor
    return tuple((part * factor, inner) for part, inner in term.parts), bias
