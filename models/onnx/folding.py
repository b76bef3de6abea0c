"""Operations of an ONNX graph whose operands are constants, computed in NumPy: shapes, kernels, folded weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..errors import GraphNotUnderstoodError
from .program import Node

_DTYPES = {1: "f4", 2: "u1", 3: "i1", 6: "i4", 7: "i8", 9: "?", 10: "f2", 11: "f8"}
_LARGEST = 1 << 27  # values: above the largest weight of a GPEN, below what would fill the memory
_PLAIN: dict[str, Callable[..., np.ndarray]] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Pow": np.power, "Neg": np.negative, "Abs": np.abs,
    "Sqrt": np.sqrt, "Reciprocal": lambda x: (1 / x).astype(x.dtype), "Floor": np.floor, "Ceil": np.ceil,
    "Equal": np.equal, "Greater": np.greater, "Less": np.less, "Not": np.logical_not, "And": np.logical_and,
    "Or": np.logical_or, "Where": np.where, "MatMul": np.matmul, "Identity": lambda x: x, "Max": np.maximum,
    "Min": np.minimum,
}  # fmt: skip
_REDUCE: dict[str, Callable[..., np.ndarray]] = {
    "ReduceSum": np.sum, "ReduceMean": np.mean, "ReduceProd": np.prod, "ReduceMax": np.max, "ReduceMin": np.min,
    "ReduceSumSquare": lambda x, **options: np.sum(np.square(x), **options),
}  # fmt: skip


def fold(node: Node, values: Sequence[np.ndarray | None]) -> list[np.ndarray]:
    """The results of a node whose inputs are all known.

    Raises:
        GraphNotUnderstoodError: an operation that is not known here, or operands that it does not take.
    """
    try:
        with np.errstate(all="ignore"):  # what is not finite is found in the weights
            results = _fold(node, [v for v in values if v is not None] if node.op in _PLAIN else list(values))
    except (ValueError, IndexError, TypeError, AttributeError, MemoryError) as error:
        raise GraphNotUnderstoodError(f"{node} cannot be computed from its constants ({error})") from error
    return results


def _fold(node: Node, x: list) -> list[np.ndarray]:
    op = node.op
    if op in _PLAIN:
        if op != "MatMul" and np.prod(np.broadcast_shapes(*(v.shape for v in x)), dtype=np.int64) > _LARGEST:
            raise ValueError("too large")
        return [np.asarray(_PLAIN[op](*x))]
    if op in _REDUCE:
        axes = axes_of(node, x)
        kept = bool(node.attribute("keepdims", 1))
        if node.attribute("noop_with_empty_axes", 0) and not axes:
            return [x[0]]
        return [np.asarray(_REDUCE[op](x[0], axis=None if axes is None else tuple(axes), keepdims=kept))]
    if op == "Constant":
        return [_constant(node)]
    if op == "Div":
        quotient = np.trunc(x[0] / x[1]) if x[0].dtype.kind in "iu" else x[0] / x[1]
        return [np.asarray(quotient).astype(x[0].dtype)]
    if op == "Mod":
        return [np.fmod(x[0], x[1]) if node.attribute("fmod", 0) else np.mod(x[0], x[1])]
    if op == "Shape":
        return [shape_of(node, x[0].shape)]
    if op == "Size":
        return [np.array(x[0].size, dtype=np.int64)]
    if op == "Cast":
        return [x[0].astype(_DTYPES[node.attribute("to")])]
    if op == "CastLike":
        return [x[0].astype(x[1].dtype)]
    if op == "Reshape":
        return [x[0].reshape(new_shape(node, x[0].shape, x[1]))]
    if op == "Flatten":
        axis = node.attribute("axis", 1)
        return [x[0].reshape(int(np.prod(x[0].shape[:axis])), -1)]
    if op == "Transpose":
        return [x[0].transpose(node.attribute("perm"))]
    if op == "Unsqueeze":
        return [np.expand_dims(x[0], tuple(axes_of(node, x) or ()))]
    if op == "Squeeze":
        axes = axes_of(node, x)
        return [np.squeeze(x[0], None if axes is None else tuple(axes))]
    if op == "Concat":
        return [np.concatenate(x, axis=node.attribute("axis"))]
    if op == "Gather":
        return [np.asarray(np.take(x[0], x[1], axis=node.attribute("axis", 0)))]
    if op == "Slice":
        return [x[0][tuple(slices(node, x, x[0].shape))]]
    if op == "Expand":
        shape = np.broadcast_shapes(x[0].shape, tuple(int(n) for n in x[1]))
        return [np.broadcast_to(x[0], shape)]
    if op == "Tile":
        if x[0].size * np.prod(x[1], dtype=np.float64) > _LARGEST:
            raise ValueError("too large")
        return [np.tile(x[0], x[1])]
    if op == "Range":
        if abs(float(x[1] - x[0])) > _LARGEST * abs(float(x[2])):
            raise ValueError("too large")
        return [np.arange(x[0], x[1], x[2], dtype=x[0].dtype)]
    if op == "ConstantOfShape":
        value = node.attribute("value", np.zeros(1, np.float32))
        if np.prod(x[0], dtype=np.int64) > _LARGEST:
            raise ValueError("too large")
        return [np.full([int(n) for n in x[0]], value.ravel()[0], value.dtype)]
    raise GraphNotUnderstoodError(f"{node} is an operation that GPEN has no use for")


def _constant(node: Node) -> np.ndarray:
    for name, dtype in (("value", None), ("value_float", np.float32), ("value_floats", np.float32),
                        ("value_int", np.int64), ("value_ints", np.int64)):  # fmt: skip
        value = node.attribute(name)
        if value is not None:
            return np.asarray(value, dtype)
    raise ValueError("no value")


def axes_of(node: Node, values: Sequence[np.ndarray | None]) -> list[int] | None:
    """The axes of a reduction, Squeeze or Unsqueeze: an attribute in old files, the second input in newer ones."""
    axes = node.attribute("axes")
    if axes is None and len(values) > 1 and values[1] is not None:
        axes = np.asarray(values[1]).ravel()
    return None if axes is None else [int(axis) for axis in axes]


def shape_of(node: Node, shape: Sequence[int]) -> np.ndarray:
    """What Shape gives: all of a shape, or a part of it."""
    return np.array(shape[node.attribute("start", 0) : node.attribute("end")], dtype=np.int64)


def new_shape(node: Node, old: Sequence[int], wanted: np.ndarray) -> list[int]:
    """The shape that Reshape makes, with its zeros (as before) and its one -1 (the rest) worked out."""
    keep = not node.attribute("allowzero", 0)
    shape = [int(old[i]) if n == 0 and keep else int(n) for i, n in enumerate(np.asarray(wanted).ravel())]
    if shape.count(-1) == 1:
        known = -int(np.prod(shape, dtype=np.int64))
        if known == 0:
            raise GraphNotUnderstoodError(f"{node} makes a tensor without values")
        shape[shape.index(-1)] = int(np.prod(old, dtype=np.int64)) // known
    if np.prod(shape, dtype=np.int64) != np.prod(old, dtype=np.int64):
        raise GraphNotUnderstoodError(f"{node} makes {shape} of {list(old)}")
    return shape


def slices(node: Node, values: Sequence[np.ndarray | None], shape: Sequence[int]) -> list[slice]:
    """One slice a dimension; attributes in old files (before opset 10), inputs in newer ones."""
    starts, ends = node.attribute("starts"), node.attribute("ends")
    axes, steps = node.attribute("axes"), None
    if starts is None:
        starts, ends, axes, steps = (list(values[1:]) + [None] * 4)[:4]
    if starts is None or ends is None:
        raise GraphNotUnderstoodError(f"{node} does not say what it keeps")
    starts, ends = (np.asarray(v).ravel().tolist() for v in (starts, ends))
    axes = list(range(len(starts))) if axes is None else np.asarray(axes).ravel().tolist()
    steps = [1] * len(starts) if steps is None else np.asarray(steps).ravel().tolist()
    result = [slice(None)] * len(shape)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        # an end far below zero means "through the first", which Python writes as None
        result[axis] = slice(start, None if step < 0 and end < -shape[axis] else end, step)
    return result
