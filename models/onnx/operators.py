"""Rules for operations that compute. Each is exact: its term means what the node computes, or the rule refuses."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from .convolution import convolve
from .graph import Node
from .terms import (
    Axis,
    Concat,
    Const,
    Conv,
    Fir,
    LeakyRelu,
    Linear,
    Noise,
    Power,
    Sum,
    Sym,
    Term,
    Times,
    Total,
    Value,
    parts_of,
    require,
    to_sym,
)  # fmt: skip

_MOST_PARTS = 4  # of a sum or concatenation; GPEN has two
_EXPONENTS = {"Sqrt": 0.5, "Reciprocal": -1}


def compute(node: Node, args: Sequence[Value]) -> Sym:
    """The output of a node of which at least one operand depends on the image."""
    require(node.op in _RULES, "GPEN does not have this operation")
    # repeats, and zeros that wait for their reshape, may be scaled and nothing else
    repeats = any(axis.kind != "data" for arg in args if isinstance(arg, Sym) for axis in arg.flat)
    require(not repeats or node.op in ("Mul", "Div"), "it computes with repeated values")
    return _RULES[node.op](node, args)


def _broadcasts(small: Sequence[int], large: Sequence[int]) -> bool:
    """Whether broadcasting leaves the larger shape as it is, but for dimensions of one in front."""
    rank = max(len(small), len(large))
    small, large = [1] * (rank - len(small)) + list(small), [1] * (rank - len(large)) + list(large)
    return all(s in (1, l) for s, l in zip(small, large, strict=True))


def _multiply(node: Node, args: Sequence[Value]) -> Sym:
    a, b = args
    if node.op == "Div" and isinstance(b, Const):
        require(b.number, "it divides by a tensor, or by zero")
        b = Const(np.full([1] * len(b.shape), 1 / (b.number or 1)))
    elif node.op == "Div":
        b = _power(to_sym(b), -1)
    rank = max(len(a.shape), len(b.shape))
    for x, other in ((a, b), (b, a)):
        number = other.number if isinstance(other, Const) and _broadcasts(other.shape, x.shape) else None
        if isinstance(x, Sym) and number is not None:
            return replace(x.of_rank(rank), factor=x.factor * number)
    a, b = to_sym(a).of_rank(rank), to_sym(b).of_rank(rank)
    if a.term is b.term and a.groups == b.groups:
        return replace(a, term=Power(a.term.axes, a.term, 2), factor=a.factor * b.factor)
    for x, other in ((a, b), (b, a)):
        along = next((x.groups[i] for i, group in enumerate(other.groups) if group), ())
        plain = len(along) <= 1 and all(axis.kind == "data" and axis in x.term.axes for axis in along)
        if plain and len(other.term.axes) <= 1 and _broadcasts(other.shape, x.shape):
            return replace(x, term=_scale(x.term, other.term, *along), factor=a.factor * b.factor)
    raise ValueError(f"{list(a.shape)} times {list(b.shape)}")


def _scale(term: Term, factor: Term, axis: Axis | None = None) -> Term:
    """The product; what scales a convolution's output becomes part of it, also through a filter per channel."""
    if axis is not None and axis is term.axes[0]:
        if isinstance(term, Fir):
            return replace(term, x=_scale(term.x, factor, term.x.axes[0]))
        if isinstance(term, Conv):
            return replace(term, outs=(*term.outs, factor))
    return Times(term.axes, term, factor, axis)


def _add(node: Node, args: Sequence[Value]) -> Sym:
    a, b = args
    if node.op == "Sub":
        b = replace(b, factor=-b.factor)
    x, b = (a, b) if isinstance(a, Sym) else (to_sym(b), a)
    more, also = (), None
    if isinstance(b, Const) and sum(n > 1 for n in b.shape) <= 1 and _broadcasts(b.shape, x.shape):
        x = x.of_rank(max(len(x.shape), len(b.shape)))
        wide = [i + len(x.shape) - len(b.shape) for i, n in enumerate(b.shape) if n > 1]
        require(not wide or x.groups[wide[0]] == x.term.axes[:1], "it adds a vector along other axes than channels")
        also = b.value.astype(np.float64).reshape((-1,) if wide else ())
    else:
        b = to_sym(b)
        require(x.shape == b.shape and x.places == b.places, f"it adds {list(x.shape)} and {list(b.shape)}")
        more, also = parts_of(b.term, b.factor)
    parts, bias = parts_of(x.term, x.factor)
    require(len(parts) + len(more) <= _MOST_PARTS, f"it adds more than {_MOST_PARTS} terms")
    bias = also if bias is None else bias if also is None else bias + also
    return Sym(Sum(x.term.axes, parts + more, bias), x.groups)


def _pow(node: Node, args: Sequence[Value]) -> Sym:
    exponent = _EXPONENTS.get(node.op) or (args[1].number if isinstance(args[1], Const) else None)
    require(exponent in (2, 0.5, -0.5, -1), f"GPEN has no power of {exponent}")
    return _power(to_sym(args[0]), exponent or 1)


def _power(x: Sym, exponent: float) -> Sym:
    """A power; roots and reciprocals of roots and reciprocals merge."""
    require(x.factor > 0 or exponent == 2, "a root or reciprocal of what may be negative")
    term, merged = x.term, exponent
    if isinstance(term, Power) and term.exponent in (0.5, -0.5, -1):
        term, merged = term.x, exponent * term.exponent
    return replace(x, term=Power(term.axes, term, merged), factor=x.factor**exponent)


def _reduce(node: Node, args: Sequence[Value]) -> Sym:
    x, rank = to_sym(args[0]), len(args[0].shape)
    axes = node.setting("axes", args, 1)
    require(not node.attribute("noop_with_empty_axes", 0) or axes, "it reduces no dimension")
    gone = {axis % rank for axis in axes} if axes else set(range(rank))
    if node.op == "ReduceSumSquare":
        x = _power(x, 2)
    summed = [axis for i in gone for axis in x.groups[i]]
    kept = bool(node.attribute("keepdims", 1))
    groups = tuple(() if i in gone else g for i, g in enumerate(x.groups) if kept or i not in gone)
    count = math.prod(x.shape[i] for i in gone) if node.op == "ReduceMean" else 1
    term = Total(tuple(axis for axis in x.term.axes if axis not in summed), x.term) if summed else x.term
    return Sym(term, groups, x.factor / count)


def _linear(node: Node, args: Sequence[Value]) -> Sym:
    """MatMul and Gemm: a matrix times the vector in one dimension; the other dimensions are one."""
    x, matrix = args[:2]
    dimension, array = len(x.shape) - 1, matrix.array.T if isinstance(matrix, Const) else None
    if array is None and node.op == "MatMul" and isinstance(x, Const):
        x, matrix, dimension, array = matrix, x, len(matrix.shape) - 2, x.array
    elif node.attribute("transB", 0) and array is not None:
        array = array.T
    plain = isinstance(x, Sym) and isinstance(matrix, Const) and array is not None and array.ndim == 2
    require(plain and dimension >= 0 and not node.attribute("transA", 0), "it multiplies by a matrix that is computed")
    assert isinstance(x, Sym) and array is not None
    vector = x.groups[dimension] == x.term.axes and x.shape[dimension] == array.shape[1]
    require(vector, f"it multiplies a matrix {list(array.shape)} by {list(x.shape)}")
    out = (Axis(array.shape[0]),)
    groups = tuple(out if i == dimension else () for i in range(len(x.groups)))
    factor = x.factor * matrix.factor * node.attribute("alpha", 1.0)
    result, beta = Sym(Linear(out, x.term, array), groups, factor), node.attribute("beta", 1.0)
    return result if len(args) < 3 or not beta else _add(node, [result, replace(args[2], factor=args[2].factor * beta)])


def _leaky_relu(node: Node, args: Sequence[Value]) -> Sym:
    x = to_sym(args[0])
    slope = args[1].number if len(args) > 1 and isinstance(args[1], Const) else node.attribute("alpha", 0.01)
    assert slope is not None and x.factor > 0, "GPEN's leaky ReLU has one slope and no negative factor"
    return replace(x, term=LeakyRelu(x.term.axes, x.term, slope))


def _concat(node: Node, args: Sequence[Value]) -> Sym:
    require(len(args) <= _MOST_PARTS, f"it joins more than {_MOST_PARTS} terms")
    parts = [to_sym(arg) for arg in args]
    first, axis = parts[0], node.attribute("axis") % len(parts[0].groups)
    for part in parts:
        same = part.places == first.places and part.places[axis] == [0]
        same &= all(m == n or i == axis for i, (m, n) in enumerate(zip(part.shape, first.shape, strict=True)))
        require(same, "it joins something else than channels")
    channels = Axis(sum(part.shape[axis] for part in parts))
    term = Concat((channels, *first.term.axes[1:]), tuple((part.factor, part.term) for part in parts))
    return Sym(term, (*first.groups[:axis], (channels,), *first.groups[axis + 1 :]))


def noise(node: Node, args: Sequence[Value]) -> Sym:
    """A draw from N(0,1)."""
    node.asked.update(("seed", "dtype"))
    mean, scale = node.attribute("mean", 0.0), node.attribute("scale", 1.0)
    require(node.op.startswith("RandomNormal") and (mean, scale) == (0, 1), "GPEN draws from N(0,1) only")
    groups = tuple((Axis(int(n)),) if n != 1 else () for n in (args[0].shape if args else node.attribute("shape", [])))
    return Sym(Noise(tuple(axis for group in groups for axis in group)), groups)


_RULES: dict[str, Callable[[Node, Sequence[Value]], Sym]] = {
    "Mul": _multiply, "Div": _multiply, "Add": _add, "Sub": _add, "Pow": _pow, "Sqrt": _pow, "Reciprocal": _pow,
    "ReduceSum": _reduce, "ReduceMean": _reduce, "ReduceSumSquare": _reduce, "MatMul": _linear, "Gemm": _linear,
    "LeakyRelu": _leaky_relu, "PRelu": _leaky_relu, "Concat": _concat, "Conv": convolve, "ConvTranspose": convolve,
}  # fmt: skip
