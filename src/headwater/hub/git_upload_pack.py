"""`git-upload-pack`: what `git clone` and `git fetch` speak, versions 0, 1 and 2.

    advertisement(view, version)          the answer of GET info/refs
    answer(view, version, body)           pieces of the answer of POST git-upload-pack

Formats: gitprotocol-pack(5) and gitprotocol-v2(5), by the stateless rules of HTTP: each request
says again what was agreed before. What goes wrong after the first byte is said in the side-band
(3) or as an `ERR` packet, where git shows it to a person.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from headwater import __version__
from headwater.catalog.catalog import Catalog
from headwater.catalog.git_lacking import Progress, Want
from headwater.catalog.models import Repo
from headwater.catalog.repos import MAIN
from headwater.errors import BadRequest, HeadwaterError
from headwater.formats.pkt_line import (
    BAND_BYTES_MAX,
    DELIM,
    FLUSH,
    SMALL_BAND_BYTES_MAX,
    Mark,
    band,
    pkt,
    read_text,
)
from headwater.names import GitOid, shown

log = logging.getLogger(__name__)

WANTS_MAX = 100_000  # after a clone with a filter, git asks for all blobs of a checkout at once
HAVES_MAX = 100_000
PREFIXES_MAX = 1_000
DEPTH_MAX = 2**31 - 1  # `--unshallow` says so
AGENT = f"agent=headwater/{__version__}"
_V0_CAPABILITIES = (
    "multi_ack_detailed no-done side-band side-band-64k no-progress include-tag ofs-delta "
    "shallow deepen-since deepen-relative filter allow-tip-sha1-in-want "
    "allow-reachable-sha1-in-want "
    f"symref=HEAD:refs/heads/main object-format=sha1 {AGENT}"
)


@dataclass(frozen=True, slots=True)
class View:
    """One repo, for one request."""

    catalog: Catalog
    repo: Repo
    folder: Path  # for scratch files

    def refs(self) -> list[tuple[str, str, str]]:
        """(name, target, commit), HEAD first, then by name."""
        found = self.catalog.git_fetch.refs(self.repo)
        head = [("HEAD", target, commit) for name, target, commit in found if name == MAIN]
        return [*head, *found]


@dataclass(slots=True)
class _Ask:
    """What one request asks for."""

    wants: list[str] = field(default_factory=list)
    haves: list[str] = field(default_factory=list)
    shallow: set[str] = field(default_factory=set)
    words: set[str] = field(default_factory=set)  # capabilities, or arguments without a value
    depth: int = 0
    since_s: int = 0
    done: bool = False
    asked: bool = False  # version 0: haves, or their end, were sent and want an answer
    filter: str = ""

    def take(self, line: str) -> None:
        """One line; BadRequest for what is not offered."""
        word, _, rest = line.partition(" ")
        if word == "want" and len(self.wants) < WANTS_MAX:
            self.wants.append(GitOid(rest))
        elif word == "have" and len(self.haves) < HAVES_MAX:
            self.haves.append(GitOid(rest))
        elif word == "shallow" and len(self.shallow) < HAVES_MAX:
            self.shallow.add(GitOid(rest))
        elif word in ("want", "have", "shallow"):
            raise BadRequest(f"too many lines '{word}' in one request")
        elif word in ("deepen", "deepen-since"):
            if not (rest.isascii() and rest.isdigit() and 0 < int(rest[:11]) <= DEPTH_MAX):
                raise BadRequest(f"{word} {shown(rest)}: a number from 1 on is wanted")
            if word == "deepen":
                self.depth = int(rest)
            else:
                self.since_s = int(rest)
        elif word == "deepen-not":
            raise BadRequest("--shallow-exclude is not served; use --depth or --shallow-since")
        elif word == "filter":
            self.filter = rest
        elif word == "done":
            self.done = True
        else:
            self.words.add(line)

    @property
    def deepens(self) -> bool:
        """Whether the client wants to hear where its history is cut from now on."""
        return bool(self.depth or self.since_s)

    @property
    def blob_bytes_max(self) -> int | None:
        if not self.filter:
            return None
        if self.filter == "blob:none":
            return 0
        number, unit = self.filter.removeprefix("blob:limit="), 1
        if number[-1:] in ("k", "m", "g"):
            number, unit = number[:-1], {"k": 2**10, "m": 2**20, "g": 2**30}[number[-1]]
        if not (number.isascii() and number.isdigit() and len(number) < 13):
            raise BadRequest(
                f"filter {shown(self.filter)} is not served; blob:none and blob:limit=N are"
            )
        return int(number) * unit


def advertisement(view: View, version: int) -> bytes:
    """What info/refs answers: in version 2 only what we can do, else all refs."""
    if version == 2:
        offers = (AGENT, "ls-refs", "fetch=shallow filter", "object-format=sha1")
        return pkt("version 2\n") + b"".join(pkt(f"{offer}\n") for offer in offers) + FLUSH
    lines = [pkt("# service=git-upload-pack\n"), FLUSH]
    lines += [pkt("version 1\n")] if version == 1 else []
    told = []
    for name, target, commit in view.refs():
        told.append(f"{target} {name}")
        if target != commit:
            told.append(f"{commit} {name}^{{}}")
    told = told or [f"{'0' * 40} capabilities^{{}}"]
    told[0] += f"\0{_V0_CAPABILITIES}"
    return b"".join([*lines, *(pkt(f"{line}\n") for line in told), FLUSH])


def answer(view: View, version: int, body: bytes) -> Iterator[bytes]:
    """The reply to a POST. BadRequest before the first piece when the request is not git's."""
    if version != 2:
        return _v0(view, _read_v0(body))
    read = io.BytesIO(body).read
    line = read_text(read)
    if line == "command=ls-refs":
        return _ls_refs(view, _arguments(read))
    if line == "command=fetch":
        return _v2_fetch(view, _arguments(read))
    raise BadRequest(f"{shown(line)} is no command of git's protocol that is served here")


def _arguments(read: Callable[[int], bytes]) -> list[str]:
    """The lines between the delimiter and the end; the capabilities before it change nothing."""
    lines: list[str] = []
    inside = False
    while (line := read_text(read)) is not Mark.FLUSH:
        if isinstance(line, Mark):
            inside = True
        elif inside:
            lines.append(line)
            if len(lines) > WANTS_MAX + HAVES_MAX:
                raise BadRequest("too many lines in one request")
    return lines


def _ls_refs(view: View, arguments: list[str]) -> Iterator[bytes]:
    prefixes = tuple(a.removeprefix("ref-prefix ") for a in arguments if a.startswith("ref-prefix"))
    if len(prefixes) > PREFIXES_MAX:
        prefixes = ()  # as git: too many are as good as none
    out = []
    for name, target, commit in view.refs():
        if prefixes and not name.startswith(prefixes):
            continue
        line = f"{target} {name}"
        if name == "HEAD" and "symrefs" in arguments:
            line += " symref-target:refs/heads/main"
        if target != commit and "peel" in arguments:
            line += f" peeled:{commit}"
        out.append(pkt(line + "\n"))
    yield b"".join([*out, FLUSH])


def _v2_fetch(view: View, arguments: list[str]) -> Iterator[bytes]:
    fetch = view.catalog.git_fetch
    ask = _Ask()
    try:
        for argument in arguments:
            ask.take(argument)
        _known_wants(view, ask)
        common = list(fetch.kinds(view.repo, ask.haves))
        if not ask.done:
            yield pkt("acknowledgments\n")
            yield b"".join(pkt(f"ACK {oid}\n") for oid in common) or pkt("NAK\n")
            if not (common and fetch.ready(view.repo, ask.wants, set(common))):
                yield FLUSH
                return
            yield pkt("ready\n") + DELIM
        want, lines = _shallow(view, ask, common)
        if ask.deepens:
            yield pkt("shallow-info\n") + b"".join(map(pkt, lines)) + DELIM
    except HeadwaterError as error:
        yield _err(error)
        return
    yield pkt("packfile\n")
    yield from _pack(view, want, BAND_BYTES_MAX, quiet="no-progress" in ask.words)


def _read_v0(body: bytes) -> _Ask:
    ask = _Ask()
    first = True
    stream = io.BytesIO(body)
    while not isinstance(line := read_text(stream.read), Mark):
        if first:
            line, _, capabilities = line.replace("\0", " ").partition(" ")[2].partition(" ")
            ask.words.update(capabilities.split())
            line, first = f"want {line}", False
        ask.take(line)
    while not ask.done and stream.tell() < len(body):
        line = read_text(stream.read)
        ask.asked = True
        if not isinstance(line, Mark):
            ask.take(line)
    return ask


def _v0(view: View, ask: _Ask) -> Iterator[bytes]:
    fetch = view.catalog.git_fetch
    size = BAND_BYTES_MAX if "side-band-64k" in ask.words else 0
    size = size or (SMALL_BAND_BYTES_MAX if "side-band" in ask.words else 0)
    detailed = "multi_ack_detailed" in ask.words
    try:
        if not ask.wants:
            return
        _known_wants(view, ask)
        common = list(fetch.kinds(view.repo, ask.haves))
        want, lines = _shallow(view, ask, common)
        if ask.deepens:
            yield b"".join(map(pkt, lines)) + FLUSH
        if not ask.asked:  # it wanted to hear where its history will be cut, first
            return
        if detailed:
            yield b"".join(pkt(f"ACK {oid} common\n") for oid in common)
        if not ask.done:
            ready = bool(common) and fetch.ready(view.repo, ask.wants, set(common))
            if ready and detailed:
                yield pkt(f"ACK {common[-1]} ready\n")
            yield pkt("NAK\n") if detailed or not common else pkt(f"ACK {common[0]}\n")
            if not (ready and detailed and "no-done" in ask.words):
                return
        yield pkt(f"ACK {common[-1]}\n") if common else pkt("NAK\n")
    except HeadwaterError as error:
        yield _err(error)
        return
    yield from _pack(view, want, size, quiet="no-progress" in ask.words)


def _known_wants(view: View, ask: _Ask) -> None:
    known = view.catalog.git_fetch.kinds(view.repo, ask.wants)
    for oid in ask.wants:
        if oid not in known:
            raise BadRequest(f"upload-pack: not our ref {oid}")


def _shallow(view: View, ask: _Ask, common: list[str]) -> tuple[Want, list[str]]:
    """What to send, and the lines that tell the client where its history is cut from now on."""
    fetch = view.catalog.git_fetch
    grafts, extra = frozenset(ask.shallow), []
    lines: list[str] = []
    if ask.deepens:
        if ask.since_s:
            inside, cut = fetch.since(view.repo, ask.wants, ask.since_s)
        elif "deepen-relative" in ask.words:  # from where the client's history is cut now
            inside, cut = fetch.depth(view.repo, ask.shallow, ask.depth + 1)
        else:
            inside, cut = fetch.depth(view.repo, ask.wants, ask.depth)
        opened = [oid for oid in sorted(ask.shallow) if oid in inside - cut]
        lines += [f"shallow {oid}\n" for oid in sorted(cut - ask.shallow)]
        lines += [f"unshallow {oid}\n" for oid in opened]
        grafts = grafts - frozenset(opened) | cut
        extra = fetch.parents(view.repo, opened)
    want = Want(
        wants=[*ask.wants, *extra],
        haves=common,
        grafts=grafts,
        cuts=frozenset(ask.shallow),
        include_tags="include-tag" in ask.words,
        blob_bytes_max=ask.blob_bytes_max,
    )
    return want, lines


def _pack(view: View, want: Want, size_max: int, *, quiet: bool) -> Iterator[bytes]:
    try:
        for piece in view.catalog.git_fetch.pack(view.repo, want, view.folder):
            if isinstance(piece, Progress):
                if not quiet:
                    yield b"".join(band(2, piece.text.encode(), size_max))
            else:
                yield b"".join(band(1, piece, size_max))
    except HeadwaterError as error:
        if error.status >= 500:
            log.error("fetch of %s: %s: %s", view.repo.full, type(error).__name__, error.message)
        if not size_max:
            raise  # cut short: without bands there is no place to say why
        yield b"".join(band(3, f"{error.message}\n".encode(), size_max))
        return
    if size_max:
        yield FLUSH


def _err(error: HeadwaterError) -> bytes:
    return pkt(f"ERR {error.message}\n")
