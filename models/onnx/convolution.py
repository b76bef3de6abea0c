"""Convolutions of an ONNX graph: with weights that are constant, or modulated by the style; and blurs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..errors import GraphNotUnderstoodError
from .program import Node
from .terms import Axis, Const, Conv, Fir, Leaf, Sum, Sym, Term, Times, Value, parts_of, to_sym

Pads = tuple[int, int, int, int]


def convolve(node: Node, args: Sequence[Value | None]) -> Value:
    """Conv and ConvTranspose on [1,C,H,W] or, for blurs, on [C,1,H,W]."""
    x, weight, bias = (*args, None)[:3] if len(args) == 2 else args
    if x is None or weight is None or len(x.shape) != 4 or len(weight.shape) != 4:
        raise GraphNotUnderstoodError(f"{node} is no convolution of a picture")
    x = to_sym(x)
    group, stride, pads, more = _settings(node, weight.shape)
    transposed = node.op == "ConvTranspose"
    channels, in_batch = x.shape[1], x.shape[0] > 1
    depthwise = group == channels > 1 and weight.shape[:2] == (channels, 1) and not in_batch
    if isinstance(weight, Const) and (depthwise or (in_batch and weight.shape[:2] == (1, 1))):
        result = _blur(node, x, weight, stride, pads, more if transposed else None)
    elif group != 1 or in_batch or more != 0:
        raise GraphNotUnderstoodError(f"{node} convolves groups of channels")
    else:
        result = _full(node, x, weight, stride, pads, transposed)
    if bias is None or (isinstance(bias, Const) and not bias.array.any()):
        return result
    if not isinstance(bias, Const) or in_batch:
        raise GraphNotUnderstoodError(f"{node} has a bias that is computed")
    parts, _ = parts_of(result)
    return Sym(Sum(result.term.axes, parts, bias.value.astype(np.float64)), result.groups)


def _settings(node: Node, shape: Sequence[int]) -> tuple[int, int, Pads, int]:
    """Groups, stride, pads (top, bottom, left, right), and the rows that a transposed convolution adds."""
    strides = node.attribute("strides") or [1, 1]
    dilations = node.attribute("dilations") or [1, 1]
    kernel = node.attribute("kernel_shape") or list(shape[2:])
    pads = node.attribute("pads") or [0, 0, 0, 0]
    more = node.attribute("output_padding") or [0, 0]
    auto = node.attribute("auto_pad", b"NOTSET")
    plain = list(kernel) == list(shape[2:]) and set(dilations) == {1} and auto in (b"NOTSET", b"VALID", b"")
    if not plain or len(set(strides)) > 1 or len(set(more)) > 1 or len(pads) != 4:
        raise GraphNotUnderstoodError(f"{node} is a convolution with settings that GPEN does not have")
    top, left, bottom, right = pads if auto != b"VALID" else (0, 0, 0, 0)
    return node.attribute("group", 1), strides[0], (top, bottom, left, right), more[0]


def _grid(x: Sym, stride: int, pads: Pads, size: Sequence[int], transposed: bool, more: int = 0) -> list[Axis]:
    """The rows and columns that come out."""
    if transposed:
        return [Axis((x.shape[2 + i] - 1) * stride - pads[2 * i] - pads[2 * i + 1] + size[i] + more) for i in (0, 1)]
    return [Axis((x.shape[2 + i] + pads[2 * i] + pads[2 * i + 1] - size[i]) // stride + 1) for i in (0, 1)]


def _blur(node: Node, x: Sym, weight: Const, stride: int, pads: Pads, more: int | None) -> Sym:
    """One kernel for every channel. `more`: None for a convolution, else what a transposed one adds."""
    kernels = weight.array.reshape(-1, *weight.shape[2:])
    kernel = kernels[0].astype(np.float64) * weight.factor
    total = kernel.sum()
    in_order = [axis for group in x.groups for axis in group] == list(x.term.axes)
    if len(x.term.axes) != 3 or not in_order or (kernels != kernels[:1]).any() or abs(total) < 1e-6:
        raise GraphNotUnderstoodError(f"{node} filters its channels differently")
    axes = (x.term.axes[0], *_grid(x, stride, pads, kernel.shape, more is not None, more or 0))
    term, size = x.term, kernel.shape
    if more is not None:
        edges = tuple(
            size[i // 2] - 1 - pads[i] + (more - stride + 1 if i % 2 else 0) for i in range(4)
        )  # at the upsampled rate, of which the last zeros belong to the padding
        fir = Fir(axes, term, stride, (edges[0], edges[1], edges[2], edges[3]))
        kernel = kernel[::-1, ::-1]
    elif stride == 1:
        bare = term if isinstance(term, Fir) and term.kernel is None else Fir(term.axes, term)
        if max(pads) > 0 and min(bare.pads) < 0:
            bare = Fir(term.axes, term)
        top, bottom, left, right = (a + b for a, b in zip(bare.pads, pads, strict=True))
        fir = replace(bare, axes=axes, pads=(top, bottom, left, right))
    else:
        raise GraphNotUnderstoodError(f"{node} leaves pixels out")
    fir = fir if kernel.size == 1 else replace(fir, kernel=kernel / total)
    batch, channels = ((), axes[:1]) if x.shape[0] == 1 else (axes[:1], ())
    return Sym(fir, (batch, channels, axes[1:2], axes[2:]), x.factor * float(total))


def _full(node: Node, x: Sym, weight: Value, stride: int, pads: Pads, transposed: bool) -> Sym:
    """All channels with all. The style may be in the weights or in what is convolved; both become `ins`, `outs`."""
    term, ins, outs = x.term, [], []
    if len(term.axes) != 3 or [a for g in x.groups for a in g] != list(term.axes):
        raise GraphNotUnderstoodError(f"{node} convolves what is no picture")
    while isinstance(term, Times) and term.axis is term.axes[0]:
        ins.append(term.factor)
        term = term.x
    if isinstance(term, Fir) and term.kernel is None and term.up == 1 and min(term.pads) >= 0 and not transposed:
        top, bottom, left, right = (a + b for a, b in zip(term.pads, pads, strict=True))
        edges, term = (top, bottom, left, right), term.x
    else:
        edges = pads
    array, factor, along = _weight(node, weight)
    size = array.shape[2:]
    rows, columns = _grid(x, stride, pads, size, transposed)
    if transposed:
        array, along = array.swapaxes(0, 1), [(1 - side, vector) for side, vector in along]
    ins += [vector for side, vector in along if side == 1]
    outs += [vector for side, vector in along if side == 0]
    if array.shape[1] != x.shape[1]:
        raise GraphNotUnderstoodError(f"{node} convolves {x.shape[1]} channels by weights for {array.shape[1]}")
    axes = (Axis(array.shape[0]), rows, columns)
    conv = Conv(axes, term, array, stride, edges, transposed, tuple(ins), tuple(outs))
    return Sym(conv, ((), axes[:1], axes[1:2], axes[2:]), x.factor * factor)


def _weight(node: Node, value: Value) -> tuple[np.ndarray, float, list[tuple[int, Term]]]:
    """A weight's four dimensions, its factor, and the vectors along its first two dimensions (0 or 1)."""
    if isinstance(value, Const):
        return value.array, value.factor, []
    term, along = value.term, []
    while isinstance(term, Times):
        side = next((i for i in (0, 1) if term.axis is not None and value.groups[i] == (term.axis,)), None)
        if side is None:
            raise GraphNotUnderstoodError(f"{node} has weights that are scaled along something else than channels")
        along.append((side, term.factor))
        term = term.x
    if not isinstance(term, Leaf):
        raise GraphNotUnderstoodError(f"{node} has weights that are computed")
    order = [axis for group in value.groups for axis in group]
    return term.array.transpose([term.axes.index(axis) for axis in order]).reshape(value.shape), value.factor, along
