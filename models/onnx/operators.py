"""Operations of an ONNX graph that compute: what they make of a GPEN's values, as terms.

Every rule is exact: the term that it returns means what the node computes, or it says why it does not know.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ..errors import GraphNotUnderstoodError
from .convolution import convolve
from .folding import axes_of
from .program import Node
from .terms import (
    Axis,
    Concat,
    Const,
    LeakyRelu,
    Linear,
    Noise,
    Power,
    Sum,
    Sym,
    Total,
    Value,
    only_axis,
    parts_of,
    power,
    times,
    to_sym,
)  # fmt: skip


def compute(node: Node, args: Sequence[Value | None]) -> Value:
    """The result of a node of which at least one operand depends on the picture."""
    rule = _RULES.get(node.op)
    if rule is None:
        raise GraphNotUnderstoodError(f"{node} is an operation that GPEN has no use for")
    if node.op not in ("Mul", "Div"):  # zeros and copies that wait for their reshape may be scaled, nothing else
        for arg in args:
            if isinstance(arg, Sym) and any(axis.kind != "data" for group in arg.groups for axis in group):
                raise GraphNotUnderstoodError(f"{node} computes with repeated values")
    return rule(node, args)


def number_of(value: Value | None) -> float | None:
    """The number that a constant of one value, or of equal values, is."""
    if not isinstance(value, Const) or value.array.size == 0:
        return None
    first = value.array.flat[0]
    if value.array.size > 1 and (value.array.size > 4096 or not (value.array == first).all()):
        return None
    return float(first) * value.factor


def _two(node: Node, args: Sequence[Value | None]) -> tuple[Value, Value]:
    a, b = args
    if a is None or b is None:
        raise GraphNotUnderstoodError(f"{node} misses an operand")
    return a, b


def _mul(node: Node, args: Sequence[Value | None]) -> Value:
    a, b = _two(node, args)
    for one, other in ((a, b), (b, a)):
        number = number_of(other) if isinstance(one, Sym) else None
        if number is not None and isinstance(one, Sym) and _fits(other.shape, one.shape):
            rank = max(len(other.shape), len(one.shape))
            return replace(one, factor=one.factor * number, groups=((),) * (rank - len(one.shape)) + one.groups)
    return _product(node, to_sym(a), to_sym(b))


def _fits(small: Sequence[int], large: Sequence[int]) -> bool:
    """Whether one shape is broadcast to the other and adds nothing but dimensions of one."""
    rank = max(len(small), len(large))
    small, large = [1] * (rank - len(small)) + list(small), [1] * (rank - len(large)) + list(large)
    return all(s in (1, l) for s, l in zip(small, large, strict=True))


def _product(node: Node, a: Sym, b: Sym) -> Sym:
    rank = max(len(a.groups), len(b.groups))
    a, b = (replace(v, groups=((),) * (rank - len(v.groups)) + v.groups) for v in (a, b))
    factor = a.factor * b.factor
    if a.term is b.term and a.groups == b.groups:
        return replace(a, term=Power(a.term.axes, a.term, 2), factor=factor)
    for one, other in ((a, b), (b, a)):
        if len(other.term.axes) > 1 or not _fits(other.shape, one.shape):
            continue
        at = [i for i, group in enumerate(other.groups) if group]
        axis = only_axis(one, at[0]) if at else None
        if axis is None or axis in one.term.axes:
            return replace(one, term=times(one.term, other.term, axis), factor=factor)
    raise GraphNotUnderstoodError(f"{node} multiplies {list(a.shape)} by {list(b.shape)}")


def _div(node: Node, args: Sequence[Value | None]) -> Value:
    a, b = _two(node, args)
    if isinstance(b, Sym):
        return _mul(node, [a, power(b, -1)])
    number = number_of(b)
    if not number:
        raise GraphNotUnderstoodError(f"{node} divides by a tensor")
    return _mul(node, [a, Const(np.array(1 / number))])


def _add(node: Node, args: Sequence[Value | None]) -> Value:
    a, b = _two(node, args)
    if isinstance(a, Const):
        a, b = b, a
    assert isinstance(a, Sym)
    if isinstance(b, Const) and sum(n > 1 for n in b.shape) <= 1 and _fits(b.shape, a.shape):
        return _add_vector(node, a, b)
    return _add_term(node, a, to_sym(b))


def _sub(node: Node, args: Sequence[Value | None]) -> Value:
    a, b = _two(node, args)
    return _add(node, [a, replace(b, factor=-b.factor)])


def _add_vector(node: Node, a: Sym, b: Const) -> Sym:
    vector = b.value.astype(np.float64)
    groups = ((),) * (vector.ndim - len(a.groups)) + a.groups
    at = [i + len(groups) - vector.ndim for i, n in enumerate(vector.shape) if n > 1]
    if at and groups[at[0]] != a.term.axes[:1]:
        raise GraphNotUnderstoodError(f"{node} adds a vector along something else than the channels")
    parts, bias = parts_of(a)
    vector = vector.ravel() if at else vector.reshape(())
    return Sym(Sum(a.term.axes, parts, vector if bias is None else bias + vector), groups)


def _add_term(node: Node, a: Sym, b: Sym) -> Sym:
    places = [[[v.term.axes.index(axis) for axis in group] for group in v.groups] for v in (a, b)]
    if a.shape != b.shape or places[0] != places[1]:
        raise GraphNotUnderstoodError(f"{node} adds {list(a.shape)} and {list(b.shape)}")
    (parts, bias), (more, also) = parts_of(a), parts_of(b)
    both = bias if also is None else also if bias is None else bias + also
    return Sym(Sum(a.term.axes, parts + more, both), a.groups)


def _pow(node: Node, args: Sequence[Value | None]) -> Value:
    base, exponent = _two(node, args)
    number = number_of(exponent)
    if not isinstance(base, Sym) or number not in (2, 0.5, -0.5, -1):
        raise GraphNotUnderstoodError(f"{node} raises to a power that GPEN has no use for")
    return power(base, number)


def _power_of(exponent: float) -> Callable[[Node, Sequence[Value | None]], Value]:
    return lambda node, args: power(to_sym(args[0] or Const(np.zeros(0))), exponent)


def _reduce(node: Node, args: Sequence[Value | None]) -> Value:
    x = args[0]
    assert isinstance(x, Sym)
    axes = axes_of(node, [None, *(arg.value if isinstance(arg, Const) else None for arg in args[1:])])
    nothing_is_all = not node.attribute("noop_with_empty_axes", 0)
    if not axes and not (axes is None and nothing_is_all):
        raise GraphNotUnderstoodError(f"{node} sums over no dimension")
    rank = len(x.groups)
    gone = set(range(rank)) if axes is None else {axis % rank for axis in axes}
    count = math.prod(x.shape[i] for i in gone)
    if node.op == "ReduceSumSquare":
        x = power(x, 2)
    summed = [axis for i in gone for axis in x.groups[i]]
    kept = bool(node.attribute("keepdims", 1))
    groups = tuple(() if i in gone else g for i, g in enumerate(x.groups) if kept or i not in gone)
    term = Total(tuple(axis for axis in x.term.axes if axis not in summed), x.term)
    return Sym(term if summed else x.term, groups, x.factor / (count if node.op == "ReduceMean" else 1))


def _matmul(node: Node, args: Sequence[Value | None]) -> Value:
    a, b = _two(node, args)
    if isinstance(a, Sym) and isinstance(b, Const) and b.array.ndim == 2:
        return _linear(node, a, b.array.T, b.factor, len(a.groups) - 1)
    if isinstance(b, Sym) and isinstance(a, Const) and a.array.ndim == 2 and len(b.groups) > 1:
        return _linear(node, b, a.array, a.factor, len(b.groups) - 2)
    raise GraphNotUnderstoodError(f"{node} multiplies {list(a.shape)} by {list(b.shape)}")


def _linear(node: Node, x: Sym, weight: np.ndarray, factor: float, dimension: int) -> Sym:
    """`weight` [O,I] times what lies in one dimension; the others are one."""
    if x.groups[dimension] != x.term.axes or x.shape[dimension] != weight.shape[1]:
        raise GraphNotUnderstoodError(f"{node} multiplies a matrix by what is no vector")
    out = (Axis(weight.shape[0]),)
    groups = tuple(out if i == dimension else () for i in range(len(x.groups)))
    return Sym(Linear(out, x.term, weight), groups, x.factor * factor)


def _gemm(node: Node, args: Sequence[Value | None]) -> Value:
    x, weight = _two(node, args[:2])
    if not isinstance(x, Sym) or not isinstance(weight, Const) or node.attribute("transA", 0):
        raise GraphNotUnderstoodError(f"{node} multiplies by a matrix that is computed")
    array = weight.array if node.attribute("transB", 0) else weight.array.T
    result = _linear(node, x, array, weight.factor * node.attribute("alpha", 1.0), 1)
    bias, beta = args[2] if len(args) > 2 else None, node.attribute("beta", 1.0)
    if bias is None or beta == 0:
        return result
    return _add(node, [result, replace(bias, factor=bias.factor * beta)])


def _leaky_relu(node: Node, args: Sequence[Value | None]) -> Value:
    x = args[0]
    slope = number_of(args[1]) if node.op == "PRelu" else node.attribute("alpha", 0.01)
    if not isinstance(x, Sym) or slope is None or x.factor <= 0:
        raise GraphNotUnderstoodError(f"{node} is not the leaky ReLU of GPEN")
    return replace(x, term=LeakyRelu(x.term.axes, x.term, slope))


def _concat(node: Node, args: Sequence[Value | None]) -> Value:
    parts = [to_sym(arg) for arg in args if arg is not None]
    axis = node.attribute("axis") % len(parts[0].groups)
    first, size = parts[0], 0
    for part in parts:
        places = [[part.term.axes.index(a) for a in group] for group in part.groups]
        same = part.shape[:axis] + part.shape[axis + 1 :] == first.shape[:axis] + first.shape[axis + 1 :]
        if not same or places[axis] != [0] or places != [[first.term.axes.index(a) for a in g] for g in first.groups]:
            raise GraphNotUnderstoodError(f"{node} joins something else than channels")
        size += part.shape[axis]
    channels = Axis(size)
    term = Concat((channels, *first.term.axes[1:]), tuple((part.factor, part.term) for part in parts))
    return Sym(term, (*first.groups[:axis], (channels,), *first.groups[axis + 1 :]))


def noise(node: Node, args: Sequence[Value | None]) -> Value:
    """A draw from N(0,1)."""
    if node.attribute("mean", 0.0) != 0 or node.attribute("scale", 1.0) != 1:
        raise GraphNotUnderstoodError(f"{node} draws from something else than N(0,1)")
    node.attribute("seed")
    node.attribute("dtype")
    shape = args[0].shape if args and args[0] is not None else node.attribute("shape", [])
    groups = tuple((Axis(int(n)),) if n != 1 else () for n in shape)
    return Sym(Noise(tuple(axis for group in groups for axis in group)), groups)


_RULES: dict[str, Callable[[Node, Sequence[Value | None]], Value]] = {
    "Mul": _mul, "Div": _div, "Add": _add, "Sub": _sub, "Pow": _pow, "Sqrt": _power_of(0.5),
    "Reciprocal": _power_of(-1), "ReduceSum": _reduce, "ReduceMean": _reduce, "ReduceSumSquare": _reduce,
    "MatMul": _matmul, "Gemm": _gemm, "LeakyRelu": _leaky_relu, "PRelu": _leaky_relu, "Concat": _concat,
    "Conv": convolve, "ConvTranspose": convolve,
}  # fmt: skip
