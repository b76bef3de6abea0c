"""Rules for operations that move values and compute nothing: reshapes, transposes, repeats, crops, padding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from .graph import Node
from .terms import Axis, Const, Fir, Sym, Term, Value, require


def reshape(x: Sym, shape: Sequence[int]) -> Sym:
    """The same axes in dimensions of other sizes; an axis is never split. Reshape, Flatten, Squeeze, Unsqueeze."""
    axes, groups, term = x.flat, [], x.term
    for n in shape:
        group: list[Axis] = []
        while n > 1 and axes and n % axes[0].size == 0:
            n //= axes[0].size
            group.append(axes.pop(0))
        require(n == 1, f"it splits an axis ({list(x.shape)} to {list(shape)})")
        if len(group) == 2 and group[1].kind == "zeros":  # a row and the zeros behind it: upsampling
            term, group = _upsample(term, *group)
        groups.append(tuple(group))
    require(not axes, f"it loses a dimension ({list(x.shape)} to {list(shape)})")
    # rows and columns are upsampled one after the other: the axis that the first made is known to the second
    return replace(x, term=term, groups=tuple(groups))


def _upsample(term: Term, axis: Axis, zeros: Axis) -> tuple[Term, list[Axis]]:
    index, grown = _image_axis(term, axis), Axis(axis.size * zeros.size)
    bare = isinstance(term, Fir) and term.kernel is None and not any(term.pads) and term.up[index - 1] == 1
    fir = term if isinstance(term, Fir) and bare else Fir(term.axes, term)
    up = (zeros.size, fir.up[1]) if index == 1 else (fir.up[0], zeros.size)
    return replace(fir, axes=tuple(grown if a is axis else a for a in fir.axes), up=up), [grown]


def _image_axis(term: Term, axis: Axis) -> int:
    """1 for the row axis, 2 for the column axis."""
    require(len(term.axes) == 3 and axis in term.axes[1:], "it changes the size of something else than a feature map")
    return term.axes.index(axis)


def repeat(x: Sym, shape: Sequence[int]) -> Sym:
    """Dimensions of one repeat. Expand, Tile."""
    x = x.of_rank(len(shape))
    sizes = list(zip(shape, x.shape, x.groups, strict=True))
    require(all(n == old or not group for n, old, group in sizes), "it repeats more than a dimension of one")
    return replace(x, groups=tuple((Axis(n, "free"),) if n != old else group for n, old, group in sizes))


def _transpose(node: Node, x: Sym, args: Sequence[Value | None]) -> Sym:
    order = node.attribute("perm") or list(reversed(range(len(x.groups))))
    return replace(x, groups=tuple(x.groups[i] for i in order))


def _gather(node: Node, x: Sym, args: Sequence[Value | None]) -> Sym:
    """One of several equal copies."""
    axis, index = node.attribute("axis", 0) % len(x.groups), args[1]
    one = isinstance(index, Const) and index.array.size == 1 and all(a.kind == "free" for a in x.groups[axis])
    require(one, "it takes a part of a feature map or vector")
    return replace(x, groups=(*x.groups[:axis], *[()] * len(index.shape if index else ()), *x.groups[axis + 1 :]))


def _slice(node: Node, x: Sym, args: Sequence[Value | None]) -> Sym:
    starts, ends = node.setting("starts", args, 1) or [], node.setting("ends", args, 2) or []
    axes = node.setting("axes", args, 3) or range(len(starts))
    steps = node.setting("steps", args, 4) or [1] * len(starts)
    for axis, *parts in zip(axes, starts, ends, steps, strict=True):
        axis %= len(x.groups)
        start, stop, step = slice(*parts).indices(x.shape[axis])
        if (start, stop, step) == (0, x.shape[axis], 1):
            continue
        require(step == 1 and stop > start, "it skips or reverses pixels")
        if all(a.kind == "free" for a in x.groups[axis]):
            kept = (Axis(stop - start, "free"),) if stop - start > 1 else ()
            x = replace(x, groups=(*x.groups[:axis], kept, *x.groups[axis + 1 :]))
        else:
            x = _resize(x, axis, -start, stop - x.shape[axis])
    return x


def _pad(node: Node, x: Sym, args: Sequence[Value | None]) -> Sym:
    value, pads = node.setting("value", args, 2) or [0], node.setting("pads", args, 1) or []
    require(node.attribute("mode", b"constant") == b"constant" and not any(value), "it pads with other than zeros")
    axes = node.setting("axes", args, 3) or range(len(x.groups))
    for i, before, after in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        i %= len(x.groups)
        if x.groups[i] and (before or after):
            x = _resize(x, i, before, after)
        elif before or after:
            require(before == 0 and after > 0, "it pads a dimension of one in front")
            x = replace(x, groups=(*x.groups[:i], (Axis(after + 1, "zeros"),), *x.groups[i + 1 :]))
    return x


def _resize(x: Sym, dimension: int, before: int, after: int) -> Sym:
    """Pad rows or columns with zeros; negative numbers crop."""
    (axis,) = x.groups[dimension]
    index = _image_axis(x.term, axis)
    # a finished filter may be cropped; zeros behind it, or in the place of what was cropped, belong to the next one
    fir = x.term if isinstance(x.term, Fir) else Fir(x.term.axes, x.term)
    now = fir.pads[2 * index - 2 : 2 * index]
    if any(m > 0 and (fir.kernel is not None or n < 0) for m, n in zip((before, after), now, strict=True)):
        fir, now = Fir(x.term.axes, x.term), (0, 0)
    pads = (*fir.pads[: 2 * index - 2], now[0] + before, now[1] + after, *fir.pads[2 * index :])
    resized = Axis(axis.size + before + after)
    require(resized.size > 0, "it leaves nothing")
    fir = replace(fir, axes=tuple(resized if a is axis else a for a in fir.axes), pads=pads)
    return replace(x, term=fir, groups=(*x.groups[:dimension], (resized,), *x.groups[dimension + 1 :]))


# by the shape of the output alone
TO_SHAPE: dict[str, Callable[[Sym, Sequence[int]], Sym]] = {
    "Reshape": reshape, "Flatten": reshape, "Squeeze": reshape, "Unsqueeze": reshape, "Expand": repeat, "Tile": repeat,
}  # fmt: skip
MOVES: dict[str, Callable[[Node, Sym, Sequence[Value | None]], Sym]] = {
    "Transpose": _transpose, "Gather": _gather, "Slice": _slice, "Pad": _pad,
}  # fmt: skip
