"""The documents and the program say the same: settings, commands, options, the store's format."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer.main

from headwater.cli.main import app
from headwater.formats.xet_hash import chunk_hash, file_hash, xorb_hash
from headwater.formats.xet_shard import Term
from headwater.formats.xorb import encode_chunk
from headwater.settings import ENV_PREFIX, Settings
from headwater.store.store import Store

ROOT = Path(__file__).resolve().parents[1]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text("utf-8")
FORMAT = (ROOT / "docs" / "format.md").read_text("utf-8")
SETTING = re.compile(r"^### `(\w+)`\n\n`(\w+)` · default (\S+)$", re.MULTILINE)
COMMAND_ROW = re.compile(r"^\| `headwater ([a-z ]+)` \|([^|]*)\|", re.MULTILINE)
LOCAL_LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)")
EVERYWHERE = {"--data", "--help"}
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def default_text(field: msgspec.structs.FieldInfo) -> str:
    """A default as the document writes it."""
    if field.name == "data":
        return "`~/.local/share/headwater`"  # depends on the machine: checked as a word
    value = field.default
    if value == "":
        return "empty"
    return f"`{str(value).lower()}`" if isinstance(value, bool) else f"`{value}`"


def test_every_setting_has_its_heading_its_variable_and_its_default() -> None:
    fields = msgspec.structs.fields(Settings)
    wanted = [(f.name, ENV_PREFIX + f.name.upper(), default_text(f)) for f in fields]
    assert SETTING.findall(OPERATIONS) == wanted  # in the order of the struct, and no other


def commands(group: Any, words: tuple[str, ...] = ()) -> dict[str, set[str]]:
    """`user add` -> its options, for every command below `group`."""
    found: dict[str, set[str]] = {}
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found |= commands(command, (*words, name))
        else:
            options = {option for p in command.params for option in p.opts if option[:2] == "--"}
            found[" ".join((*words, name))] = options - EVERYWHERE
    return found


def test_every_command_and_option_is_named_and_no_other() -> None:
    said = {
        name: set(re.findall(r"--[a-z-]+", options))
        for name, options in COMMAND_ROW.findall(OPERATIONS)
    }
    assert said == commands(typer.main.get_command(app))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(page: Path) -> None:
    for target in LOCAL_LINK.findall(page.read_text("utf-8")):
        assert (page.parent / target).exists(), target


def test_the_reader_in_the_format_page_reads_what_the_store_writes(tmp_path: Path) -> None:
    """The page is enough to verify a container, and its reader sees a flipped byte anywhere."""
    blocks = re.findall(r"^```python\n(.*?)^```$", FORMAT, re.MULTILINE | re.DOTALL)
    page: dict[str, Any] = {}
    exec("\n".join(blocks), page)
    store = Store.open(tmp_path / "store")
    written = [_plain(store, size_bytes) for size_bytes in (0, 1, 600_000)] + _chunked(store)
    for kind, name in written:
        (path,) = store.root.glob(f"*/{name[:2]}/{name[2:4]}/{name}.{kind}")
        assert page["verify"](path) == (kind, name)
        sound = path.read_bytes()
        for at in {0, len(sound) // 2, len(sound) - 129, len(sound) - 100, len(sound) - 1}:
            if at >= 0:
                path.write_bytes(sound[:at] + bytes([sound[at] ^ 1]) + sound[at + 1 :])
                with pytest.raises(AssertionError):
                    page["verify"](path)
        path.write_bytes(sound)


def _plain(store: Store, size_bytes: int) -> tuple[str, str]:
    with store.write_plain() as writer:
        writer.write(bytes(range(256)) * (size_bytes // 256) + b"x" * (size_bytes % 256))
        return "plain", writer.finish().oid


def _chunked(store: Store) -> list[tuple[str, str]]:
    chunks = [b"one" * 5000, b"two" * 7000]
    raw = b"".join(chunk_hash(chunk) for chunk in chunks)
    lengths = [len(chunk) for chunk in chunks]
    name = xorb_hash(raw, lengths)
    with store.write_xorb(name) as writer:
        for chunk in chunks:
            writer.write(encode_chunk(chunk))
        writer.finish()
    term = Term(name, sum(lengths), 0, len(chunks))
    blob = store.write_chunked(file_hash(raw, lengths), [term], oid=None)
    return [("xorb", name), ("chunked", blob.oid)]
