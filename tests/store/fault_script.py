"""Run by test_disk_faults.py in a process of its own: every kind of write, on a disk that fails.

Prints one JSON line: what each write raised the first time, what it gave the second time, and
what `check` finds in the end.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

from store_kit import MadeFile, MadeXorb, digest, put, put_xorb

from headwater.errors import HeadwaterError
from headwater.store import Store

store = Store.open(Path(sys.argv[1]))
DATA = bytes(range(256)) * 1000
XORB = MadeXorb.of([DATA[:5000], DATA[5000:9000]])
FILE = MadeFile(((XORB, 0, 2),))


def parts() -> object:
    """The step that failed is the step that is repeated."""
    if not (store.root / "tmp/parts/up").exists():
        store.start_parts("up", 100, 60)
    etags = []
    for number, piece in ((1, DATA[:60]), (2, DATA[60:100])):
        with store.write_part("up", number) as writer:
            writer.write(piece)
            etags.append((number, writer.finish()))
    return store.finish_parts("up", digest(DATA[:100]), etags)


writes: dict[str, Callable[[], object]] = {
    "plain": lambda: put(store, DATA),
    "xorb": lambda: put_xorb(store, XORB),
    "chunked": lambda: store.write_chunked(FILE.hash, FILE.terms, oid=FILE.oid),
    "parts": parts,
}
raised: dict[str, str] = {}
again: dict[str, str] = {}
for name, write in writes.items():
    try:
        write()
    except HeadwaterError as error:
        raised[name] = type(error).__name__
        again[name] = type(write()).__name__  # the disk works again, and so must we

problems = [f"{finding.kind} {finding.name}: {finding.problem}" for finding in store.check(True)]
left = [str(path) for path in (store.root / "tmp").iterdir() if path.is_file()]
print(json.dumps({"raised": raised, "again": again, "problems": problems, "left": left}))
