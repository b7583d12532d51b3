"""A lint of syscall order: bytes, fsync, rename, fsync of the folder, and only then the reply.

    command = [*strace("trace.txt"), "python", "server.py", ...]     run it, do some uploads
    violations(Path("trace.txt").read_text().splitlines(), root)     must be empty

kill -9 cannot show a missing fsync, because the kernel keeps what it was given; only a power cut
can, or this. The rules, for everything below `root` but its `tmp` folder:

    unsynced   a file was renamed into the store with bytes that no fsync followed
    in-place   a file of the store was written to where it lies
    unlinked   a reply left while a new name (rename, link, mkdir) awaited the fsync of its folder
    early      a file of the store was removed while any new name did
    never      the trace ended so

A reply is a write or send, to anything but a file of the store, whose first bytes are those of an
HTTP reply or of another mark given as `reply`. A reply for one request is held against what others
left open too, so trace one request at a time, or read the findings with that in mind. Paths must be
absolute. Calls that other threads interrupt (`<unfinished ...>`) count from when they began as
writes and replies, and from when they ended as syncs.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

CALLS = (
    "openat,write,pwrite64,writev,fsync,fdatasync,rename,renameat,renameat2,link,linkat,mkdir,"
    "unlink,unlinkat,sendto,sendmsg"
)
HTTP_REPLY = '"HTTP/1'

_LINE = re.compile(r"(?:(?:\[pid +)?(?P<pid>\d+)\]? +)?(?P<rest>\S.*)")
_CALL = re.compile(r"(?P<name>\w+)\((?P<args>.*)")
_RESUMED = re.compile(r"<\.\.\. (?P<name>\w+) resumed>(?P<args>.*)")
_UNFINISHED = " <unfinished ...>"
_RESULT = re.compile(r"\) += (?P<value>-?\d+|\?)")
_FD_PATH = re.compile(r"\d+<(?P<path>/[^>]*?)(?: \(deleted\))?>")
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')
_WRITES = frozenset({"write", "pwrite64", "writev"})
_SENDS = frozenset({"sendto", "sendmsg"}) | _WRITES
_NAMES = frozenset({"rename", "renameat", "renameat2", "link", "linkat"})
_SYNCS = frozenset({"fsync", "fdatasync"})
_REMOVALS = frozenset({"unlink", "unlinkat"})


def strace(trace: str) -> list[str]:
    """The command to put before the one to be traced."""
    return ["strace", "-f", "-y", "--seccomp-bpf", "-o", trace, "-e", f"trace={CALLS}"]


@dataclass(frozen=True)
class Violation:
    """One broken rule, and the line of the trace that breaks it (counted from 1)."""

    line: int
    rule: str
    path: str


@dataclass
class _Call:
    line: int
    name: str
    args: str
    seen: object = None  # what a sync, when it began, could promise


def violations(
    lines: Iterable[str], root: str | os.PathLike[str], reply: str = HTTP_REPLY
) -> list[Violation]:
    """Every broken rule in a trace, in order. `reply` is looked for in the printed arguments, so it
    begins with the quote that opens the data."""
    lint = _Lint(os.fspath(root), reply)
    last = 0
    open_calls: dict[str, _Call] = {}
    for last, line in enumerate(lines, 1):
        match = _LINE.match(line)
        if match is None:
            continue
        pid, rest = match["pid"] or "", match["rest"]
        if resumed := _RESUMED.match(rest):
            call = open_calls.pop(pid, None)
            if call is not None:
                call.args += resumed["args"]
                lint.end(call)
        elif started := _CALL.match(rest):
            call = _Call(last, started["name"], started["args"])
            if rest.endswith(_UNFINISHED):
                call.args = call.args.removesuffix(_UNFINISHED)
                open_calls[pid] = call
                lint.begin(call)
            else:
                lint.begin(call)
                lint.end(call)
    lint.close(last)
    return lint.found


@dataclass
class _Lint:
    root: str
    reply: str
    found: list[Violation] = field(default_factory=list)
    writes: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))  # so far
    synced: dict[str, int] = field(default_factory=dict)  # writes when it was last synced
    waiting: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def begin(self, call: _Call) -> None:
        path = _fd_path(call.args)
        if call.name in _SYNCS and path:
            call.seen = (self.writes[path], frozenset(self.waiting[path]))
        elif call.name in _WRITES and path.startswith(f"{self.root}/"):
            self.writes[path] += 1
            if self._kept(path):
                self.found.append(Violation(call.line, "in-place", path))
        elif call.name in _SENDS and self.reply in call.args:
            self._all_settled(call.line, "unlinked")
        elif call.name in _REMOVALS and self._kept(_first_path(call.args)):
            self._all_settled(call.line, "early")
        elif call.name in _NAMES:
            source, _ = _two_paths(call.args)
            call.seen = self.synced.get(source) == self.writes[source]

    def end(self, call: _Call) -> None:
        result = _RESULT.search(call.args)
        if result is None or not result["value"].isdigit():
            return  # it failed, or was killed
        path = _fd_path(call.args)
        if call.name in _SYNCS and isinstance(call.seen, tuple):
            self.synced[path], settled = call.seen
            self.waiting[path] -= settled
        elif call.name == "openat" and "O_TRUNC" in call.args:
            self.writes[_first_path(call.args)] += 1
        elif call.name == "mkdir":
            self._named(_first_path(call.args))
        elif call.name in _NAMES:
            source, target = _two_paths(call.args)
            if self._kept(target):
                if not call.seen:
                    self.found.append(Violation(call.line, "unsynced", target))
                self._named(target)
            self.writes[target] = self.writes[source]
            if source in self.synced:
                self.synced[target] = self.synced[source]

    def close(self, line: int) -> None:
        self._all_settled(line, "never")

    def _all_settled(self, line: int, rule: str) -> None:
        for names in self.waiting.values():
            self.found += [Violation(line, rule, path) for path in sorted(names)]
            names.clear()  # each is reported once

    def _named(self, path: str) -> None:
        if self._kept(path):
            self.waiting[os.path.dirname(path)].add(path)

    def _kept(self, path: str) -> bool:
        below = path.startswith(f"{self.root}/")
        return below and not f"{path}/".startswith(f"{self.root}/tmp/")


def _fd_path(args: str) -> str:
    """The file behind the first argument, if that is a descriptor of a file."""
    match = _FD_PATH.match(args)
    return match["path"] if match else ""


def _paths(args: str) -> Iterator[str]:
    return (match[1] for match in _TEXT.finditer(args))


def _first_path(args: str) -> str:
    return next(_paths(args), "")


def _two_paths(args: str) -> Sequence[str]:
    source, target, *_ = [*_paths(args), "", ""]
    return source, target
