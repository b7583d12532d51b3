"""What a push may not do, sent by hand: each is refused with a reason, and leaves nothing."""

import hashlib
import tracemalloc
import zlib
from collections.abc import Iterator

import pytest
from git_kit import NOTHING, GitHub, git_hub, packets

from headwater.catalog.git import new_tree
from headwater.formats.git_pack import entry_head, pack_head
from headwater.formats.lfs_pointer import encode_pointer
from headwater.formats.pkt_line import FLUSH, pkt
from headwater.names import Digest
from packs import (
    commit,
    copy,
    delta,
    from_id,
    from_offset,
    history,
    insert,
    number,
    oid_of,
    pack,
    sealed,
    tag,
    tree,
    whole,
)

MAIN = "refs/heads/main"
MB = 2**20


@pytest.fixture
def hub() -> Iterator[GitHub]:
    with git_hub() as made:
        yield made


def refused(hub: GitHub, entries: list[bytes], new: str) -> str:
    """The reason; nothing has changed."""
    before, objects, audits = hub.head, hub.objects(), hub.audits()
    report = hub.push_main(entries, new)
    assert report[-1].startswith(f"ng {MAIN} "), report
    assert (hub.head, hub.objects(), hub.audits()) == (before, objects, audits)
    return " | ".join(report)


def broken(hub: GitHub, data: bytes) -> str:
    """As `refused`, for bytes that are no pack."""
    before, objects = hub.head, hub.objects()
    report = hub.push(data, (MAIN, before, "1" * 40))
    assert report[1:] == [f"ng {MAIN} unpacker error"]
    assert report[0].startswith("unpack ")
    assert (hub.head, hub.objects()) == (before, objects)
    return report[0]


def with_tree(hub: GitHub, body: bytes, *more: bytes) -> tuple[list[bytes], str]:
    made = commit(oid_of("tree", body), hub.head)
    return [*more, whole("tree", body), whole("commit", made)], oid_of("commit", made)


def test_a_push_moves_the_branch_and_is_audited(hub: GitHub) -> None:
    new, entries = history({b"README.md": b"---\nlicense: mit\n---\n"}, hub.head)
    assert hub.push_main(entries, new) == ["unpack ok", f"ok {MAIN}"]
    assert hub.head == new
    assert hub.audits()[-1] == "repo.push"
    info = hub.ask("GET", "/api/models/ann/m").json
    assert "license:mit" in info["tags"]
    assert hub.ask("GET", "/ann/m/resolve/main/README.md").body.startswith(b"---")


def test_the_value_that_was_seen_must_still_be_there(hub: GitHub) -> None:
    first = hub.head
    new, entries = history({b"a": b"1"}, first)
    assert hub.push_main(entries, new)[-1] == f"ok {MAIN}"
    other, more = history({b"a": b"2"}, first)
    assert hub.push(pack(more), (MAIN, first, other)) == ["unpack ok", f"ng {MAIN} fetch first"]
    assert hub.push(pack(more), (MAIN, NOTHING, other))[-1] == f"ng {MAIN} fetch first"
    assert hub.push(pack(more), ("refs/heads/x", first, other))[-1].endswith("fetch first")
    assert hub.head == new


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("refs/pr/1", "through the API"),
        ("refs/notes/x", "only branches"),
        ("HEAD", "only branches"),
        ("refs/heads/a..b", "Invalid reference"),
        ("refs/heads/a.lock", "Invalid reference"),
        ("refs/heads/-a", "Invalid reference"),
        ("refs/heads/" + "1" * 40, "Invalid reference"),
        ("refs/heads/a b", "Invalid reference"),
        ("refs/heads/../../x", "Invalid reference"),
        ("refs/heads/refs/heads/x", "Invalid reference"),
        ("refs/tags/HEAD", "Invalid reference"),
        ("refs/heads/main/below", "in its way"),
        ("refs/heads/e\u0301", "NFC"),
        ("refs/heads/", "Invalid reference"),
    ],
)
def test_names_of_refs(hub: GitHub, name: str, reason: str) -> None:
    new, entries = history({b"a": b"1"}, hub.head)
    report = hub.push(pack(entries), (name, NOTHING, new))
    assert report[0] == "unpack ok"
    assert report[1].startswith(f"ng {name} ")
    assert reason in report[1]


def test_main_stays_and_other_branches_go(hub: GitHub) -> None:
    head = hub.head
    assert hub.push(pack([]), ("refs/heads/x", NOTHING, head))[-1] == "ok refs/heads/x"
    assert hub.push(b"", ("refs/heads/x", head, NOTHING))[-1] == "ok refs/heads/x"
    assert "main cannot be deleted" in hub.push(b"", (MAIN, head, NOTHING))[-1]
    assert hub.push(b"", ("refs/heads/x", head, NOTHING))[-1].endswith("fetch first")


def test_atomic_is_all_or_none(hub: GitHub) -> None:
    new, entries = history({b"a": b"1"}, hub.head)
    bad = ("refs/heads/x", "1" * 40, new)
    report = hub.push(pack(entries), (MAIN, hub.head, new), bad, words="report-status atomic")
    assert report[1:] == [f"ng {MAIN} atomic push failed", "ng refs/heads/x fetch first"]
    report = hub.push(pack(entries), (MAIN, hub.head, new), bad)
    assert report[1:] == [f"ok {MAIN}", "ng refs/heads/x fetch first"]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([("100644", b"..")], "'..'"),
        ([("100644", b".")], "'.'"),
        ([("100644", b".git")], "reserved"),
        ([("40000", b".GIT")], "reserved"),
        ([("100644", b".gitmodules")], "reserved"),
        ([("100644", b"git~1")], "reserved"),
        ([("100644", ".g\u200dit".encode())], "reserved"),
        ([("120000", b"link")], "'link' is a symbolic link"),
        ([("160000", b"sub")], "'sub' is a submodule"),
        ([("100644", b"a\\b")], "refused"),
        ([("100644", b"a\nb")], "refused"),
        ([("100644", b"a.")], "ends in a dot"),
        ([("100644", b"\xff\xfe")], "not UTF-8"),
        ([("100644", "e\u0301".encode())], "NFC"),
        ([("100644", b"A"), ("100644", b"a")], "letter case"),
        ([("100644", "É".encode()), ("100644", "é".encode())], "letter case"),
        ([("100644", b"x" * 256)], "over 255 bytes"),
    ],
)
def test_names_of_files(hub: GitHub, rows: list[tuple[str, bytes]], reason: str) -> None:
    empty = oid_of("tree", b"")
    blob = oid_of("blob", b"x")
    body = tree(*((mode, name, empty if mode == "40000" else blob) for mode, name in rows))
    inner, new = with_tree(hub, body, whole("blob", b"x"), whole("tree", b""))
    assert reason in refused(hub, inner, new)
    # The same below a folder: the whole path is named.
    outer = tree(("40000", b"dir", oid_of("tree", body)))
    entries, new = with_tree(hub, outer, *inner)
    said = refused(hub, entries, new)
    assert reason.replace("'link'", "'dir/link'").replace("'sub'", "'dir/sub'") in said
    assert "dir/" in said


@pytest.mark.parametrize(
    "rows",
    [
        [("100644", b"b"), ("100644", b"a")],
        [("100644", b"a"), ("100644", b"a")],
        [("100644", b"a"), ("40000", b"a")],
        [("100644", b"a0"), ("40000", b"a")],  # the folder sorts as `a/`, before `a0`
        [("100664", b"a")],
        [("040000", b"a")],
        [("100644", b"")],
        [("100644", b"a/b")],
        [("777777777777", b"a")],
    ],
)
def test_trees_that_git_would_not_write(hub: GitHub, rows: list[tuple[str, bytes]]) -> None:
    blob = oid_of("blob", b"x")
    body = tree(*((mode, name, blob) for mode, name in rows))
    entries, new = with_tree(hub, body, whole("blob", b"x"))
    assert "unpack tree" in refused(hub, entries, new)
    cut = tree(("100644", b"a", blob))[:-1]
    entries, new = with_tree(hub, cut, whole("blob", b"x"))
    assert "cut short" in refused(hub, entries, new)
    nothing = tree(("100644", b"a", NOTHING))
    entries, new = with_tree(hub, nothing)
    assert "names nothing" in refused(hub, entries, new)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"tree\n",
        commit("x" * 40),
        commit("1" * 40, "z" * 40),
        commit("1" * 40).replace(b"author", b"autor"),
        commit("1" * 40).replace(b"committer", b"comitter"),
        commit("1" * 40, who=b"Ann <ann@x> 1700000000"),
        commit("1" * 40, who=b"Ann <a<nn@x> 1700000000 +0000"),
        commit("1" * 40, who=b"Ann <ann@x> -5 +0000"),
        commit("1" * 40, who=b"Ann <ann@x> 99999999999999999 +0000"),
        commit("1" * 40, message=b"a\0b"),
        commit("1" * 40, message=b"x" * (2 * MB)),
        commit("1" * 40).replace(b"\n\n", b"\ntree " + b"2" * 40 + b"\n\n", 1),
    ],
)
def test_commits_that_git_would_not_write(hub: GitHub, body: bytes) -> None:
    refused(hub, [whole("commit", body)], oid_of("commit", body))


def test_everything_must_be_there_and_be_what_it_is_called(hub: GitHub) -> None:
    blob, root = oid_of("blob", b"x"), tree(("100644", b"a", oid_of("blob", b"x")))
    made = commit(oid_of("tree", root), hub.head)
    new = oid_of("commit", made)
    assert "missing" in refused(hub, [], new)
    assert "the folder" in refused(hub, [whole("commit", made)], new)
    assert "'a' (blob" in refused(hub, [whole("commit", made), whole("tree", root)], new)
    lost = commit(oid_of("tree", root), "3" * 40)
    parts = [whole("blob", b"x"), whole("tree", root)]
    assert "commit 333" in refused(hub, [*parts, whole("commit", lost)], oid_of("commit", lost))
    # A branch on a tree, a blob as folder, a commit as parent that is a blob.
    assert "not a commit" in refused(hub, [whole("blob", b"x")], blob)
    entries, new = with_tree(hub, tree(("40000", b"d", blob)), whole("blob", b"x"))
    assert "is a blob" in refused(hub, entries, new)
    entries, new = with_tree(hub, tree(("100644", b"f", oid_of("tree", b""))), whole("tree", b""))
    assert "is a tree" in refused(hub, entries, new)
    odd = commit(oid_of("tree", b""), blob)
    entries = [whole("blob", b"x"), whole("tree", b""), whole("commit", odd)]
    assert "named as a commit" in refused(hub, entries, oid_of("commit", odd))
    # What lies in the repo and no ref leads to may go any day: history must not go on there.
    new, entries = history({b"a": b"1"}, hub.head)
    assert hub.push(pack(entries), ("refs/heads/gone", NOTHING, new))[-1] == "ok refs/heads/gone"
    assert hub.push(b"", ("refs/heads/gone", new, NOTHING))[-1] == "ok refs/heads/gone"
    onto, more = history({b"b": b"1"}, new)
    assert "did not come" in refused(hub, more, onto)


def test_tags(hub: GitHub) -> None:
    head = hub.head
    good = tag(head)
    of_tag = tag(oid_of("tag", good), "tag", b"v2")
    report = hub.push(
        pack([whole("tag", good), whole("tag", of_tag)]),
        ("refs/tags/v1", NOTHING, oid_of("tag", good)),
        ("refs/tags/v2", NOTHING, oid_of("tag", of_tag)),
        ("refs/tags/plain", NOTHING, head),
    )
    assert [line[:2] for line in report[1:]] == ["ok", "ok", "ok"]
    assert hub.catalog.refs.resolve(hub.repo, "v2").commit == head
    assert hub.catalog.sweep.sweep_objects(hub.repo.id, 2**60) == 0

    def bad(body: bytes, *more: bytes) -> str:
        entries = pack([whole("tag", body), *more])
        return hub.push(entries, ("refs/tags/bad", NOTHING, oid_of("tag", body)))[-1]

    assert "must lead to a commit" in bad(tag(oid_of("blob", b"x"), "blob"), whole("blob", b"x"))
    assert "is a commit, not a blob" in bad(tag(head, "blob"))
    assert "did not come" in bad(tag("5" * 40))
    assert "unpacker error" in bad(b"object nothing\n")
    body = good
    chain = []
    for _ in range(12):
        chain.append(whole("tag", body))
        body = tag(oid_of("tag", body), "tag")
    assert "tags of tags" in bad(body, *chain)
    assert (
        "not a commit"
        in hub.push(pack([whole("tag", good)]), ("refs/heads/t", NOTHING, oid_of("tag", good)))[-1]
    )


def test_packs_that_are_none(hub: GitHub) -> None:
    _, entries = history({b"a": b"1"}, hub.head)
    good = pack(entries)
    assert "not a pack" in broken(hub, b"JUNK" + good[4:])
    assert "cut short" in broken(hub, b"")
    assert "cut short" in broken(hub, good[:20])
    assert "checksum" in broken(hub, good[:-25] + good[-20:])
    assert "checksum" in broken(hub, good[:-1] + bytes([good[-1] ^ 1]))
    flipped = bytearray(good[:-20])
    flipped[-3] ^= 0x40
    broken(hub, sealed(bytes(flipped)))
    assert "behind its last" in broken(hub, pack(entries, count=2))
    broken(hub, pack(entries, count=4))
    assert "limit is" in broken(hub, pack(entries, count=2**32 - 1))
    assert "version 2" in broken(hub, sealed(b"PACK\0\0\0\4\0\0\0\0"))
    assert "unknown type" in broken(hub, pack([b"\x50" + zlib.compress(b"")]))
    assert "larger than it says" in broken(hub, pack([whole("blob", b"xy", says=1)]))
    assert "smaller than it says" in broken(hub, pack([whole("blob", b"xy", says=3)]))
    assert "out of range" in broken(hub, pack([b"\xb0" + b"\xff" * 30]))
    assert "does not inflate" in broken(hub, pack([entry_head("blob", 5) + b"\xff" * 20]))


def test_bombs_cost_little_memory(hub: GitHub) -> None:
    zeros = zlib.compressobj(9)
    bomb = b"".join(zeros.compress(bytes(MB)) for _ in range(512)) + zeros.flush()
    base = whole("blob", b"x" * 1000)
    from_base = delta(1000, 2**40, copy(0, 1000))
    tracemalloc.start()
    try:
        # Said honestly, it is a large file, and a blob that nothing names: it is not kept.
        honest = pack([entry_head("blob", 512 * MB) + bomb])
        report = hub.push(honest, (MAIN, hub.head, "1" * 40))
        assert "did not come" in report[-1]
        assert "larger than it says" in broken(hub, pack([entry_head("blob", 100) + bomb]))
        assert "limit is" in broken(hub, pack([entry_head("tree", 512 * MB) + bomb]))
        assert "limit is" in broken(hub, pack([base, from_offset(len(base), from_base)]))
        assert tracemalloc.get_traced_memory()[1] < 100 * MB
    finally:
        tracemalloc.stop()


def test_differences(hub: GitHub) -> None:
    one = b"".join(b"line %d\n" % n for n in range(1000))
    two = one + b"more\n"
    to_two = delta(len(one), len(two), copy(0, len(one)), insert(b"more\n"))
    base = whole("blob", one)
    root = tree(("100644", b"one", oid_of("blob", one)), ("100644", b"two", oid_of("blob", two)))
    made = commit(oid_of("tree", root), hub.head)
    new, tail = oid_of("commit", made), [whole("tree", root), whole("commit", made)]

    late = [from_id(oid_of("blob", one), to_two), base, *tail]  # the base comes after
    assert hub.push(pack(late), ("refs/heads/a", NOTHING, new))[-1] == "ok refs/heads/a"
    assert hub.ask("GET", "/ann/m/resolve/a/two").body == two
    three = two[:-5]
    to_three = delta(len(two), len(three), copy(0, len(three)))
    assert three == one
    assert (
        hub.push(
            pack(
                [
                    base,
                    from_offset(len(base), to_two),
                    from_id(oid_of("blob", two), to_three),
                    *tail,
                ]
            ),
            ("refs/heads/b", NOTHING, new),
        )[-1]
        == "ok refs/heads/b"
    )
    # Thin: the base lies in the repo.
    thin = one + b"thin\n"
    to_thin = delta(len(one), len(thin), copy(0, len(one)), insert(b"thin\n"))
    root = tree(("100644", b"thin", oid_of("blob", thin)))
    made = commit(oid_of("tree", root), new)
    entries = [from_id(oid_of("blob", one), to_thin), whole("tree", root), whole("commit", made)]
    assert hub.push(pack(entries), ("refs/heads/c", NOTHING, oid_of("commit", made)))[-1] == (
        "ok refs/heads/c"
    )
    assert hub.ask("GET", "/ann/m/resolve/c/thin").body == thin

    def bad(diff: bytes) -> str:
        return broken(hub, pack([base, from_offset(len(base), diff)]))

    size = len(one)
    assert "another base" in bad(delta(size - 1, 5, copy(0, 5)))
    assert "past its base" in bad(delta(size, 5, copy(size - 1, 5)))
    assert "fewer bytes" in bad(delta(size, 6, copy(0, 5)))
    assert "more bytes" in bad(delta(size, 4, copy(0, 5)))
    assert "instruction 0" in bad(delta(size, 4, b"\0"))
    assert "fewer bytes" in bad(delta(size, 9, b"\x09abc"))
    assert "cut short" in bad(delta(size, 9, b"\xff\x01"))
    assert "cut short" in bad(b"\xff")
    assert "out of range" in bad(b"\xff" * 12)
    assert "cut short" in bad(number(size))
    assert "lacks the base" in broken(hub, pack([from_id("7" * 40, to_two)]))
    assert "outside the pack" in broken(hub, pack([from_offset(5000, to_two)]))
    assert "lacks the base" in broken(hub, pack([base, from_offset(1, to_two)]))
    # Two that are made from each other: neither is ever there.
    first, second = from_id("8" * 40, to_two), from_id("9" * 40, to_two)
    assert "lacks the base" in broken(hub, pack([first, second]))


def test_a_tree_of_trees_of_trees(hub: GitHub) -> None:
    """Ten folders in each of ten in each … : looked at once each, and refused by what they hold."""
    entries = [whole("blob", b"x")]
    body = tree(("100644", b"f", oid_of("blob", b"x")))
    for _ in range(12):
        entries.append(whole("tree", body))
        body = tree(*(("40000", b"%d" % n, oid_of("tree", body)) for n in range(10)))
    more, new = with_tree(hub, body, *entries)
    assert "over 1000000 files" in refused(hub, more, new)
    entries, body = [whole("blob", b"x")], tree(("100644", b"f", oid_of("blob", b"x")))
    for _ in range(80):
        entries.append(whole("tree", body))
        body = tree(("40000", b"d", oid_of("tree", body)))
    more, new = with_tree(hub, body, *entries)
    assert "folders deep" in refused(hub, more, new)
    entries, body = [whole("blob", b"x")], tree(("100644", b"f", oid_of("blob", b"x")))
    for _ in range(8):
        entries.append(whole("tree", body))
        body = tree(("40000", b"d" * 200, oid_of("tree", body)))
    more, new = with_tree(hub, body, *entries)
    assert "over 1024 bytes" in refused(hub, more, new)


def test_a_stale_push_links_nothing(hub: GitHub) -> None:
    """It is refused before its large files become the repo's."""
    data = b"late weights"
    hub.uploaded(data)
    oid = Digest(hashlib.sha256(data).hexdigest())
    seen = hub.head
    new, entries = history({b"a": b"1"}, seen)
    hub.push_main(entries, new)
    late, more = history({b"w.bin": encode_pointer(oid, len(data))}, seen)
    for words in ("report-status", "report-status atomic"):
        report = hub.push(pack(more), (MAIN, seen, late), words=words)
        assert report[1:] == [f"ng {MAIN} fetch first"]
        assert hub.catalog.blobs.in_repo(hub.repo, oid) is None
    merged, more = history({b"w.bin": encode_pointer(oid, len(data))}, new)
    assert hub.push_main(more, merged)[-1] == f"ok {MAIN}"
    assert hub.catalog.blobs.in_repo(hub.repo, oid) == len(data)


def test_large_files_and_pointers(hub: GitHub) -> None:
    limit = hub.settings.regular_bytes_max
    new, entries = history({b"large.bin": bytes(limit + 1)}, hub.head)
    assert f"'large.bin' has {limit + 1} bytes" in refused(hub, entries, new)
    data = b"weights" * 1000
    oid = Digest(hashlib.sha256(data).hexdigest())
    pointer = encode_pointer(oid, len(data))
    new, entries = history({b"w.bin": pointer}, hub.head)
    assert f"its LFS object {oid} was not uploaded" in refused(hub, entries, new)
    hub.uploaded(data)
    false, wrong = history({b"w.bin": encode_pointer(oid, 5)}, hub.head)
    assert "its pointer says 5 bytes" in refused(hub, wrong, false)
    assert hub.push_main(entries, new)[-1] == f"ok {MAIN}"
    files = hub.ask("GET", "/api/models/ann/m/tree/main").json
    assert files[0]["lfs"] == {"oid": oid, "size": len(data), "pointerSize": len(pointer)}
    # Nearly a pointer is a text like any other.
    near, more = history({b"n.txt": pointer.replace(b"\n", b"\r\n")}, new)
    assert hub.push_main(more, near)[-1] == f"ok {MAIN}"
    # A pointer that nothing names is not kept, so it need not be proven.
    stray = encode_pointer(Digest("0" * 64), 3)
    last, more = history({b"z": b"z"}, near)
    assert hub.push_main([whole("blob", stray), *more], last)[-1] == f"ok {MAIN}"


def test_an_empty_tree_need_not_be_sent(hub: GitHub) -> None:
    made = commit(new_tree([]).oid, hub.head)
    assert hub.push_main([whole("commit", made)], oid_of("commit", made))[-1] == f"ok {MAIN}"
    assert hub.ask("GET", "/api/models/ann/m/tree/main").json == []


def test_bodies_that_are_not_gits(hub: GitHub) -> None:
    assert hub.post("git-receive-pack", FLUSH).body == b""
    for body in (b"", b"zzzz", b"0003", b"ffff", b"0050old new", b"\0" * 100):
        assert hub.post("git-receive-pack", body).status == 400, body
    head, other = hub.head, "1" * 40
    for line in (
        "hello", f"{head} {other}", f"{head} {other} ", f"{NOTHING} {NOTHING} refs/heads/x",
        f"{head[:39]} {other} refs/heads/x", f"{head} {other} refs/heads/a\nb",
        f"{head} {other} refs/heads/" + "x" * 400,
    ):  # fmt: skip
        assert hub.post("git-receive-pack", pkt(line) + FLUSH).status == 400, line
    twice = pkt(f"{head} {other} {MAIN}") * 2 + FLUSH
    assert hub.post("git-receive-pack", twice).status == 400
    many = b"".join(pkt(f"{NOTHING} {other} refs/heads/{n}") for n in range(1001)) + FLUSH
    assert hub.post("git-receive-pack", many).status == 413
    plain = hub.ask("POST", "/ann/m/git-receive-pack", FLUSH, content_type="text/plain")
    assert plain.status == 415
    new, entries = history({b"a": b"1"}, hub.head)
    zipped = hub.post("git-receive-pack", zlib.compress(b""), content_encoding="gzip")
    assert zipped.status == 415
    body = pkt(f"{head} {new} {MAIN}\0report-status side-band-64k push-options") + FLUSH
    body += pkt("ci.skip") + FLUSH + pack(entries)
    answer = hub.post("git-receive-pack", body)
    inner = b"".join(line[1:] for line in packets(answer.body) if line[:1] == b"\1")
    assert packets(inner) == [b"unpack ok\n", f"ok {MAIN}\n".encode(), FLUSH]


def test_what_the_api_says_of_pushed_history(hub: GitHub) -> None:
    """Merges, other time zones, text that is not UTF-8, executables: every page is still a page."""
    first = hub.head
    blob = oid_of("blob", b"x")
    root = tree(("100755", b"run", blob), ("40000", b"void", oid_of("tree", b"")))
    parts = [whole("blob", b"x"), whole("tree", b""), whole("tree", root)]
    left = commit(oid_of("tree", root), first, message=b"\xff\xfe latin \xe9\n")
    right = commit(oid_of("tree", root), first, message=b"", who=b"\xe9 <> 0 -1200")
    merge = commit(oid_of("tree", root), oid_of("commit", left), oid_of("commit", right))
    entries = [*parts, *(whole("commit", body) for body in (left, right, merge))]
    assert hub.push_main(entries, oid_of("commit", merge))[-1] == f"ok {MAIN}"
    for page in (
        "commits/main", "tree/main?recursive=1&expand=1", "refs?include_prs=1",
        "revision/main?blobs=1", f"commits/{oid_of('commit', right)}", "tree/main/void",
    ):  # fmt: skip
        assert hub.ask("GET", f"/api/models/ann/m/{page}").status == 200, page
    # The API goes on from there, and the executable stays one.
    lines = b'{"key":"header","value":{"summary":"s"}}\n'
    lines += b'{"key":"file","value":{"path":"void/new","content":"eA==","encoding":"base64"}}\n'
    made = hub.ask(
        "POST", "/api/models/ann/m/commit/main", lines, content_type="application/x-ndjson"
    )
    assert made.status == 200, made
    rows = hub.catalog.refs.resolve(hub.repo, "main").tree
    with hub.catalog.db.read() as conn:
        modes = {row.name: row.mode for row in hub.catalog.git.tree(conn, hub.repo.id, rows)}
    assert modes["run"] == 0o100755


def test_a_body_over_the_limit() -> None:
    with git_hub(commit_bytes_max=100_000) as hub:
        body = pkt(f"{hub.head} {'1' * 40} {MAIN}\0report-status") + FLUSH + bytes(200_000)
        assert hub.post("git-receive-pack", body).status == 413
        # Few bytes that inflate to many: eight times the body's limit is enough.
        entries = [whole("blob", b"%d" % n + bytes(90_000)) for n in range(20)]
        assert "too many bytes" in broken(hub, pack(entries))
        base = b"x" * 1000
        wide = delta(1000, 90_000, *[copy(0, 1000)] * 90)  # ninety times what it is made from
        entries = [whole("blob", base), *[from_id(oid_of("blob", base), wide)] * 20]
        assert "too many bytes" in broken(hub, pack(entries))


def test_who_may_push(hub: GitHub) -> None:
    catalog = hub.catalog
    catalog.accounts.create("bob")
    reader = catalog.tokens.create("ann", "r", "read")
    bob = catalog.tokens.create("bob", "t", "write")
    new, entries = history({b"a": b"1"}, hub.head)
    body = pkt(f"{hub.head} {new} {MAIN}\0report-status") + FLUSH + pack(entries)
    for token, status in ((None, 401), (reader, 403), (bob, 403), ("hf_bad", 401)):
        answer = hub.post("git-receive-pack", body, token=token)
        assert answer.status == status
        refs = hub.ask("GET", "/ann/m/info/refs?service=git-receive-pack", token=token)
        assert refs.status == status
        for one in (answer, refs):
            assert ("www-authenticate" in one.headers) == (status == 401)
            assert one.headers["content-type"].startswith("text/plain")
    assert hub.head != new
    catalog.repos.set(hub.ann, "model", "ann/m", private=True)
    for token in (None, bob):
        hidden = hub.post("git-receive-pack", body, token=token)
        missing = hub.ask(
            "POST", "/ann/x.git/git-receive-pack", body, token=token,
            content_type="application/x-git-receive-pack-request",
        )  # fmt: skip
        assert hidden.status == missing.status == (401 if token is None else 404)
        assert hidden.body.replace(b"ann/m", b"?") == missing.body.replace(b"ann/x", b"?")


def test_a_pack_head_alone_is_a_pack() -> None:
    """The judge of the tests above: an empty pack is what git calls one."""
    assert pack([]) == sealed(pack_head(0))
