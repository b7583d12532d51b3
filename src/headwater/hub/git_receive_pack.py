"""`git-receive-pack`: what `git push` speaks.

    receive_advertisement(view, version)    the answer of GET info/refs
    receive(session, spool)                 the answer of POST git-receive-pack: what became of it

Format: gitprotocol-pack(5). The body is commands, then a pack, and lies on disk by now. Whatever is
wrong with a push is said in its report, per ref, where git shows it: `! [remote rejected] main ->
main (reason)`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from headwater.catalog.actors import Actor
from headwater.catalog.git_push import NOTHING, Command, Outcome
from headwater.catalog.git_quarantine import Limits
from headwater.errors import BadRequest, HeadwaterError, Malformed, TooLarge
from headwater.formats.git_pack import PackFile
from headwater.formats.pkt_line import BAND_BYTES_MAX, FLUSH, Mark, band, pkt, read_pkt
from headwater.hub.git_upload_pack import AGENT, View
from headwater.hub.spool import Spool
from headwater.names import REF_BYTES_MAX, GitOid, shown

log = logging.getLogger(__name__)

COMMANDS_MAX = 1_000  # refs in one push; each is looked at under the write lock
REASON_CHARS_MAX = 600
_REF_CHARS_MAX = len("refs/heads/") + REF_BYTES_MAX
_CAPABILITIES = (
    "report-status delete-refs side-band-64k quiet atomic ofs-delta push-options "
    f"object-format=sha1 {AGENT}"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


@dataclass(frozen=True, slots=True)
class Session:
    view: View
    actor: Callable[[], Actor]  # asked again at each step: a token may be revoked meanwhile
    limits: Limits


@dataclass(slots=True)
class _Wish:
    commands: list[Command] = field(default_factory=list)
    words: frozenset[str] = frozenset()


def receive_advertisement(view: View, version: int) -> bytes:
    """All refs, and what we can do."""
    lines = [pkt("# service=git-receive-pack\n"), FLUSH]
    lines += [pkt("version 1\n")] if version == 1 else []
    told = [f"{target} {name}" for name, target, _ in view.refs() if name != "HEAD"]
    told = told or [f"{NOTHING} capabilities^{{}}"]
    told[0] += f"\0{_CAPABILITIES}"
    return b"".join([*lines, *(pkt(f"{line}\n") for line in told), FLUSH])


def receive(session: Session, spool: Spool) -> bytes:
    """Do what the body asks. BadRequest when it is not git's."""
    spool.rewind()
    wish = _read(spool.file.read)
    if not wish.commands:
        return b""  # git asks so whether its token is good, before it sends a long body
    outcome = _push(session, wish, spool)
    report = b"".join([*map(pkt, _report(wish, outcome)), FLUSH])
    if "report-status" not in wish.words:
        report = b""
    if "side-band-64k" not in wish.words:
        return report
    return b"".join([*band(1, report, BAND_BYTES_MAX), FLUSH])


def _push(session: Session, wish: _Wish, spool: Spool) -> Outcome:
    view = session.view
    try:
        pack = None
        if any(command.new != NOTHING for command in wish.commands):
            pack = PackFile(spool.file, spool.file.tell())
        return view.catalog.git_push.run(
            session.actor, view.repo, wish.commands, pack, view.folder, session.limits,
            atomic="atomic" in wish.words,
        )  # fmt: skip
    except HeadwaterError as error:
        if error.status >= 500:
            log.error("push to %s: %s: %s", view.repo.full, type(error).__name__, error.message)
        refused = {command.ref: "unpacker error" for command in wish.commands}
        return Outcome(error.message, refused)


def _read(read: Callable[[int], bytes]) -> _Wish:
    """The commands; the file stands at the pack afterwards."""
    wish = _Wish()
    seen: set[str] = set()
    while not isinstance(line := read_pkt(read), Mark):
        raw, _, capabilities = line.removesuffix(b"\n").partition(b"\0")
        try:
            text, words = raw.decode(), capabilities.decode()
        except UnicodeDecodeError:
            raise BadRequest("a command is not UTF-8 text") from None
        if words:
            wish.words = frozenset(words.split())
        if text.startswith("shallow "):
            continue  # where the client's history ends: ours goes on there, or the push is refused
        command = _command(text)
        if command.ref in seen:
            raise BadRequest(f"{shown(command.ref)} is named twice in one push")
        seen.add(command.ref)
        wish.commands.append(command)
        if len(seen) > COMMANDS_MAX:
            raise TooLarge(f"over {COMMANDS_MAX} refs in one push; push some at a time")
    if "push-options" in wish.words:
        while not isinstance(read_pkt(read), Mark):
            pass  # there is nothing to choose
    return wish


def _command(text: str) -> Command:
    old, _, rest = text.partition(" ")
    new, _, name = rest.partition(" ")
    if not name or len(name) > _REF_CHARS_MAX or _CONTROL.search(name):
        raise Malformed("a command is not `old new ref`")
    if old == new == NOTHING:
        raise Malformed("a command asks for nothing")
    return Command(name, GitOid(old), GitOid(new))


def _report(wish: _Wish, outcome: Outcome) -> list[str]:
    lines = [f"unpack {_line(outcome.unpack)}\n" if outcome.unpack else "unpack ok\n"]
    for command in wish.commands:
        reason = outcome.refused.get(command.ref)
        lines.append(f"ng {command.ref} {_line(reason)}\n" if reason else f"ok {command.ref}\n")
    return lines


def _line(text: str) -> str:
    return _CONTROL.sub(" ", text)[:REASON_CHARS_MAX]
