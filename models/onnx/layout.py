"""Operations of an ONNX graph that move values and compute nothing: reshapes, transposes, repeats, crops, padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..errors import GraphNotUnderstoodError
from .folding import axes_of, new_shape, slices
from .program import Node
from .terms import Axis, Fir, Sym, Term, Value

_NOTHING = ("Identity", "Cast", "CastLike")


def lay_out(node: Node, x: Sym, args: Sequence[Value | None]) -> Sym | None:
    """What an operation of this kind makes of `x`, its first operand; None where it is of another kind."""
    if node.op in _NOTHING:
        for setting in ("to", "saturate", "round_mode"):  # in what precision it computes is not what it means
            node.attribute(setting)
        return x
    rule = _RULES.get(node.op)
    return None if rule is None else rule(node, x, [_known(node, arg) for arg in args])


def _known(node: Node, arg: Value | None) -> np.ndarray | None:
    if isinstance(arg, Sym):
        raise GraphNotUnderstoodError(f"{node} is steered by what it computes")
    return None if arg is None else arg.value


def _reshape(node: Node, x: Sym, args: Sequence[np.ndarray | None]) -> Sym:
    if args[0] is None:
        raise GraphNotUnderstoodError(f"{node} has no shape")
    return regroup(node, x, new_shape(node, x.shape, args[0]))


def _flatten(node: Node, x: Sym, args: Sequence[np.ndarray | None]) -> Sym:
    axis = node.attribute("axis", 1)
    sizes = [int(np.prod(part, dtype=np.int64)) for part in (x.shape[:axis], x.shape[axis:])]
    return regroup(node, x, sizes)


def regroup(node: Node, x: Sym, shape: Sequence[int]) -> Sym:
    """Lay the same axes out in other dimensions; an axis is never torn apart."""
    axes = [axis for group in x.groups for axis in group]
    groups, term = [], x.term
    for n in shape:
        group: list[Axis] = []
        left = n
        while left > 1 and axes and left % axes[0].size == 0:
            left //= axes[0].size
            group.append(axes.pop(0))
        if left != 1:
            raise GraphNotUnderstoodError(f"{node} tears apart what belongs together ({x.shape} to {tuple(shape)})")
        if len(group) == 2 and group[1].kind == "zeros":  # a row, and the zeros behind it: upsampling
            term, group = _interleave(node, term, group[0], group[1].size)
        groups.append(tuple(group))
    if axes:
        raise GraphNotUnderstoodError(f"{node} loses a dimension")
    # rows and columns are upsampled one after the other: what the first renewed is known by the second
    return replace(x, term=term, groups=tuple(groups))


def _interleave(node: Node, term: Term, axis: Axis, up: int) -> tuple[Term, list[Axis]]:
    index = _image_axis(node, term, axis)
    grown = Axis(axis.size * up)
    axes = tuple(grown if a is axis else a for a in term.axes)
    if isinstance(term, HalfUp):
        if term.up != up or term.index == index:
            raise GraphNotUnderstoodError(f"{node} enlarges rows and columns differently")
        return Fir(axes, term.x, up=up), [grown]
    return HalfUp(axes, term, up, index), [grown]


class HalfUp(Term):
    """Zeros behind every row, or behind every column, and not yet behind the other."""

    def __init__(self, axes: tuple[Axis, ...], x: Term, up: int, index: int) -> None:
        super().__init__(axes)
        self.x, self.up, self.index = x, up, index


def _image_axis(node: Node, term: Term, axis: Axis) -> int:
    """1 for a row axis, 2 for a column axis."""
    if len(term.axes) != 3 or axis not in term.axes[1:]:
        raise GraphNotUnderstoodError(f"{node} changes the size of what is no picture")
    return term.axes.index(axis)


def _transpose(node: Node, x: Sym, args: Sequence[np.ndarray | None]) -> Sym:
    order = node.attribute("perm") or list(reversed(range(len(x.groups))))
    return replace(x, groups=tuple(x.groups[i] for i in order))


def _unsqueeze(node: Node, x: Sym, args: Sequence[np.ndarray | None]) -> Sym:
    axes = axes_of(node, [None, *args]) or []
    rank = len(x.groups) + len(axes)
    new, old = {axis % rank for axis in axes}, list(x.groups)
    if len(new) != len(axes):
        raise GraphNotUnderstoodError(f"{node} puts two dimensions into one place")
    return replace(x, groups=tuple(() if i in new else old.pop(0) for i in range(rank)))


def _squeeze(node: Node, x: Sym, args: Sequence[np.ndarray | None]) -> Sym:
    axes = axes_of(node, [None, *args])
    rank = len(x.groups)
    gone = {i for i, g in enumerate(x.groups) if not g} if axes is None else {axis % rank for axis in axes}
    if any(x.groups[i] for i in gone):
        raise GraphNotUnderstoodError(f"{node} drops a dimension that is not one")
    return replace(x, groups=tuple(group for i, group in enumerate(x.groups) if i not in gone))


def _repeat(node: Node, x: Sym, args: Sequence[np.ndarray | None]) -> Sym:
    """Expand and Tile: a dimension of one repeats."""
    if args[0] is None:
        raise GraphNotUnderstoodError(f"{node} does not say how often it repeats")
    wanted = [int(n) for n in args[0].ravel()]
    groups = [()] * (len(wanted) - len(x.groups)) + list(x.groups)
    wanted = [1] * (len(groups) - len(wanted)) + wanted
    for i, n in enumerate(wanted):
        if not groups[i] and n > 1:
            groups[i] = (Axis(n, "free"),)
        elif n != 1 and (node.op == "Tile" or n != x.shape[i - len(wanted)]):
            raise GraphNotUnderstoodError(f"{node} repeats more than a dimension of one")
    return replace(x, groups=tuple(groups))


def _gather(node: Node, x: Sym, args: Sequence[np.ndarray | None]) -> Sym:
    """One of several equal copies."""
    axis = node.attribute("axis", 0) % len(x.groups)
    index = args[0]
    if index is None or index.size != 1 or any(a.kind != "free" for a in x.groups[axis]):
        raise GraphNotUnderstoodError(f"{node} takes something out of a feature map or vector")
    one = [()] * index.ndim
    return replace(x, groups=(*x.groups[:axis], *one, *x.groups[axis + 1 :]))


def _slice(node: Node, x: Sym, args: Sequence[np.ndarray | None]) -> Sym:
    for i, part in enumerate(slices(node, [None, *args], x.shape)):
        start, stop, step = part.indices(x.shape[i])
        if (start, stop, step) == (0, x.shape[i], 1):
            continue
        if step != 1 or stop <= start:
            raise GraphNotUnderstoodError(f"{node} leaves pixels out or turns them around")
        if all(axis.kind == "free" for axis in x.groups[i]):
            kept: tuple[Axis, ...] = (Axis(stop - start, "free"),) if stop - start > 1 else ()
            x = replace(x, groups=(*x.groups[:i], kept, *x.groups[i + 1 :]))
        else:
            x = _resize(node, x, i, -start, stop - x.shape[i])
    return x


def _pad(node: Node, x: Sym, args: Sequence[np.ndarray | None]) -> Sym:
    if node.attribute("mode", b"constant") != b"constant" or node.attribute("value", 0.0) != 0:
        raise GraphNotUnderstoodError(f"{node} pads with something else than zeros")
    pads = node.attribute("pads")
    rest = list(args)
    if pads is None and rest:
        amounts = rest.pop(0)
        pads = None if amounts is None else amounts.ravel().tolist()
    if rest and rest[0] is not None and rest[0].any():
        raise GraphNotUnderstoodError(f"{node} pads with something else than zeros")
    axes = range(len(x.groups)) if len(rest) < 2 or rest[1] is None else [int(a) for a in rest[1].ravel()]
    if pads is None or len(pads) != 2 * len(axes):
        raise GraphNotUnderstoodError(f"{node} does not say how much it pads")
    for i, before, after in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        i %= len(x.groups)
        if before == after == 0:
            continue
        if x.groups[i]:
            x = _resize(node, x, i, int(before), int(after))
        elif before == 0 and after > 0:
            x = replace(x, groups=(*x.groups[:i], (Axis(int(after) + 1, "zeros"),), *x.groups[i + 1 :]))
        else:
            raise GraphNotUnderstoodError(f"{node} pads a dimension of one in front")
    return x


def _resize(node: Node, x: Sym, dimension: int, before: int, after: int) -> Sym:
    """Pad rows or columns with zeros, or crop them."""
    group = x.groups[dimension]
    if len(group) != 1:
        raise GraphNotUnderstoodError(f"{node} pads or crops what is no row or column")
    index = _image_axis(node, x.term, group[0])
    old = x.term
    # a filter that is done may be cropped, but zeros behind it, or in the place of what was cropped, are another's
    fir = old if isinstance(old, Fir) else Fir(old.axes, old)
    now = fir.pads[2 * index - 2 : 2 * index]
    if any(m > 0 and (fir.kernel is not None or n < 0) for m, n in zip((before, after), now, strict=True)):
        fir = Fir(old.axes, old)
    pads = list(fir.pads)
    pads[2 * index - 2] += before
    pads[2 * index - 1] += after
    resized = Axis(group[0].size + before + after)
    axes = tuple(resized if axis is group[0] else axis for axis in fir.axes)
    groups = (*x.groups[:dimension], (resized,), *x.groups[dimension + 1 :])
    return replace(x, term=replace(fir, axes=axes, pads=tuple(pads)), groups=groups)


_RULES = {
    "Reshape": _reshape, "Flatten": _flatten, "Transpose": _transpose, "Unsqueeze": _unsqueeze, "Squeeze": _squeeze,
    "Expand": _repeat, "Tile": _repeat, "Gather": _gather, "Slice": _slice, "Pad": _pad,
}  # fmt: skip
