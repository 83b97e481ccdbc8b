"""An ONNX graph that is built by computing: values have operators, which add nodes. Opset 18, standard ops only."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from learned_transforms.errors import MissingExtraError, UnsupportedTransformError
from learned_transforms.ir.ops import Blur

if TYPE_CHECKING:
    import onnx

OPSET, IR_VERSION = 18, 10
LAST_BITS = "its levels hang on the last bits of torch's own exponential and sums, which engines compute differently"
"""Why a blur of levels has no form in ONNX."""


def onnx_package() -> Any:
    """Return the package ``onnx``.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError(
            "Writing ONNX files needs onnx, which is not installed: pip install 'learned_transforms[export]'."
        ) from error
    return onnx


class Value:
    """A tensor of a graph.

    Attributes:
        name: in the graph.
        dtype: of numpy's, by name: ``"float32"``.
    """

    def __init__(self, graph: "OnnxGraph", name: str, dtype: str) -> None:
        if dtype == "float64" != graph.widest:
            raise UnsupportedTransformError("it needs float64, which this graph must not have")
        self.graph, self.name, self.dtype = graph, name, dtype

    def binary(self, op: str, other: Any, swapped: bool = False, dtype: str | None = None) -> "Value":
        one, two = self, self.graph.value(other, self.dtype)
        return self.graph.op(op, *((two, one) if swapped else (one, two)), dtype=dtype or self.dtype)

    def __add__(self, other: Any) -> "Value":
        return self.binary("Add", other)

    def __radd__(self, other: Any) -> "Value":
        return self.binary("Add", other, True)

    def __sub__(self, other: Any) -> "Value":
        return self.binary("Sub", other)

    def __rsub__(self, other: Any) -> "Value":
        return self.binary("Sub", other, True)

    def __mul__(self, other: Any) -> "Value":
        return self.binary("Mul", other)

    def __rmul__(self, other: Any) -> "Value":
        return self.binary("Mul", other, True)

    def __truediv__(self, other: Any) -> "Value":
        return self.binary("Div", other)

    def __rtruediv__(self, other: Any) -> "Value":
        return self.binary("Div", other, True)

    def __floordiv__(self, other: Any) -> "Value":
        """Of whole numbers of which none is below 0."""
        return self.binary("Div", other)

    def __neg__(self) -> "Value":
        return self.graph.op("Neg", self, dtype=self.dtype)

    def __lt__(self, other: Any) -> "Value":
        return self.binary("Less", other, dtype="bool")

    def __le__(self, other: Any) -> "Value":
        return self.binary("LessOrEqual", other, dtype="bool")

    def __gt__(self, other: Any) -> "Value":
        return self.binary("Greater", other, dtype="bool")

    def __ge__(self, other: Any) -> "Value":
        return self.binary("GreaterOrEqual", other, dtype="bool")

    def __and__(self, other: Any) -> "Value":
        return self.binary("And", other)

    def __or__(self, other: Any) -> "Value":
        return self.binary("Or", other)


class OnnxGraph:
    """Builds a graph; its methods are those of :class:`~learned_transforms.export.torch_graph.TorchGraph`, and emitters
    know no others.

    Lengths that are not known beforehand are values: whole numbers without dimensions.

    Args:
        wide: the engine has float64; else all sums are of float32.
    """

    slicing = True

    def __init__(self, wide: bool = True) -> None:
        self.onnx, self.widest = onnx_package(), "float64" if wide else "float32"
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[Any, tuple[str, np.ndarray]] = {}
        self.inputs: list[Any] = []
        self.count = 0

    def input(self, name: str, dtype: str, shape: Sequence[int | str]) -> Value:
        self.inputs.append(self.onnx.helper.make_tensor_value_info(name, self.type_of(dtype), shape))
        return Value(self, name, dtype)

    def type_of(self, dtype: str) -> int:
        found: int = self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return found

    def fresh(self) -> str:
        self.count += 1
        return f"v{self.count}"

    def op(self, kind: str, *inputs: Value | None, dtype: str, **attributes: Any) -> Value:
        """Add a node of one output; None: an input that is left out."""
        made = Value(self, self.fresh(), dtype)
        names = ["" if one is None else one.name for one in inputs]
        self.nodes.append(self.onnx.helper.make_node(kind, names, [made.name], **attributes))
        return made

    def value(self, given: Any, dtype: str) -> Value:
        return given if isinstance(given, Value) else self.constant(given, dtype)

    def constant(self, given: Any, dtype: str | None = None) -> Value:
        """Return numbers as a value; equal ones are stored once."""
        array = given.detach().cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)
        array = np.ascontiguousarray(array.astype(dtype or array.dtype)).reshape(array.shape)
        key = array.dtype.str, array.shape, array.tobytes()
        if key not in self.initializers:
            self.initializers[key] = f"c{len(self.initializers)}", array
        return Value(self, self.initializers[key][0], str(array.dtype))

    # Numbers.
    def dtype(self, x: Value) -> str:
        return x.dtype

    def cast(self, x: Value, dtype: str) -> Value:
        return x if x.dtype == dtype else self.op("Cast", x, dtype=dtype, to=self.type_of(dtype))

    def unary(self, kind: str, x: Value) -> Value:
        return self.op(kind, x, dtype=x.dtype)

    def floor(self, x: Value) -> Value:
        return self.unary("Floor", x)

    def round(self, x: Value) -> Value:
        """Halves to even."""
        return self.unary("Round", x)

    def abs(self, x: Value) -> Value:
        return self.unary("Abs", x)

    def sign(self, x: Value) -> Value:
        return self.unary("Sign", x)

    def exp(self, x: Value) -> Value:
        return self.unary("Exp", x)

    def invert(self, x: Value) -> Value:
        """Of truths."""
        return self.unary("Not", x)

    def fmod(self, x: Value, by: float) -> Value:
        """The remainder of a division, with the sign of ``x``."""
        return self.op("Mod", x, self.constant(by, x.dtype), dtype=x.dtype, fmod=1)

    def remainder(self, x: Value, by: Value) -> Value:
        """Of whole numbers, with the sign of ``by``."""
        return self.op("Mod", x, by, dtype=x.dtype)

    def equal(self, x: Value, other: Any) -> Value:
        return x.binary("Equal", other, dtype="bool")

    def known(self, x: Value) -> Value:
        """Whether it is no NaN."""
        return self.invert(self.op("IsNaN", x, dtype="bool"))

    def maximum(self, x: Value, other: Any) -> Value:
        return x.binary("Max", other)

    def minimum(self, x: Value, other: Any) -> Value:
        return x.binary("Min", other)

    def clip(self, x: Value, low: float, high: float) -> Value:
        ends = self.constant(low, x.dtype), self.constant(high, x.dtype)
        return self.op("Clip", x, *ends, dtype=x.dtype)

    def where(self, condition: Value, one: Any, other: Any) -> Value:
        dtype = next(v.dtype for v in (one, other) if isinstance(v, Value))
        return self.op("Where", condition, self.value(one, dtype), self.value(other, dtype), dtype=dtype)

    def matmul(self, one: Value, other: Value) -> Value:
        return self.op("MatMul", one, other, dtype=one.dtype)

    def cumsum(self, x: Value) -> Value:
        """Sums along the last axis, one term after the other."""
        return self.op("CumSum", x, self.constant(-1, "int64"), dtype=x.dtype)

    def reduce(self, kind: str, x: Value, axes: Sequence[int]) -> Value:
        """``"Sum"``, ``"Max"`` or ``"Min"`` over axes, which are kept."""
        return self.op(f"Reduce{kind}", x, self.constant(list(axes), "int64"), dtype=x.dtype, keepdims=1)

    # KeptPlaces.
    def length(self, x: Value, axis: int) -> Any:
        end = {} if axis == -1 else {"end": axis + 1}
        shape = self.op("Shape", x, dtype="int64", start=axis, **end)
        return self.squeeze(shape, 0)

    def number(self, length: Any, dtype: str) -> Value:
        """Return a length as a number."""
        return self.cast(self.value(length, "int64"), dtype)

    def largest(self, one: Any, other: Any) -> Any:
        if isinstance(one, int) and isinstance(other, int):
            return max(one, other)
        return self.maximum(self.value(one, "int64"), other)

    def smallest(self, one: Any, other: Any) -> Any:
        if isinstance(one, int) and isinstance(other, int):
            return min(one, other)
        return self.minimum(self.value(one, "int64"), other)

    def range(self, length: Any, dtype: str = "int64") -> Value:
        if isinstance(length, int):
            return self.constant(np.arange(length), dtype)
        ends = self.constant(0, "int64"), length, self.constant(1, "int64")
        return self.cast(self.op("Range", *ends, dtype="int64"), dtype)

    def unsqueeze(self, x: Value, axis: int) -> Value:
        return self.op("Unsqueeze", x, self.constant([axis], "int64"), dtype=x.dtype)

    def squeeze(self, x: Value, axis: int) -> Value:
        return self.op("Squeeze", x, self.constant([axis], "int64"), dtype=x.dtype)

    def transpose(self, x: Value, order: Sequence[int]) -> Value:
        return self.op("Transpose", x, dtype=x.dtype, perm=list(order))

    def take(self, x: Value, index: Any, axis: int) -> Value:
        """``index``: whole numbers of any shape."""
        return self.op("Gather", x, self.value(index, "int64"), dtype=x.dtype, axis=axis)

    def take_along(self, x: Value, index: Value, axis: int) -> Value:
        return self.op("GatherElements", x, index, dtype=x.dtype, axis=axis)

    def concat(self, parts: Sequence[Value], axis: int) -> Value:
        if len(parts) == 1:
            return parts[0]
        return self.op("Concat", *parts, dtype=parts[0].dtype, axis=axis)

    def slice(self, x: Value, start: Any, stop: Any, axis: int) -> Value:
        ends = (self.vector(start), self.vector(stop), self.constant([axis], "int64"))
        return self.op("Slice", x, *ends, dtype=x.dtype)

    def last(self, x: Value) -> Value:
        """Return the last of the last axis, which is kept."""
        return self.slice(x, -1, 2**31 - 1, -1)

    def vector(self, length: Any) -> Value:
        """Return a length as a vector of one number."""
        if isinstance(length, int):
            return self.constant([length], "int64")
        return self.op("Reshape", length, self.constant([1], "int64"), dtype="int64")

    def zeros(self, shape: Sequence[Any], dtype: str) -> Value:
        zero = self.onnx.helper.make_tensor("zero", self.type_of(dtype), [1], [0])
        size = self.concat([self.vector(length) for length in shape], 0)
        return self.op("ConstantOfShape", size, dtype=dtype, value=zero)

    def scatter(self, rows: Any, columns: Any, index: Value, values: Value) -> Value:
        """``made [rows, columns]``, 0 but for ``made[i, index[i, k]] = values[i, k]``."""
        zeros = self.zeros((rows, columns), values.dtype)
        return self.op("ScatterElements", zeros, index, values, dtype=values.dtype, axis=1)

    def counts(self, levels: Value) -> Value:
        """How often each of 256 levels comes: int64 ``[N, C, 256]`` of int64 ``[N, C, pixels]``."""
        head = self.op("Shape", levels, dtype="int64", end=2)
        size = self.concat([head, self.constant([256], "int64")], 0)
        zero = self.onnx.helper.make_tensor("zero", self.type_of("int64"), [1], [0])
        zeros = self.op("ConstantOfShape", size, dtype="int64", value=zero)
        ones = self.op(
            "Add",
            self.op("Mul", levels, self.constant(0, "int64"), dtype="int64"),
            self.constant(1, "int64"),
            dtype="int64",
        )
        return self.op("ScatterElements", zeros, levels, ones, dtype="int64", axis=-1, reduction="add")

    def flat(self, x: Value) -> Value:
        """Pixels of each channel in a row: ``[N, C, H * W]``."""
        return self.op("Reshape", x, self.constant([0, 0, -1], "int64"), dtype=x.dtype)

    def shaped(self, x: Value, like: Value) -> Value:
        return self.op("Reshape", x, self.op("Shape", like, dtype="int64"), dtype=x.dtype)

    def smoothed(self, x: Value, sigma: Value, stage: Blur) -> Value:
        """Raise that no graph has it.

        Raises:
            UnsupportedTransformError: always.
        """
        raise UnsupportedTransformError(LAST_BITS)

    def when(self, condition: Value, made: Callable[[Value], Value], x: Value) -> Value:
        """Return what is made of ``x`` under a condition, else ``x``: what is not needed is not computed."""
        return self.either(condition, lambda: made(x), lambda: x)

    def either(self, condition: Value, one: Callable[[], Value], other: Callable[[], Value]) -> Value:
        """Return what one of two branches gives."""
        branches, dtype = [], ""
        for branch, make in (("then", one), ("else", other)):
            outer, self.nodes = self.nodes, []
            made = make()
            made = self.op("Identity", made, dtype=made.dtype)  # A branch gives nothing that it has not made.
            info = self.onnx.helper.make_tensor_value_info(made.name, self.type_of(made.dtype), None)
            branches.append(self.onnx.helper.make_graph(self.nodes, f"{branch}{self.count}", [], [info]))
            self.nodes, dtype = outer, made.dtype
        return self.op("If", condition, dtype=dtype, then_branch=branches[0], else_branch=branches[1])

    def model(self, outputs: Sequence[tuple[Value, str, Sequence[int | str | None]]], metadata: dict[str, str]) -> Any:
        """Return the whole as a checked ``ModelProto``; outputs are values with their names and shapes."""
        helper = self.onnx.helper
        infos = []
        for value, name, shape in outputs:
            self.nodes.append(helper.make_node("Identity", [value.name], [name]))
            infos.append(helper.make_tensor_value_info(name, self.type_of(value.dtype), shape))
        stored = [self.onnx.numpy_helper.from_array(array, name) for name, array in self.initializers.values()]
        graph = helper.make_graph(self.nodes, "learned_transforms", self.inputs, infos, stored)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        helper.set_model_props(made, metadata)
        made.producer_name = "learned_transforms"
        self.onnx.checker.check_model(made, full_check=True)
        return made
