"""A spool: a request body on disk, without a name, until the request is over.

It is a `feed.Writer`. The file is unlinked as soon as it is open: a crash leaves nothing behind.
"""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

from headwater.store.files import writing


class Spool:
    def __init__(self, folder: Path) -> None:
        with writing("request body"):
            folder.mkdir(parents=True, exist_ok=True)
            self.file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  (closed by `abort`)

    def write(self, data: bytes) -> None:
        """Append. NoSpace when the disk is full."""
        with writing("request body"):
            self.file.write(data)

    def rewind(self) -> None:
        """Everything is written, and is read from its beginning. NoSpace as in `write`: the last
        bytes wait in the file's own buffer, and some bodies are no longer than that."""
        with writing("request body"):
            self.file.seek(0)

    def abort(self) -> None:
        """Give it up; harmless when that was done before."""
        with suppress(OSError):  # what a full disk did not take is tried once more, for nothing
            self.file.close()
