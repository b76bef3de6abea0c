"""Rules for convolutions: of all channels, with constant or with modulated weights, and of each channel (blurs)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .graph import Node
from .terms import Axis, Const, Conv, Fir, Leaf, Sum, Sym, Term, Times, Value, expect, parts_of, require, to_sym


def convolve(node: Node, args: Sequence[Value]) -> Sym:
    """Conv and ConvTranspose on [1,C,H,W] or, for blurs, on [C,1,H,W]."""
    x, weight, bias = to_sym(args[0]), args[1], args[2] if len(args) > 2 else None
    whole = len(x.shape) == len(weight.shape) == 4 and len(x.term.axes) == 3 and x.flat == list(x.term.axes)
    require(whole, "it convolves something else than a feature map")
    stride, pads, added = _settings(node, weight.shape)
    group, channels, in_batch = node.attribute("group", 1), x.shape[1], x.shape[0] > 1
    depthwise = group == channels > 1 and weight.shape[:2] == (channels, 1) and not in_batch
    if isinstance(weight, Const) and (depthwise or (in_batch and weight.shape[:2] == (1, 1))):
        result = _blur(x, weight, stride, pads, added)
    else:
        require(group == 1 and not in_batch and not added, "it convolves groups of channels")
        result = _full(x, weight, stride, pads, added)
    if bias is None or (isinstance(bias, Const) and not bias.array.any()):
        return result
    assert isinstance(bias, Const) and not in_batch, "its bias is computed"
    parts, _ = parts_of(result.term, result.factor)
    return Sym(Sum(result.term.axes, parts, bias.value.astype(np.float64)), result.groups)


def _settings(node: Node, shape: Sequence[int]) -> tuple[int, tuple[int, ...], int | None]:
    """Stride, pads (top, bottom, left, right), and the rows that a transposed convolution adds, None for another."""
    strides, dilations = node.attribute("strides") or [1, 1], node.attribute("dilations") or [1, 1]
    kernel, added = node.attribute("kernel_shape") or list(shape[2:]), node.attribute("output_padding") or [0, 0]
    pads, auto = node.attribute("pads") or [0, 0, 0, 0], node.attribute("auto_pad", b"NOTSET")
    plain = list(kernel) == list(shape[2:]) and set(dilations) == {1} and auto in (b"NOTSET", b"VALID", b"")
    plain &= len(set(strides)) == len(set(added)) == 1 and len(pads) == 4 and min(*pads, *strides, *added) >= 0
    require(plain, "GPEN has no convolution with these settings")
    top, left, bottom, right = pads if auto != b"VALID" else (0, 0, 0, 0)
    return strides[0], (top, bottom, left, right), added[0] if node.op == "ConvTranspose" else None


def _sides(x: Sym, stride: int, pads: Sequence[int], kernel: Sequence[int], added: int | None) -> list[Axis]:
    """The rows and columns that come out. `added`: None for a convolution, else what a transposed one adds."""
    sizes = []
    for n, k, edges in zip(x.shape[2:], kernel, (pads[0] + pads[1], pads[2] + pads[3]), strict=True):
        sizes.append((n + edges - k) // stride + 1 if added is None else (n - 1) * stride - edges + k + added)
    require(min(sizes) > 0, "it leaves nothing")
    return [Axis(size) for size in sizes]


def _blur(x: Sym, weight: Const, stride: int, pads: tuple[int, ...], added: int | None) -> Sym:
    """One kernel for all channels."""
    kernels = weight.array.reshape(-1, *weight.shape[2:])
    kernel = kernels[0].astype(np.float64) * weight.factor
    total = float(kernel.sum())
    require((kernels == kernels[:1]).all() and abs(total) > 1e-6, "it filters its channels differently")
    axes = (x.term.axes[0], *_sides(x, stride, pads, kernel.shape, added))
    if added is not None:  # in terms of the upsampled image, of which the last zeros belong to the padding
        last = added - stride + 1
        edges = tuple(kernel.shape[i // 2] - 1 - pads[i] + (last if i % 2 else 0) for i in range(4))
        fir, kernel = Fir(axes, x.term, (stride, stride), edges), kernel[::-1, ::-1]
    else:
        require(stride == 1, "it skips pixels")
        bare = x.term if isinstance(x.term, Fir) and x.term.kernel is None else Fir(x.term.axes, x.term)
        if max(pads) > 0 and min(bare.pads) < 0:
            bare = Fir(x.term.axes, x.term)
        fir = replace(bare, axes=axes, pads=tuple(a + b for a, b in zip(bare.pads, pads, strict=True)))
    fir = fir if kernel.size == 1 else replace(fir, kernel=kernel / total)
    batch, channels = ((), axes[:1]) if x.shape[0] == 1 else (axes[:1], ())
    return Sym(fir, (batch, channels, axes[1:2], axes[2:]), x.factor * total)


def _full(x: Sym, weight: Value, stride: int, pads: tuple[int, ...], added: int | None) -> Sym:
    """All channels with all. The style may scale the weights or what is convolved; both become `ins` and `outs`."""
    term, ins, outs = x.term, [], []
    while isinstance(term, Times) and term.axis is term.axes[0]:
        ins.append(term.factor)
        term = term.x
    edges, transposed = pads, added is not None
    if isinstance(term, Fir) and term.kernel is None and term.up == (1, 1) and min(term.pads) >= 0 and not transposed:
        edges, term = tuple(a + b for a, b in zip(term.pads, pads, strict=True)), term.x
    array, factor, along = _weight(weight)
    rows, columns = _sides(x, stride, pads, array.shape[2:], added)
    if transposed:
        array, along = array.swapaxes(0, 1), [(1 - side, vector) for side, vector in along]
    for side, vector in along:
        (ins if side else outs).append(vector)
    require(array.shape[1] == x.shape[1], f"it convolves {x.shape[1]} channels by weights for {array.shape[1]}")
    axes = (Axis(array.shape[0]), rows, columns)
    conv = Conv(axes, term, array, stride, edges, transposed, tuple(ins), tuple(outs))
    return Sym(conv, ((), axes[:1], axes[1:2], axes[2:]), x.factor * factor)


def _weight(value: Value) -> tuple[np.ndarray, float, list[tuple[int, Term]]]:
    """A weight's four dimensions, its factor, and the vectors along its first two dimensions (0 or 1)."""
    if isinstance(value, Const):
        return value.array, value.factor, []
    term, along = value.term, []
    while isinstance(term, Times):
        side = [i for i in (0, 1) if term.axis is not None and value.groups[i] == (term.axis,)]
        require(side, "its weights are scaled along something else than channels")
        along.append((side[0], term.factor))
        term = term.x
    leaf = expect(term, Leaf, "its weight")
    order = [leaf.axes.index(axis) for axis in value.flat]
    return leaf.array.transpose(order).reshape(value.shape), value.factor, along
