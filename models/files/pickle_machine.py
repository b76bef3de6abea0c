"""The data in a pickle, without running it: a stack machine that builds dicts, lists and tensor descriptions only.

A pickle is a program, and loading one calls whatever functions it names. This machine knows no function at all: names
become labels, and the few calls that a state dict consists of are taken for what they mean. That holds on every
version of PyTorch, whose own ``weights_only`` could be got round before 2.6. What a pickle can make this allocate is
bounded by the number of its operations and its length.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from .tensor_records import DamagedError

MOST_BYTES = 8 << 20  # a GPEN's pickle has 20 kB, that of a training checkpoint 500 kB
_MOST_OPERATIONS = 400_000

_DTYPES = {
    "Float": torch.float32, "Double": torch.float64, "Half": torch.float16, "BFloat16": torch.bfloat16,
    "Byte": torch.uint8, "Char": torch.int8, "Short": torch.int16, "Int": torch.int32, "Long": torch.int64,
    "Bool": torch.bool, "Untyped": torch.uint8,
}  # fmt: skip
# element types by name; quantised ones need scales that lie elsewhere
_TYPES = {f"torch.{name}": dtype for name, dtype in vars(torch).items()
          if isinstance(dtype, torch.dtype) and not name.startswith(("q", "bits"))}  # fmt: skip
_STORAGES = {f"{room}.{name}Storage": dtype for name, dtype in _DTYPES.items() for room in ("torch", "torch.storage")}
# values that training checkpoints hold beside their tensors; nothing here needs them
_INERT = {
    "torch.device", "torch.Size", "collections.Counter", "collections.defaultdict", "_codecs.encode", "builtins.set",
    "builtins.frozenset", "builtins.list", "builtins.dict", "builtins.int", "builtins.float", "builtins.bytearray",
    "builtins.complex", "__builtin__.set", "__builtin__.list", "torch.Tensor", "torch.nn.parameter.Parameter",
}  # fmt: skip
_DICTS = {"collections.OrderedDict", "builtins.dict"}
_REBUILD = "torch._utils._rebuild_"


@dataclass(frozen=True)
class Storage:
    """A run of elements that lies beside the pickle: its key, element type, and count."""

    key: str
    dtype: torch.dtype
    numel: int
    view: tuple[int, int] | None = None  # first element and count within the storage of that key


@dataclass(frozen=True)
class StoredTensor:
    """A tensor as the pickle describes it; nothing is checked yet."""

    storage: Storage
    offset: object
    shape: tuple[object, ...]
    stride: tuple[object, ...]
    dtype: torch.dtype


@dataclass(frozen=True)
class _Label:
    """A function or class that the pickle names."""

    name: str


class _Mark:
    """Where a group of values starts on the stack."""


_MARK = _Mark()
_NOTHING = _Label("")  # stands for every value that is of no use here


@dataclass
class Unpickled:
    """What a pickle holds.

    Args:
        value: dicts, lists, tuples, strings, numbers and `StoredTensor`; None where it could not be read to its end.
        calls: functions and classes that loading it would call, harmless ones left out.
        unsupported: functions of PyTorch that rebuild tensors of other kinds (quantised, sparse, without data).
        strings: all strings, which tell what network it is.
        storages: element types of the storages that lie beside the pickle, by key.
        problem: why it could not be read to its end; empty if it could.
    """

    value: Any = None
    calls: list[str] = field(default_factory=list)
    unsupported: list[str] = field(default_factory=list)
    strings: list[str] = field(default_factory=list)
    storages: dict[str, torch.dtype] = field(default_factory=dict)
    problem: str = ""


def unpickle(stream: io.BytesIO) -> Unpickled:
    """Read one pickle and leave the stream behind it. Raises nothing: see ``problem``.

    Args:
        stream: in memory, `MOST_BYTES` at most.
    """
    machine = _Machine()
    found = machine.found
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if count == _MOST_OPERATIONS:
                raise DamagedError(f"its pickle has more than {_MOST_OPERATIONS:,} operations")
            if opcode.name == "STOP":
                found.value = machine.pop()
                return found
            machine.do(opcode.name, argument)
        raise DamagedError("its pickle has no end")
    except DamagedError as error:
        found.problem = str(error)
    except Exception:  # pickletools raises whatever its decoders happen to raise for bytes that are no pickle
        found.problem = "its pickle is cut off or damaged"
    return found


class _Machine:
    """The stack, the memo, and one method per group of operations."""

    def __init__(self) -> None:
        self.found = Unpickled()
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def pop(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise DamagedError("its pickle takes more values than it made")
        return self.stack.pop()

    def pop_group(self) -> list[Any]:
        """The values above the last mark, which goes too."""
        group: list[Any] = []
        while self.stack and self.stack[-1] is not _MARK:
            group.append(self.stack.pop())
        if not self.stack:
            raise DamagedError("its pickle closes a group that it did not open")
        self.stack.pop()
        return group[::-1]

    def do(self, name: str, argument: Any) -> None:
        """Carry out one operation."""
        if name in _PUSHED:
            if isinstance(argument, str):
                self.found.strings.append(argument)
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            value = self.pop()
            self.stack.append(value)
            self.memo[len(self.memo) if argument is None else argument] = value
        elif name in ("BINGET", "LONG_BINGET"):
            if argument not in self.memo:
                raise DamagedError("its pickle refers to a value that it did not make")
            self.stack.append(self.memo[argument])
        elif name in ("GLOBAL", "INST"):
            self.stack.append(self.label(str(argument).replace(" ", ".")))
            if name == "INST":
                raise DamagedError("its pickle makes objects")
        elif name in _OPERATIONS:
            _OPERATIONS[name](self)
        elif name not in ("PROTO", "FRAME"):
            raise DamagedError(f"its pickle has operations that PyTorch does not write ({name})")

    def label(self, name: str) -> _Label:
        """The label of a function or class; one that would run code is written down."""
        if name in _CALLS or name in _STORAGES or name in _INERT or name in _DICTS or name in _TYPES:
            return _Label(name)
        (self.found.unsupported if name.startswith(_REBUILD) else self.found.calls).append(name)
        return _NOTHING

    def stack_global(self) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise DamagedError("its pickle names a function in an unknown way")
        self.stack.append(self.label(f"{module}.{name}"))

    def append(self, values: list[Any]) -> None:
        target = self.pop()
        if isinstance(target, list):
            target.extend(values)
        self.stack.append(target)

    def set_items(self, values: list[Any]) -> None:
        target = self.pop()
        if isinstance(target, dict):
            for key, value in zip(values[::2], values[1::2], strict=False):
                # other keys lead to no tensor of a network, and some could be made to collide
                usable = isinstance(key, str) or (type(key) is int and abs(key) < 1 << 60)
                target[key if usable else f"<{len(target)}>"] = value
        self.stack.append(target)

    def call(self) -> None:
        arguments, function = self.pop(), self.pop()
        name = function.name if isinstance(function, _Label) else ""
        if name in _DICTS:
            self.stack.append({})
        elif name in _CALLS and isinstance(arguments, tuple):
            self.stack.append(_CALLS[name](arguments))
        else:
            self.stack.append(_NOTHING)

    def build(self) -> None:
        self.pop()  # attributes, such as the _metadata of a state dict

    def persistent(self) -> None:
        storage = _storage(self.pop())
        if isinstance(storage, Storage):
            self.found.storages[storage.key] = storage.dtype
        self.stack.append(storage)


def _storage(described: Any) -> Storage | _Label:
    """``("storage", type, key, device, count)``, in old files with ``(view key, first, count)`` or None behind it."""
    if not isinstance(described, tuple) or len(described) < 5 or described[0] != "storage":
        return _NOTHING
    kind, key, _, numel = described[1:5]
    dtype = _STORAGES.get(kind.name) if isinstance(kind, _Label) else None
    if dtype is None or not isinstance(key, str | int) or type(numel) is not int:
        raise DamagedError("its pickle describes a storage in an unknown way")
    view = described[5] if len(described) > 5 else None
    if isinstance(view, tuple) and len(view) == 3 and all(type(part) is int for part in view[1:]):
        return Storage(str(key), dtype, numel, (view[1], view[2]))
    return Storage(str(key), dtype, numel)


def _tensor(arguments: tuple[Any, ...]) -> StoredTensor | _Label:
    """``_rebuild_tensor_v2(storage, offset, size, stride, …)``; v3 has a dtype behind two more arguments."""
    if arguments and arguments[0] is _NOTHING:  # of a storage that a call would have made; the call is written down
        return _NOTHING
    if len(arguments) < 4 or not isinstance(arguments[0], Storage):
        raise DamagedError("its pickle describes a tensor in an unknown way")
    storage, offset, shape, stride = arguments[:4]
    if not isinstance(shape, tuple) or not isinstance(stride, tuple):
        raise DamagedError("its pickle describes a tensor in an unknown way")
    dtype = _TYPES.get(arguments[6].name) if len(arguments) > 6 and isinstance(arguments[6], _Label) else None
    return StoredTensor(storage, offset, shape, stride, dtype or storage.dtype)


def _first(arguments: tuple[Any, ...]) -> Any:
    """A parameter is its tensor."""
    return arguments[0] if arguments else _NOTHING


def _typed(arguments: tuple[Any, ...]) -> Any:
    """``_rebuild_from_type_v2(function, type, arguments, state)``: a tensor with attributes."""
    if len(arguments) >= 3 and isinstance(arguments[0], _Label) and isinstance(arguments[2], tuple):
        rebuild = _CALLS.get(arguments[0].name)
        if rebuild is not None and rebuild is not _typed:
            return rebuild(arguments[2])
    return _NOTHING


_CALLS: dict[str, Callable[[tuple[Any, ...]], Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._tensor._rebuild_from_type_v2": _typed,
}
_PUSHED = {
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING",
    "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "EMPTY_DICT": dict, "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple, "EMPTY_SET": lambda: _NOTHING, "MARK": lambda: _MARK,
}  # fmt: skip
_OPERATIONS: dict[str, Callable[[_Machine], Any]] = {
    "POP": lambda m: m.pop(),
    "POP_MARK": lambda m: m.pop_group(),
    "TUPLE1": lambda m: m.stack.append((m.pop(),)),
    "TUPLE2": lambda m: m.stack.append((m.pop(), m.pop())[::-1]),
    "TUPLE3": lambda m: m.stack.append((m.pop(), m.pop(), m.pop())[::-1]),
    "TUPLE": lambda m: m.stack.append(tuple(m.pop_group())),
    "FROZENSET": lambda m: (m.pop_group(), m.stack.append(_NOTHING)),
    "APPEND": lambda m: m.append([m.pop()]),
    "APPENDS": lambda m: m.append(m.pop_group()),
    "ADDITEMS": lambda m: m.pop_group(),
    "SETITEM": lambda m: m.set_items([m.pop(), m.pop()][::-1]),
    "SETITEMS": lambda m: m.set_items(m.pop_group()),
    "STACK_GLOBAL": _Machine.stack_global,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.call,
    "NEWOBJ_EX": lambda m: (m.pop(), m.call()),
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.persistent,
}
