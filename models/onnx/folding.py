"""Constant folding: a node of which all inputs are known is computed, one by one and within a budget.

Shape inference of the `onnx` package says how large an output would be before its reference evaluator computes it. So
a file of a few bytes cannot ask for all memory or for hours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from ..errors import ModelFileError
from .graph import DTYPES, Node, OnnxGraph
from .terms import Const, Sym, Value

if TYPE_CHECKING:
    from onnx.reference import ReferenceEvaluator

# Of the random operators none is a constant; GPEN has use for the first two alone.
RANDOM = ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial")
_MOVES = ("Reshape", "Transpose", "Unsqueeze", "Squeeze", "Flatten")  # the evaluator returns views
_SAME = ("Identity", "Dropout")
_GROWING = ("Expand", "Tile", "ConstantOfShape", "Range", "Pad")
_FOLDED = frozenset(
    (*_MOVES, *_GROWING, "Concat", "Add", "Sub", "Mul", "Div", "Mod", "Pow", "Neg", "Abs", "Sqrt", "Reciprocal",
     "Floor", "Ceil", "Equal", "Greater", "Less", "Not", "And", "Or", "Where", "Max", "Min", "ReduceSum", "ReduceMean",
     "ReduceProd", "ReduceMax", "ReduceMin", "ReduceSumSquare", "Cast", "CastLike", "Gather", "Slice")
)  # fmt: skip
_SPARE = 32 << 20  # bytes beside twice the file: what GPEN's kernels, styles and shapes need
_MOST_WORK = 16  # times the budget: bytes that all folded nodes may read and write
_MOST_BYTES = 1 << 31  # of a value that depends on the image; GPEN-2048's largest has a quarter of it
_SMALL = 1 << 16  # values; below, what broadcasting makes of the operands needs no shape inference

_FLOATS = (10, 11, 16)  # float16, float64, bfloat16

Shape = tuple[int | None, ...] | None


class Unknown:
    """A value that is not understood, of which shape inference tells as much as it can; None for what it cannot.

    `constant`: it does not depend on the image, so its size counts towards the budget.
    """

    def __init__(self, shape: Shape, dtype: int = 1, *, constant: bool = False) -> None:
        self.shape, self.dtype, self.constant = shape, dtype, constant


class ConstantFolding:
    """Computes nodes of one graph until the budget is used up."""

    def __init__(self, graph: OnnxGraph) -> None:
        self._graph = graph
        self._bytes = 2 * len(graph.data) + _SPARE
        self._work = _MOST_WORK * self._bytes
        self._evaluators: dict[tuple, ReferenceEvaluator] = {}

    def fold(self, node: Node, args: Sequence[Value | Unknown | None]) -> list[Const | Unknown]:
        """The outputs of a node that does not depend on the image; Unknown where it is not on the list.

        Raises:
            ModelFileError: the node is damaged, or its output exceeds the budget or is of unknown size.
        """
        known = [arg for arg in args if isinstance(arg, Const)]
        first = args[0] if args else None
        if node.op == "Constant":
            return [self._constant(node)]
        if node.op in _SAME and isinstance(first, Const):
            return [first]
        if node.op == "Mul" and len(known) == 2 and max(arg.array.size for arg in known) > 64:
            for one, other in (known, known[::-1]):  # a scaled weight stays a view of the file
                if other.array.size == 1 and one.array.dtype.kind == "f" and other.array.ndim <= one.array.ndim:
                    return [Const(one.array, one.factor * float(other.value.flat[0]))]
        listed = node.op in _FOLDED and all(arg is None or isinstance(arg, Const) for arg in args)
        if not listed or node.op in _GROWING or math.prod(arg.array.size for arg in known) > _SMALL:
            outputs = self.infer(node, args)
            self._charge(node, known, outputs)
            if not listed:
                return [Unknown(output.shape, output.dtype, constant=True) for output in outputs]
        factor = first.factor if node.op in _MOVES and isinstance(first, Const) else 1.0
        arrays = [
            None if not isinstance(arg, Const) else arg.array if arg is first and factor != 1.0 else arg.value
            for arg in args
        ]
        try:
            with np.errstate(all="ignore"):  # what is not finite is found in the weights
                return [Const(np.asarray(array), factor) for array in self._evaluate(node, arrays)]
        except Exception as error:  # as above
            self._damaged(node, error)

    def infer(self, node: Node, args: Sequence[Value | Unknown | None], *, lenient: bool = False) -> list[Unknown]:
        """The outputs of a node, as far as its shape inference knows them.

        Raises:
            ModelFileError: the shapes do not fit the operation, and `lenient` is false.
        """
        import onnx

        types, data = {}, {}
        constant = not any(isinstance(arg, Sym) or (isinstance(arg, Unknown) and not arg.constant) for arg in args)
        for name, arg in zip(node.inputs, args, strict=True):
            kind = arg.dtype if isinstance(arg, Unknown) else onnx.TensorProto.FLOAT
            if isinstance(arg, Const):
                kind = onnx.helper.np_dtype_to_tensor_dtype(arg.array.dtype)
                if arg.array.size <= 64:  # a shape, axes, repeats
                    data[name] = onnx.numpy_helper.from_array(arg.value, name)
            if not constant and kind in _FLOATS:  # terms know no precision
                kind = onnx.TensorProto.FLOAT
            if arg is not None:
                types[name] = onnx.helper.make_tensor_type_proto(kind, arg.shape)
        try:
            schema = onnx.defs.get_schema(node.op, self._graph.opset)
        except onnx.defs.SchemaError:
            return [Unknown(None) for _ in node.outputs]
        opsets = [onnx.helper.make_opsetid("", self._graph.opset)]
        try:
            found = onnx.shape_inference.infer_node_outputs(schema, node.proto, types, data, opset_imports=opsets)
        except Exception as error:  # the errors of the package have no common class
            if lenient:
                return [Unknown(None) for _ in node.outputs]
            self._damaged(node, error)
        outputs = []
        for name in node.outputs:
            tensor = found[name].tensor_type if name in found else onnx.TypeProto.Tensor()
            dims = [d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim]
            outputs.append(Unknown(tuple(dims) if tensor.HasField("shape") else None, tensor.elem_type or 1))
        return outputs

    def check_sizes(self, node: Node, outputs: Sequence[Value | Unknown]) -> None:
        """Refuse values that depend on the image and that no GPEN has memory for."""
        for value in outputs:
            known = [n for n in value.shape or () if n is not None]
            if not isinstance(value, Const) and 4 * math.prod(known) > _MOST_BYTES:
                raise ModelFileError(self._graph.path, f"{node} makes {known[:8]} values, more than any GPEN")

    def _charge(self, node: Node, args: Sequence[Const], outputs: Sequence[Unknown]) -> None:
        taken = 0
        for output in outputs[:1] if node.op in _FOLDED else outputs:
            sizes = output.shape
            if sizes is None or None in sizes:
                what = f"{node} computes a constant of unknown size, which no GPEN has"
                raise ModelFileError(self._graph.path, what, "give a GPEN file")
            width = np.dtype(DTYPES.get(output.dtype, "f8")).itemsize
            taken += 0 if node.op in _MOVES else width * math.prod(int(n or 0) for n in sizes)
        self._bytes -= taken
        self._work -= taken + sum(arg.array.nbytes for arg in args)
        if self._bytes < 0 or self._work < 0:
            what = f"{node} computes a constant of {taken:,} bytes, which is more than any GPEN needs"
            raise ModelFileError(self._graph.path, what, "give a GPEN file")

    def _constant(self, node: Node) -> Const | Unknown:
        name, value = next(iter(node.attributes.items()), ("", None))
        if name == "value" and value is not None:
            array = self._graph.array(value, str(node))
            return Unknown(tuple(value.dims), value.data_type, constant=True) if array is None else Const(array)
        if name not in ("value_float", "value_floats", "value_int", "value_ints"):
            return Unknown(None, constant=True)
        return Const(np.array(value, np.float32 if "float" in name else np.int64))

    def _evaluate(self, node: Node, arrays: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        import onnx
        from onnx.reference import ReferenceEvaluator

        names = ["" if array is None else f"x{i}" for i, array in enumerate(arrays)]
        key = (node.op, *names, *(a.SerializeToString() for a in node.proto.attribute))
        if key not in self._evaluators:  # many nodes differ in their operands only
            proto = onnx.NodeProto(op_type=node.op, input=names, output=["y"], attribute=node.proto.attribute)
            inputs = [onnx.ValueInfoProto(name=name) for name in names if name]
            graph = onnx.helper.make_graph([proto], "g", inputs, [onnx.ValueInfoProto(name="y")])
            self._evaluators[key] = ReferenceEvaluator(graph, opsets={"": self._graph.opset})
        outputs = self._evaluators[key].run(None, {n: a for n, a in zip(names, arrays, strict=True) if n})
        assert isinstance(outputs, list)  # a dict where a function is run
        return outputs

    def _damaged(self, node: Node, error: Exception) -> NoReturn:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ModelFileError(self._graph.path, f"its graph is damaged: {node} cannot be computed ({reason})") from error
