"""What torch's data.pkl says of its storages: type, shape and name, by its opcodes alone.

    storages(data) -> {key: Seen(dtype, shape, name)}

An abstract machine over `pickletools.genops`: it knows texts, whole numbers, tuples, containers,
the persistent ids that stand for storages and the calls that rebuild tensors from them, and takes
all else for something unknown. Nothing is imported or called. What cannot be followed any further
ends it: what was seen until then is handed on, and is only ever a hint for where to look.
"""

from __future__ import annotations

import pickletools
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from headwater.formats.pickle_listing import OPS_MAX
from headwater.formats.span import NAME_BYTES_MAX, SIDES_MAX

PICKLE_BYTES_MAX = 8 * 2**20  # a state dict of thousands of tensors has some hundred KB
DEPTH_MAX = 64  # containers in containers that a name is made of

_STORAGES = {
    "FloatStorage": "F32", "DoubleStorage": "F64", "HalfStorage": "F16", "BFloat16Storage": "BF16",
    "LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8",
    "ByteStorage": "U8", "BoolStorage": "BOOL", "ComplexFloatStorage": "C64",
    "QInt8Storage": "I8", "QUInt8Storage": "U8", "QInt32Storage": "I32",
}  # fmt: skip
# Types younger than storage classes: named by their own global, over an untyped storage.
_YOUNG = {
    "uint16": "U16", "uint32": "U32", "uint64": "U64", "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2", "float8_e4m3fnuz": "F8_E4M3FNUZ", "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "float8_e8m0fnu": "F8_E8M0",
}  # fmt: skip
_TENSORS = {"_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3"}
_PARAMETERS = {"_rebuild_parameter", "_rebuild_parameter_with_state"}
_INSIDE = {"_parameters", "_buffers", "_modules"}  # how a pickled nn.Module holds what it names
_NUMBERS = {"BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4"}
_TEXTS = {"BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE", "BINSTRING", "STRING",
          "SHORT_BINSTRING"}  # fmt: skip
_EMPTY = {"EMPTY_DICT", "EMPTY_LIST", "EMPTY_SET"}
_MARK, _OTHER = object(), object()


class Seen(NamedTuple):
    """Of one storage. `shape` is of the tensor that covers it all in order, if there is one."""

    dtype: str | None
    shape: tuple[int, ...]
    name: str


class _Global(NamedTuple):
    module: str
    name: str


class _Storage(NamedTuple):
    key: str
    dtype: str | None
    elements: int


class _Tensor(NamedTuple):
    storage: _Storage
    dtype: str | None
    shape: tuple[int, ...] | None  # None: it is a part of its storage, or in another order


@dataclass(slots=True, eq=False)
class _Container:
    """A dict, list or object: what it holds, by name where there is one."""

    held: list[tuple[Any, Any]] = field(default_factory=list)


class _Lost(Exception):
    """The stream cannot be followed any further."""


class _Machine:
    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.tensors: list[_Tensor] = []  # those found, whether or not anything names them

    def run(self, data: bytes) -> None:
        for number, (opcode, arg, _) in enumerate(pickletools.genops(data)):
            if number > OPS_MAX:
                raise _Lost
            self._op(opcode, arg)

    def _op(self, opcode: Any, arg: Any) -> None:
        name = opcode.name
        if name in _TEXTS or name in _NUMBERS:
            self.stack.append(arg)
        elif name == "MARK":
            self.stack.append(_MARK)
        elif name in _EMPTY:
            self.stack.append(_Container())
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[int(arg)])
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memo[len(self.memo) if name == "MEMOIZE" else int(arg)] = self.stack[-1]
        elif name == "GLOBAL":
            self.stack.append(_Global(*arg.split(" ", 1)))
        elif (method := getattr(self, "_" + name.lower(), None)) is not None:
            method()
        else:
            self._generic(opcode)

    def _generic(self, opcode: Any) -> None:
        """What pickletools says that the opcode does to the stack, with nothing known after."""
        before = opcode.stack_before
        if pickletools.markobject in before:
            self._marked()
            before = before[: before.index(pickletools.markobject)]
        self._taken(len(before))
        self.stack += [_OTHER] * len(opcode.stack_after)

    def _marked(self) -> list[Any]:
        at = len(self.stack) - 1
        while at >= 0 and self.stack[at] is not _MARK:
            at -= 1
        if at < 0:
            raise _Lost
        taken = self.stack[at + 1 :]
        del self.stack[at:]
        return taken

    def _taken(self, count: int) -> list[Any]:
        if count > len(self.stack):
            raise _Lost
        taken = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return taken

    def _hold(self, pairs: Iterator[tuple[Any, Any]]) -> None:
        if isinstance(self.stack[-1], _Container):
            self.stack[-1].held += pairs

    def _empty_tuple(self) -> None:
        self.stack.append(())

    def _tuple1(self) -> None:
        self.stack.append(tuple(self._taken(1)))

    def _tuple2(self) -> None:
        self.stack.append(tuple(self._taken(2)))

    def _tuple3(self) -> None:
        self.stack.append(tuple(self._taken(3)))

    def _tuple(self) -> None:
        self.stack.append(tuple(self._marked()))

    def _list(self) -> None:
        self.stack.append(_Container([*enumerate(self._marked())]))

    def _dict(self) -> None:
        self.stack.append(_Container([*_pairs(self._marked())]))

    def _append(self) -> None:
        (value,) = self._taken(1)
        self._hold(iter([(self._next(), value)]))

    def _appends(self) -> None:
        values = self._marked()
        self._hold(iter([*enumerate(values, self._next())]))

    def _next(self) -> int:
        return len(self.stack[-1].held) if isinstance(self.stack[-1], _Container) else 0

    def _setitem(self) -> None:
        self._hold(_pairs(self._taken(2)))

    def _setitems(self) -> None:
        self._hold(_pairs(self._marked()))

    def _build(self) -> None:
        (state,) = self._taken(1)
        self._hold(iter([("", state)]))

    def _stop(self) -> None:
        """What it made stays: the names begin there."""

    def _stack_global(self) -> None:
        module, name = self._taken(2)
        both = isinstance(module, str) and isinstance(name, str)
        self.stack.append(_Global(module, name) if both else _OTHER)

    def _binpersid(self) -> None:
        self.stack.append(_storage(*self._taken(1)))

    def _reduce(self) -> None:
        called, args = self._taken(2)
        made: Any = None
        if isinstance(called, _Global) and isinstance(args, tuple) and args:
            if called.module == "torch._utils" and called.name in _TENSORS:
                made = _tensor(args)
            elif called.module == "torch._utils" and called.name in _PARAMETERS:
                made = args[0]
        if isinstance(made, _Tensor):
            self.tensors.append(made)
        self.stack.append(_Container([("", args)]) if made is None else made)

    def _newobj(self) -> None:
        self.stack.append(_Container([("", self._taken(2)[1])]))


def _pairs(flat: list[Any]) -> Iterator[tuple[Any, Any]]:
    return zip(flat[::2], flat[1::2], strict=False)


def _storage(said: Any) -> Any:
    """The storage that a persistent id stands for: ('storage', class, key, place, elements)."""
    if not isinstance(said, tuple) or len(said) < 5 or said[0] != "storage":
        return _OTHER
    kind, key, elements = said[1], said[2], said[4]
    if not (isinstance(kind, _Global) and isinstance(key, str) and isinstance(elements, int)):
        return _OTHER
    return _Storage(key, _STORAGES.get(kind.name), elements)


def _tensor(args: tuple[Any, ...]) -> Any:
    """The tensor that the arguments (storage, offset, size, stride, …) rebuild."""
    if len(args) < 4 or not isinstance(args[0], _Storage):
        return _OTHER
    storage, offset, shape, strides = args[:4]
    dtype = storage.dtype
    if dtype is None and len(args) > 6 and isinstance(args[6], _Global):
        dtype = _YOUNG.get(args[6].name)
    if not (_whole(shape) and _whole(strides) and len(shape) == len(strides) and offset == 0):
        return _Tensor(storage, dtype, None)
    step = 1
    for side, stride in zip(reversed(shape), reversed(strides), strict=True):
        if side != 1 and stride != step:
            return _Tensor(storage, dtype, None)
        step *= side
    return _Tensor(storage, dtype, shape)


def _whole(sides: Any) -> bool:
    if not isinstance(sides, tuple) or len(sides) > SIDES_MAX:
        return False
    return all(isinstance(side, int) and 0 <= side < 2**63 for side in sides)


def storages(data: bytes) -> dict[str, Seen]:
    """What the pickle says of each storage, as far as it can be followed. Never an error."""
    machine = _Machine()
    with suppress(Exception):  # pickletools raises whatever int(), codecs or a lost stack do
        machine.run(data)
    names = _names([*machine.stack, *machine.memo.values()])
    seen: dict[str, Seen] = {}
    for tensor in machine.tensors:
        key, known = tensor.storage.key, seen.get(tensor.storage.key)
        whole = (tensor.storage.elements,) if tensor.storage.dtype else ()
        shape = tensor.shape if tensor.shape is not None else whole
        if known is None or (known.shape == whole and tensor.shape is not None):
            seen[key] = Seen(tensor.dtype, shape, names.get(id(tensor), ""))
    return seen


def _names(roots: list[Any]) -> dict[int, str]:
    """Names of tensors, by identity: the keys on the way to each, the first way that is found."""
    names: dict[int, str] = {}
    visited: set[int] = set()
    todo: list[tuple[str, Any, int, Any]] = [("", "", 0, root) for root in reversed(roots)]
    while todo:
        path, key, depth, value = todo.pop()
        is_plain = type(value) is tuple
        if isinstance(value, _Tensor):
            names.setdefault(id(value), _joined(path, key))
        elif (is_plain or type(value) is _Container) and depth <= DEPTH_MAX:
            if id(value) in visited:
                continue
            visited.add(id(value))
            held = [("", item) for item in value] if is_plain else value.held
            here = _joined(path, key)
            todo += [(here, inner, depth + 1, item) for inner, item in reversed(held)]
    return names


def _joined(path: str, key: Any) -> str:
    """`key` below `path`. One that is too long is not cut but left longer than is taken."""
    if isinstance(key, int) and abs(key) < 2**63:
        key = str(key)
    if not isinstance(key, str) or key == "" or key in _INSIDE:
        return path
    return f"{path}.{key[: NAME_BYTES_MAX + 1]}"[: NAME_BYTES_MAX + 2].removeprefix(
        "" if path else "."
    )
