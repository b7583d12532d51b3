"""Clone and fetch, asked by hand: each version's words, its limits, and who may ask."""

import contextlib
import gzip
import os
import zlib
from collections.abc import Iterator

import pytest
from git_kit import NOTHING, GitHub, git_hub, packets
from http_kit import connect, serve, wait_until

from headwater.catalog import schema as s
from headwater.formats.pkt_line import DELIM, FLUSH, pkt
from headwater.hub.git_http import REQUEST_BYTES_MAX
from headwater.hub.routes import table
from headwater.names import RepoId
from packs import history, oid_of, pack, tag, whole

V2 = {"git_protocol": "version=2"}


@pytest.fixture
def hub() -> Iterator[GitHub]:
    with git_hub() as made:
        yield made


def command(name: str, *arguments: str) -> bytes:
    return pkt(f"command={name}\n") + DELIM + b"".join(pkt(f"{a}\n") for a in arguments) + FLUSH


def fetch(hub: GitHub, *arguments: str) -> bytes:
    answer = hub.post("git-upload-pack", command("fetch", *arguments), **V2)
    assert answer.status == 200, answer
    return answer.body


def bands(body: bytes) -> dict[int, bytes]:
    """What each band of the side-band said, from `packfile` on."""
    found = {1: b"", 2: b"", 3: b""}
    lines = packets(body)
    if b"packfile\n" in lines:
        lines = lines[lines.index(b"packfile\n") + 1 :]
    for line in lines:
        if line[:1] in (b"\1", b"\2", b"\3"):
            found[line[0]] += line[1:]
    return found


def test_each_version_says_what_there_is(hub: GitHub) -> None:
    body = tag(hub.head)
    hub.push(pack([whole("tag", body)]), ("refs/tags/v1", NOTHING, oid_of("tag", body)))
    for address in ("/ann/m.git", "/ann/m"):
        plain = hub.ask("GET", f"{address}/info/refs?service=git-upload-pack", token=None)
        assert plain.headers["content-type"] == "application/x-git-upload-pack-advertisement"
        assert "no-cache" in plain.headers["cache-control"]
        lines = packets(plain.body)
        assert lines[0] == b"# service=git-upload-pack\n"
        first, _, words = lines[2].partition(b"\0")
        assert first == f"{hub.head} HEAD".encode()
        assert b"symref=HEAD:refs/heads/main" in words.split()
        assert f"{oid_of('tag', body)} refs/tags/v1\n".encode() in lines
        assert f"{hub.head} refs/tags/v1^{{}}\n".encode() in lines
    one = hub.ask("GET", "/ann/m/info/refs?service=git-upload-pack", git_protocol="version=1")
    assert packets(one.body)[2] == b"version 1\n"
    two = hub.ask("GET", "/ann/m/info/refs?service=git-upload-pack", **V2)
    assert packets(two.body)[0] == b"version 2\n"
    for unknown in ("version=9", "nonsense", "version=2x", ":::"):
        odd = hub.ask("GET", "/ann/m/info/refs?service=git-upload-pack", git_protocol=unknown)
        assert packets(odd.body)[0] == b"# service=git-upload-pack\n"
    many = hub.ask(
        "GET", "/ann/m/info/refs?service=git-upload-pack", git_protocol="version=1:version=2"
    )
    assert packets(many.body)[0] == b"version 2\n"


def test_the_dumb_protocol_is_not_there(hub: GitHub) -> None:
    for query in ("", "?service=", "?service=git-upload-archive", "?service=git-upload-pack%00"):
        answer = hub.ask("GET", f"/ann/m.git/info/refs{query}")
        assert answer.status == 403
        assert b"smart HTTP" in answer.body
    for path in ("HEAD", "objects/info/packs", "objects/00/" + "1" * 38):
        assert hub.ask("GET", f"/ann/m.git/{path}").status == 404


def test_ls_refs(hub: GitHub) -> None:
    new, entries = history({b"a": b"1"}, hub.head)
    body = tag(new)
    hub.push(
        pack([*entries, whole("tag", body)]),
        ("refs/heads/dev", NOTHING, new), ("refs/tags/v1", NOTHING, oid_of("tag", body)),
    )  # fmt: skip

    def listed(*arguments: str) -> list[str]:
        answer = hub.post("git-upload-pack", command("ls-refs", *arguments), **V2)
        return [line.decode().rstrip() for line in packets(answer.body)[:-1]]

    assert listed() == [
        f"{hub.head} HEAD", f"{new} refs/heads/dev", f"{hub.head} refs/heads/main",
        f"{oid_of('tag', body)} refs/tags/v1",
    ]  # fmt: skip
    assert listed("symrefs", "peel", "ref-prefix HEAD", "ref-prefix refs/tags/") == [
        f"{hub.head} HEAD symref-target:refs/heads/main",
        f"{oid_of('tag', body)} refs/tags/v1 peeled:{new}",
    ]
    assert listed("ref-prefix refs/heads/d") == [f"{new} refs/heads/dev"]
    assert len(listed(*[f"ref-prefix x{n}" for n in range(2000)])) == 4


def test_negotiation_of_version_2(hub: GitHub) -> None:
    first = hub.head
    new, entries = history({b"a": b"1"}, first)
    hub.push_main(entries, new)
    stranger = "1" * 40
    assert packets(fetch(hub, f"want {new}", f"have {stranger}")) == [
        b"acknowledgments\n", b"NAK\n", FLUSH,
    ]  # fmt: skip
    body = fetch(hub, f"want {new}", f"have {stranger}", f"have {first}")
    assert packets(body)[:4] == [
        b"acknowledgments\n", f"ACK {first}\n".encode(), b"ready\n", FLUSH,
    ]  # fmt: skip
    assert bands(body)[1][:12] == b"PACK\0\0\0\2\0\0\0\3"
    loud = bands(fetch(hub, f"want {new}", "done"))
    quiet = bands(fetch(hub, f"want {new}", "done", "no-progress"))
    assert loud[1] == quiet[1]
    assert b"objects" in loud[2]
    assert quiet[2] == b""
    # A history of its own has nothing in common with what is wanted: go on asking.
    other, more = history({b"z": b"1"})
    hub.push(pack(more), ("refs/heads/orphan", NOTHING, other))
    body = fetch(hub, f"want {new}", f"have {other}")
    assert packets(body) == [b"acknowledgments\n", f"ACK {other}\n".encode(), FLUSH]


def test_negotiation_of_version_0(hub: GitHub) -> None:
    first = hub.head
    new, entries = history({b"a": b"1"}, first)
    hub.push_main(entries, new)

    def asked(words: str, *lines: str, end: bytes = pkt("done\n")) -> bytes:
        body = pkt(f"want {new} {words}\n") + FLUSH + b"".join(pkt(f"{x}\n") for x in lines) + end
        answer = hub.post("git-upload-pack", body)
        assert answer.status == 200
        return answer.body

    bare = asked("")
    assert bare.startswith(pkt("NAK\n") + b"PACK")
    assert asked("", f"have {first}").startswith(pkt(f"ACK {first}\n") + b"PACK")
    small = asked("side-band")
    assert max(map(len, packets(small))) <= 996
    assert bands(asked("side-band-64k"))[1] == bands(small)[1] == bare[8:]
    assert asked("multi_ack_detailed", f"have {'1' * 40}", end=FLUSH) == pkt("NAK\n")
    waits = asked("multi_ack_detailed", f"have {first}", end=FLUSH)
    assert waits == pkt(f"ACK {first} common\n") + pkt(f"ACK {first} ready\n") + pkt("NAK\n")
    goes_on = asked("multi_ack_detailed no-done", f"have {first}", end=FLUSH)
    assert goes_on.startswith(waits + pkt(f"ACK {first}\n") + b"PACK")
    assert hub.post("git-upload-pack", FLUSH).body == b""


def test_what_is_not_served_is_said(hub: GitHub) -> None:
    for argument, word in (
        ("deepen-not main", "not served"), ("deepen-since x", "a number"), ("deepen 0", "a number"),
        ("deepen -1", "a number"), ("deepen " + "9" * 30, "a number"),
        ("deepen-since 2147483647", "no commit"),
        ("want " + "z" * 40, "git object id"), ("have 12", "git object id"),
    ):  # fmt: skip
        said = packets(fetch(hub, f"want {hub.head}", "done", argument))[0].decode()
        assert said.startswith("ERR "), argument
        assert word in said, argument
    for body in (b"", b"0", b"xyz!", b"0005", pkt("command=explode"), command("object-info")):
        assert hub.post("git-upload-pack", body, **V2).status == 400, body
    for body in (b"", b"00", pkt("nonsense"), pkt("have 1")):
        assert hub.post("git-upload-pack", body).status in (200, 400), body
    assert b"not our ref" in fetch(hub, f"want {'1' * 40}", "done")
    for text in ("tree:0", "sparse:oid=1", "blob:limit=", "blob:limit=-1", "combine:x", "x" * 999):
        assert b"ERR filter" in fetch(hub, f"want {hub.head}", "done", f"filter {text}"), text
    huge = [f"want {n:040x}" for n in range(100_001)]
    assert b"ERR too many" in fetch(hub, *huge)


def test_filters(hub: GitHub) -> None:
    new, entries = history({b"large": bytes(5000), b"small": b"x"}, hub.head)
    hub.push_main(entries, new)

    def count(*arguments: str) -> int:
        found = bands(fetch(hub, f"want {new}", f"have {hub.head}", "done", *arguments))[1]
        return int.from_bytes(found[8:12], "big")

    def all_count(*arguments: str) -> int:
        found = bands(fetch(hub, f"want {new}", "done", *arguments))[1]
        return int.from_bytes(found[8:12], "big")

    everything = all_count()
    assert all_count("filter blob:none") == everything - 3  # .gitattributes has one, too
    assert all_count("filter blob:limit=1k") == everything - 2
    assert all_count("filter blob:limit=1") == everything - 3
    assert all_count("filter blob:limit=1g") == everything
    assert count() == 0
    # A blob by name is given whatever the filter says, and though the commit is there.
    blob = oid_of("blob", b"x")
    body = fetch(hub, f"want {blob}", f"have {new}", "done", "filter blob:none")
    assert bands(body)[1][:12] == b"PACK\0\0\0\2\0\0\0\1"


def test_a_compressed_request(hub: GitHub) -> None:
    body = command("ls-refs")
    zipped = hub.post("git-upload-pack", gzip.compress(body), content_encoding="gzip", **V2)
    assert zipped.body == hub.post("git-upload-pack", body, **V2).body
    bomb = gzip.compress(bytes(REQUEST_BYTES_MAX * 4))
    assert hub.post("git-upload-pack", bomb, content_encoding="gzip", **V2).status == 413
    for data, named in (
        (gzip.compress(body)[:-9], "gzip"), (b"junk", "gzip"), (gzip.compress(body) + b"x", "gzip"),
        (zlib.compress(body), "gzip"),
    ):  # fmt: skip
        assert hub.post("git-upload-pack", data, content_encoding=named, **V2).status == 400
    for named in ("deflate", "br", "gzip, gzip"):
        assert hub.post("git-upload-pack", body, content_encoding=named, **V2).status == 415
    assert hub.ask("POST", "/ann/m/git-upload-pack", body, content_type="text/html").status == 415


def test_damage_is_said_in_the_side_band(hub: GitHub) -> None:
    blob = oid_of("blob", b"right")
    new, entries = history({b"f": b"right"}, hub.head)
    hub.push_main(entries, new)
    with hub.catalog.db.write() as conn:
        conn.execute(
            s.git_object.update().where(s.git_object.c.oid == blob)
            .values(data=zlib.compress(b"wrong"))
        )  # fmt: skip
    found = bands(fetch(hub, f"want {new}", "done"))
    assert b"no longer matches its name" in found[3]
    body = fetch(hub, f"want {new}", "done")
    assert not body.endswith(FLUSH), "the client would take the pack for whole"


def test_who_may_read(hub: GitHub) -> None:
    catalog = hub.catalog
    catalog.accounts.create("bob")
    bob = catalog.tokens.create("bob", "t", "read")
    address = "/ann/m/info/refs?service=git-upload-pack"
    for token in (None, bob, hub.token):
        assert hub.ask("GET", address, token=token).status == 200
    bad = hub.ask("GET", address, token="hf_bad")
    assert (bad.status, bad.headers["www-authenticate"]) == (401, 'Basic realm="Headwater"')

    catalog.repos.set(hub.ann, "model", "ann/m", gated="auto")
    gated = {token: hub.ask("GET", address, token=token).status for token in (None, bob, hub.token)}
    assert gated == {None: 401, bob: 403, hub.token: 200}

    catalog.repos.set(hub.ann, "model", "ann/m", private=True)
    for token in (None, bob):
        for service in ("upload", "receive"):
            query = f"info/refs?service=git-{service}-pack"
            hidden = hub.ask("GET", f"/ann/m/{query}", token=token, x_request_id="one")
            missing = hub.ask("GET", f"/ann/x/{query}", token=token, x_request_id="one")
            assert hidden.status == missing.status == (404 if token else 401)
            assert hidden.body.replace(b"ann/m", b"?") == missing.body.replace(b"ann/x", b"?")
            texts = [
                {k: v.replace("ann/m", "?").replace("ann/x", "?") for k, v in a.headers.items()}
                for a in (hidden, missing)
            ]
            assert texts[0] == texts[1]
        body = command("ls-refs")
        assert hub.post("git-upload-pack", body, token=token, **V2).status in (401, 404)


def test_a_hub_for_its_users_only_asks_everyone() -> None:
    with git_hub(anonymous_read=False) as hub:
        answer = hub.ask("GET", "/ann/m/info/refs?service=git-upload-pack", token=None)
        assert (answer.status, "www-authenticate" in answer.headers) == (401, True)
        batch = hub.ask("POST", "/ann/m.git/info/lfs/objects/batch", b"{}", token=None)
        assert batch.status in (400, 401)


def test_git_lfs_is_asked_for_a_token(hub: GitHub) -> None:
    body = b'{"operation":"upload","transfers":["basic"],"objects":[]}'
    answer = hub.ask("POST", "/ann/m.git/info/lfs/objects/batch", body, token=None)
    assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Basic realm="Headwater"')
    assert answer.json["message"] == answer.json["error"]


def test_datasets_and_old_names(hub: GitHub) -> None:
    hub.catalog.repos.create(hub.ann, RepoId.parse("dataset", "ann/d"))
    assert hub.ask("GET", "/datasets/ann/d.git/info/refs?service=git-upload-pack").status == 200
    assert hub.ask("GET", "/ann/d.git/info/refs?service=git-upload-pack").status == 404
    hub.catalog.repos.move(hub.ann, "model", "ann/m", RepoId.parse("model", "ann/new"))
    assert hub.ask("GET", "/ann/m.git/info/refs?service=git-upload-pack").status == 200


def test_a_client_that_leaves_ends_its_fetch(hub: GitHub) -> None:
    """Over a real socket: 40 MB are asked for, some bytes taken; what was open is closed again."""
    files = {b"%d" % n: os.urandom(8 * 2**20) for n in range(5)}
    new, entries = history(files, hub.head)
    hub.push_main(entries, new)
    body = command("fetch", f"want {new}", "done")
    head = (
        "POST /ann/m/git-upload-pack HTTP/1.1\r\nHost: t\r\nGit-Protocol: version=2\r\n"
        "Content-Type: application/x-git-upload-pack-request\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    with serve(table(hub.hub)) as port:
        client = connect(port, head + body)
        assert client.recv(4096).startswith(b"HTTP/1.1 200")
        wait_until(lambda: scratch_files() == 1)
        client.close()
        wait_until(lambda: scratch_files() == 0)


def scratch_files() -> int:
    """Open files of ours that have no name any more."""
    found = 0
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            name = os.readlink(f"/proc/self/fd/{number}")
            found += "/git-" in name and name.endswith("(deleted)")
    return found
