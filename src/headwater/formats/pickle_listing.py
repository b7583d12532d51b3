"""Pickles: which globals a stream names, listed without ever loading one.

    list_pickle(data) -> Listing(imports, complete, reason)

`pickletools.genops` gives the opcodes; a small abstract stack follows the strings among them, so
that a global named in pieces (STACK_GLOBAL) is found through stack and memo. What cannot be
followed is a global of unknown name, which nobody takes for harmless. A stream that does not end
properly, is followed by other bytes, or is too long, is not `complete`: whatever was seen until
then is still listed, for a loader runs it before it meets the error.
Nothing here imports, calls or unpickles anything.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from headwater.formats.pickle_globals import Safety, safety_of

PICKLE_BYTES_MAX = 32 * 2**20  # listed at once; a state dict of thousands of tensors has a few MB
OPS_MAX = 400_000  # about a second; the largest state dicts have 200,000
STREAMS_MAX = 64  # pickles end to end in one file; old torch files have five
IMPORTS_MAX = 1_000  # distinct names kept; beyond them the listing is not complete
STACK_MAX = 100_000
NAME_CHARS_MAX = 300
UNKNOWN = "?"
TORCH_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of a torch file before zip archives
LEGACY_STREAMS = 5  # magic, version, machine, object, keys; raw storages follow

_NAME = re.compile(r"[A-Za-z_?][A-Za-z0-9_.?]*")
_STRINGS = frozenset(
    (
        "STRING BINSTRING SHORT_BINSTRING UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8 BINBYTES "
        "SHORT_BINBYTES BINBYTES8"
    ).split()
)
_EXTENSIONS = frozenset({"EXT1", "EXT2", "EXT4"})
_CALLS = frozenset({"REDUCE", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "BUILD"})
_MARK = object()
_OTHER = object()


@dataclass(frozen=True, slots=True)
class Import:
    module: str
    name: str
    safety: Safety


@dataclass(frozen=True, slots=True)
class Listing:
    """`complete`: every byte was followed to its end; `reason` says why not. `calls`: something was
    called, or given a state, before that. `cut`: the bytes ended, and more of them might go on."""

    imports: tuple[Import, ...]
    complete: bool
    reason: str = ""
    calls: bool = False
    cut: bool = False

    @property
    def is_likely(self) -> bool:
        """Whether bytes without a mark are a pickle, and not a text that begins like one."""
        if not self.imports:
            return False
        named = all(_NAME.fullmatch(i.module) and _NAME.fullmatch(i.name) for i in self.imports)
        return self.complete or (self.calls and named)


class _Lost(Exception):
    """The stream cannot be followed any further."""


@dataclass(slots=True)
class _Follower:
    """The abstract machine: strings and marks are known, everything else is just something."""

    imports: dict[tuple[str, str], Safety] = field(default_factory=dict)
    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    ops: int = 0
    calls: bool = False
    first: Any = None  # the value of the first pickle, when it is a number

    def stream(self, ops: Iterator[tuple[Any, Any, int | None]]) -> None:
        self.stack, self.memo = [], {}
        last: Any = None
        for opcode, arg, _ in ops:
            self.ops += 1
            if self.ops > OPS_MAX or len(self.stack) > STACK_MAX:
                raise _Lost(f"more than {OPS_MAX} steps")
            self._op(opcode, arg)
            self.calls |= opcode.name in _CALLS
            if isinstance(arg, int) and opcode.name.startswith("LONG"):
                last = arg
        if self.first is None:
            self.first = last if last is not None else _OTHER

    def _op(self, opcode: Any, arg: Any) -> None:
        name = opcode.name
        if name in ("GLOBAL", "INST"):
            module, _, what = str(arg).partition(" ")
            self._note(module, what)
        elif name == "STACK_GLOBAL":
            self._note(*self._named())
        elif name in _EXTENSIONS:
            self._note("copyreg.extension", str(arg))
        if name in ("GET", "BINGET", "LONG_BINGET"):
            if arg not in self.memo:
                raise _Lost("it reads a memo that was never written")
            self.stack.append(self.memo[arg])
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memo[len(self.memo) if name == "MEMOIZE" else arg] = self._top()
        elif name == "DUP":
            self.stack.append(self._top())
        elif name == "MARK":
            self.stack.append(_MARK)
        else:
            self._generic(opcode, arg)

    def _generic(self, opcode: Any, arg: Any) -> None:
        """Take from the stack and put on it what pickletools says that the opcode does."""
        before = opcode.stack_before
        marked = pickletools.markobject in before
        if marked:
            while True:
                if not self.stack:
                    raise _Lost("it looks for a mark that is not there")
                if self.stack.pop() is _MARK:
                    break
        wanted = before.index(pickletools.markobject) if marked else len(before)
        taken = self.stack[len(self.stack) - wanted :] if wanted <= len(self.stack) else None
        if taken is None or (_MARK in taken and opcode.name != "POP"):  # POP may drop a mark
            raise _Lost("it takes from an empty stack")
        del self.stack[len(self.stack) - wanted :]
        is_text = opcode.name in _STRINGS
        self.stack += [arg if is_text else _OTHER] * len(opcode.stack_after)

    def _top(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise _Lost("it remembers from an empty stack")
        return self.stack[-1]

    def _named(self) -> tuple[str, str]:
        texts = self.stack[-2:]  # bytes among them name nothing: no loader takes them
        if len(texts) == 2 and all(isinstance(text, str) for text in texts):
            return texts[0], texts[1]
        return UNKNOWN, UNKNOWN  # put together while loading: nobody can say what it names

    def _note(self, module: str, name: str) -> None:
        key = (_sayable(module), _sayable(name))
        if key not in self.imports and len(self.imports) >= IMPORTS_MAX:
            raise _Lost(f"more than {IMPORTS_MAX} names")
        self.imports[key] = safety_of(module, name)

    def listing(self, reason: str = "", *, cut: bool = False) -> Listing:
        found = (Import(m, n, safety) for (m, n), safety in sorted(self.imports.items()))
        return Listing(tuple(found), not reason, reason, self.calls, cut)


def _sayable(text: str) -> str:
    """Cut, and without the half characters that no reply can carry."""
    return text[:NAME_CHARS_MAX].encode("utf-8", "backslashreplace").decode("utf-8")


class _Counted:
    """The file that genops reads: plain, over bytes, with a place."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def read(self, count: int) -> bytes:
        got = self.data[self.at : self.at + count] if count >= 0 else self.data[self.at :]
        self.at += len(got)
        return got

    def readline(self) -> bytes:
        end = self.data.find(b"\n", self.at)
        return self.read(end + 1 - self.at if end >= 0 else len(self.data) - self.at)

    def tell(self) -> int:
        return self.at


def looks_pickled(head: bytes) -> bool:
    """Whether these first bytes are those of a pickle of protocol 2 to 5."""
    return len(head) >= 2 and head[0] == 0x80 and 2 <= head[1] <= 5


def list_pickle(data: bytes, *, more_bytes: int = 0) -> Listing:
    """The globals of the pickles that `data` begins with.

    `more_bytes`: how many follow in the file and were not given. Streams after the first are
    listed as well; bytes that are no pickle may only follow a torch file of the old kind.
    """
    follower, source = _Follower(), _Counted(data)
    for number in range(1, STREAMS_MAX + 1):
        try:
            follower.stream(pickletools.genops(source))  # type: ignore[arg-type]
        except _Lost as lost:
            return follower.listing(str(lost))
        except RecursionError:
            return follower.listing("nested too deep")
        except Exception as error:  # pickletools raises whatever int() or codecs do
            cut = bool(more_bytes) and source.at >= len(data)
            reason = "only its beginning was read" if cut else type(error).__name__
            return follower.listing(f"not a whole pickle: {reason}", cut=cut)
        if source.at == len(data) and not more_bytes:
            return follower.listing()
        if looks_pickled(data[source.at : source.at + 2]):
            continue
        if follower.first == TORCH_MAGIC and number >= LEGACY_STREAMS:
            return follower.listing()
        return follower.listing("other bytes follow the pickle")
    return follower.listing(f"more than {STREAMS_MAX} pickles")
