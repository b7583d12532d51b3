"""torch's zip archives: where the storages lie, and what data.pkl says of them, never unpickled.

    torch_spans(read, size_bytes) -> [Span, ...]

torch stores each storage uncompressed as `<top>/data/<key>` beside `<top>/data.pkl`. What that
pickle says of a key (`torch_pickle`) is believed as far as the size of the member agrees: type,
shape and name of the tensor that covers it. Where it says nothing, the span is plain bytes called
`data/<key>`.
"""

from __future__ import annotations

from collections.abc import Callable

from headwater.errors import Malformed
from headwater.formats.span import NAME_BYTES_MAX, Span, typed
from headwater.formats.torch_pickle import PICKLE_BYTES_MAX, Seen, storages
from headwater.formats.zip_members import Member, stored_members

_PICKLE = "/data.pkl"


def torch_spans(read: Callable[[int, int], bytes], size_bytes: int) -> list[Span]:
    """The storages of an archive, in the order of its directory; none when it is not torch's.

    Malformed, TooLarge.
    """
    members = stored_members(read, size_bytes)
    by_name = {member.name: member for member in members}
    if len(by_name) < len(members):
        raise Malformed("two members have one name")
    tops = [name.removesuffix(_PICKLE) for name in by_name if name.endswith(_PICKLE)]
    if len(tops) != 1:
        return []
    (top,) = tops
    seen: dict[str, Seen] = {}
    pickle = by_name[top + _PICKLE]
    if pickle.stop - pickle.start <= PICKLE_BYTES_MAX and _is_little(read, by_name, top):
        seen = storages(read(pickle.start, pickle.stop))
    folder = f"{top}/data/"
    return [
        _span(member, member.name.removeprefix(folder), seen)
        for member in members
        if member.name.startswith(folder) and member.start < member.stop
    ]


def _is_little(read: Callable[[int, int], bytes], by_name: dict[str, Member], top: str) -> bool:
    """Whether elements have the byte order that `Span` promises; torch before 2.1 wrote none."""
    order = by_name.get(f"{top}/byteorder")
    return order is None or read(order.start, min(order.stop, order.start + 16)) == b"little"


def _span(member: Member, key: str, seen: dict[str, Seen]) -> Span:
    said = seen.get(key, Seen(None, (), ""))
    name = said.name if _is_name(said.name) else f"data/{key}"
    return typed(name, said.dtype, said.shape, member.start, member.stop)


def _is_name(text: str) -> bool:
    try:
        return 0 < len(text.encode("utf-8")) <= NAME_BYTES_MAX
    except UnicodeEncodeError:  # half characters, which pickles may hold
        return False
