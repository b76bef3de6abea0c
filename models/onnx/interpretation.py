"""From the nodes of a graph to one term that says what its output is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...gpen_arch import CheckCancel
from ..errors import GraphNotUnderstoodError, ModelFileError
from .folding import RANDOM, ConstantFolding, Unknown
from .graph import Node, OnnxGraph
from .layout import MOVES, TO_SHAPE
from .operators import compute, noise
from .terms import Axis, Const, Source, Sym, Value, expect, require

_SAME = ("Identity", "Cast", "CastLike", "Dropout")  # the precision in which it computes is not what it means
AnyValue = Value | Unknown


def interpret(graph: OnnxGraph, check_cancel: CheckCancel) -> Sym:
    """The term of the first output; nodes that it does not depend on are not looked at.

    Every node is looked at, also behind one that is not understood: what ONNX Runtime is given instead is bounded, too.

    Raises:
        GraphNotUnderstoodError: an operation that GPEN does not have, or one that is used otherwise; it is named.
        ModelFileError: the graph is damaged, or computes values that no GPEN has memory for.
    """
    folding = ConstantFolding(graph)
    values: dict[str, AnyValue] = {}
    for name, tensor in graph.initializers.items():
        array = graph.array(tensor, name)
        values[name] = Const(array) if array is not None else Unknown(tuple(tensor.dims), constant=True)
    ends = ", ".join(map(str, (*graph.inputs, *graph.outputs)))[:200]
    error = GraphNotUnderstoodError(f"it does not take one square image of a fixed size and give one ({ends})")
    for value in graph.inputs:
        values[value.name] = Unknown(value.shape)
        side = value.shape[-1] if len(graph.inputs) == len(graph.outputs) == 1 and value.shape else None
        if side and value.shape in ((1, 3, side, side), (None, 3, side, side)):
            axes = (Axis(3), Axis(side), Axis(side))
            values[value.name], error = Sym(Source(axes), ((), *((axis,) for axis in axes))), None
    for node in _needed(graph):
        check_cancel()
        missing = [name for name in node.inputs if name and name not in values]
        if missing:
            raise ModelFileError(graph.path, f"its graph is damaged: {node} takes {missing[0]!r}, which nothing gives")
        args = [values[name] if name else None for name in node.inputs]
        results = _known(node, args, folding)
        if results is None and error is None:
            try:
                results = [_rule(node, args, folding)]
            except (LookupError, ValueError, TypeError, ArithmeticError, AttributeError, AssertionError) as reason:
                error = GraphNotUnderstoodError(f"{node}: {reason}")
        values.update(zip(node.outputs, results or folding.infer(node, args, lenient=True), strict=False))
        folding.check_sizes(node, [values[name] for name in node.outputs if name in values])
    if error is not None:
        raise error
    require(isinstance(values.get(graph.outputs[0].name), Sym), "its output does not depend on its input")
    return expect(values[graph.outputs[0].name], Sym, "its output")


def _needed(graph: OnnxGraph) -> list[Node]:
    """The nodes that the first output depends on, each behind those that it takes from; files may have any order."""
    makers = {name: node for node in graph.nodes for name in node.outputs if name}
    found: list[Node] = []
    followed: dict[int, bool] = {}  # False while a node's inputs are being followed, True when it is in its place
    stack = [(makers[value.name], False) for value in graph.outputs[:1] if value.name in makers]
    while stack:
        node, done = stack.pop()
        if done:
            followed[id(node)] = True
            found.append(node)
        elif id(node) not in followed:
            followed[id(node)] = False
            stack.append((node, True))
            for maker in (makers[name] for name in node.inputs if name in makers):
                if followed.get(id(maker)) is False:
                    raise ModelFileError(graph.path, f"its graph is damaged: {node} takes from itself")
                stack.append((maker, False))
    return found


def _known(node: Node, args: list[AnyValue | None], folding: ConstantFolding) -> Sequence[AnyValue] | None:
    """The outputs of a node that does not depend on the pixels of the image; None for another."""
    shape = args[0].shape if args and args[0] is not None else None
    if node.op in ("Shape", "Size") and shape is not None and None not in shape:
        part = shape[node.attribute("start", 0) : node.attribute("end")]
        return [Const(np.array(part if node.op == "Shape" else math.prod(int(n or 0) for n in shape), np.int64))]
    constant = all(arg is None or isinstance(arg, Const) or getattr(arg, "constant", False) for arg in args)
    return folding.fold(node, args) if constant and node.op not in RANDOM else None


def _rule(node: Node, args: list[AnyValue | None], folding: ConstantFolding) -> Value:
    """The value of a node that depends on the image."""
    values = [arg for arg in args if not isinstance(arg, Unknown)]
    require(len(values) == len(args), "it takes a value that is not understood")
    given = [value for value in values if value is not None]
    first = given[0] if given else None
    if node.op == "CastLike" and isinstance(first, Const):
        return first if first.array.dtype.kind == "f" else Const(first.value.astype(np.float32))
    if not isinstance(first, Sym) or node.op not in (*_SAME, *TO_SHAPE, *MOVES):
        result = noise(node, given) if node.op in RANDOM else compute(node, given)
    elif node.op in _SAME:
        node.asked.update(("to", "saturate", "round_mode", "ratio"))
        result = first
    else:
        require(sum(isinstance(value, Sym) for value in given) == 1, "it is steered by what it computes")
        if node.op in MOVES:
            result = MOVES[node.op](node, first, values)
        else:
            node.asked.update(("allowzero", "axis", "axes", "shape"))  # which shape inference has looked at
            shape = folding.infer(node, values, lenient=True)[0].shape
            assert shape is not None and None not in shape, "it makes an unknown shape"
            result = TO_SHAPE[node.op](first, [int(n or 0) for n in shape])
    unasked = [name for name in node.attributes if name not in node.asked]
    require(not unasked, f"the setting {unasked[:1]} is not known here")
    return result
