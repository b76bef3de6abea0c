"""From the nodes of an ONNX file to one term that says what its output is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import GraphNotUnderstoodError
from .folding import fold, shape_of
from .layout import lay_out
from .operators import compute, noise
from .program import Node, Program
from .terms import Axis, Const, Source, Sym, Value

_DOMAINS = ("", "ai.onnx")
_MOVES = ("Identity", "Reshape", "Transpose", "Unsqueeze", "Squeeze", "Flatten")


def meaning(program: Program, input_name: str, shape: Sequence[int]) -> Sym:
    """What the first output is, of a picture of `shape` (1,3,N,N).

    Nodes that the output does not depend on are not looked at.

    Raises:
        GraphNotUnderstoodError: an operation that GPEN has no use for, or one that is used otherwise; it is named.
    """
    axes = tuple(Axis(int(n)) for n in shape[1:])
    values: dict[str, Value] = {name: Const(array) for name, array in program.constants.items()}
    values[input_name] = Sym(Source(axes), ((), *((axis,) for axis in axes)))
    for node in _needed(program):
        missing = [name for name in node.inputs if name and name not in values]
        if missing:
            raise GraphNotUnderstoodError(f"{node} takes {missing[0]}, which nothing gives")
        if node.domain not in _DOMAINS:
            raise GraphNotUnderstoodError(f"{node} is an operation of {node.domain}")
        try:
            results = _run(node, [values[name] if name else None for name in node.inputs])
        except GraphNotUnderstoodError:
            raise
        except (LookupError, ValueError, TypeError, ArithmeticError, AttributeError, AssertionError) as error:
            raise GraphNotUnderstoodError(f"{node} does not fit its operands ({error})") from error
        unknown = [name for name in node.attributes if name not in node.asked]
        if unknown:
            raise GraphNotUnderstoodError(f"{node} has the setting {unknown[0]}, which is not known here")
        values.update(zip(node.outputs, results, strict=False))  # Dropout's mask is not needed
    result = values.get(program.outputs[0]) if program.outputs else None
    if not isinstance(result, Sym):
        raise GraphNotUnderstoodError("its output does not depend on its input")
    return result


def _needed(program: Program) -> list[Node]:
    """The nodes that the first output depends on, each behind those that it takes from; files may have any order."""
    makers = {name: node for node in program.nodes for name in node.outputs if name}
    found: list[Node] = []
    state: dict[int, bool] = {}  # False while a node's inputs are being followed, True when it is in its place
    stack = [(makers[name], False) for name in program.outputs[:1] if name in makers]
    while stack:
        node, followed = stack.pop()
        if followed:
            state[id(node)] = True
            found.append(node)
        elif id(node) not in state:
            state[id(node)] = False
            stack.append((node, True))
            for maker in (makers[name] for name in node.inputs if name in makers):
                if state.get(id(maker)) is False:
                    raise GraphNotUnderstoodError(f"{node} takes from itself")
                stack.append((maker, False))
    return found


def _run(node: Node, args: list[Value | None]) -> list[Value]:
    first = args[0] if args else None
    if node.op == "Shape" and isinstance(first, Sym):
        return [Const(shape_of(node, first.shape))]
    if node.op == "CastLike" and isinstance(first, Const) and isinstance(args[1], Sym):
        return [first if first.array.dtype.kind == "f" else Const(first.value.astype(np.float32))]
    if node.op in ("RandomNormal", "RandomNormalLike"):
        return [noise(node, args)]
    if any(isinstance(arg, Sym) for arg in args):
        moved = lay_out(node, first, args[1:]) if isinstance(first, Sym) else None
        return [compute(node, args) if moved is None else moved]
    return _constants(node, [arg for arg in args if isinstance(arg, Const)] if len(args) < 3 else args)


def _constants(node: Node, args: list) -> list[Value]:
    """Constant results; a weight that is only moved or scaled stays a view of the file."""
    if node.op == "Mul":
        for one, other in (args, args[::-1]):
            if other.array.size == 1 and one.array.dtype.kind == "f" and other.array.ndim <= one.array.ndim:
                return [Const(one.array, one.factor * float(other.value.flat[0]))]
    elif node.op in _MOVES and args[0].factor != 1.0:
        moved = fold(node, [args[0].array, *(arg.value for arg in args[1:])])
        return [Const(array, args[0].factor) for array in moved]
    return [Const(array) for array in fold(node, [None if arg is None else arg.value for arg in args])]
