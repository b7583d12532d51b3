"""What the hub tells of files over HTTP: safety, weights, bases; to whom, and at what cost."""

from __future__ import annotations

import hashlib
import json
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from http_kit import Answer, ask
from xet_kit import make_hub

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "attacks")]

import pickles  # noqa: E402  (it lies in the folder that was just added)

from headwater.catalog.actors import Actor  # noqa: E402
from headwater.catalog.commits import Change, Plan, PutFile, PutLfs  # noqa: E402
from headwater.catalog.models import Repo  # noqa: E402
from headwater.errors import Unavailable  # noqa: E402
from headwater.formats.inspection import Verdict  # noqa: E402
from headwater.hub import headers as headers_module  # noqa: E402
from headwater.hub.context import Hub  # noqa: E402
from headwater.hub.inspector import ENDED  # noqa: E402
from headwater.hub.routes import table  # noqa: E402
from headwater.hub.routing import Route  # noqa: E402
from headwater.names import Digest, RepoId, RepoPath  # noqa: E402


class Site:
    """A hub, asked in-process."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.rows: Sequence[Route] = table(hub)
        self.tokens: dict[str, str] = {}

    def actor(self, name: str) -> Actor:
        if name not in self.tokens:
            self.hub.catalog.accounts.create(name)
            self.tokens[name] = self.hub.catalog.tokens.create(name, "t", "write")
        return self.hub.catalog.tokens.actor(self.tokens[name])

    def repo(self, full: str, **options: Any) -> Repo:
        actor = self.actor(full.partition("/")[0])
        return self.hub.catalog.repos.create(actor, RepoId.parse("model", full), **options)

    def commit(
        self,
        repo: Repo,
        large: dict[str, bytes] | None = None,
        small: dict[str, bytes] | None = None,
        revision: str = "main",
    ) -> str:
        catalog, actor = self.hub.catalog, self.actor(repo.namespace)
        changes: list[Change] = []
        for path, data in (large or {}).items():
            oid = Digest(hashlib.sha256(data).hexdigest())
            with self.hub.store.write_plain() as writer:
                writer.write(data)
                writer.finish(oid)
            catalog.blobs.uploaded(actor, oid, len(data))
            changes.append(PutLfs(RepoPath(path), oid, len(data)))
        oids = catalog.commits.stage(repo, list((small or {}).values()))
        changes += [PutFile(RepoPath(p), oid) for p, oid in zip(small or {}, oids, strict=True)]
        return catalog.commits.apply(actor, repo, Plan(revision, tuple(changes), "add")).oid

    def get(self, path: str, user: str = "", method: str = "GET") -> Answer:
        headers = {"authorization": f"Bearer {self.tokens[user]}"} if user else {}
        return ask(self.rows, method, path.encode(), headers, settings=self.hub.settings)

    def model(self, full: str, query: str = "", user: str = "") -> dict[str, Any]:
        answer = self.get(f"/api/models/{full}{query}", user)
        assert answer.status == 200, answer.body
        found: dict[str, Any] = answer.json
        return found

    def tree(self, full: str, user: str = "", query: str = "") -> dict[str, Any]:
        answer = self.get(f"/api/models/{full}/tree/main?expand=true&recursive=true{query}", user)
        assert answer.status == 200, answer.body
        return {item["path"]: item for item in answer.json}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    hub = make_hub(tmp_path)
    yield Site(hub)
    hub.labelling.close()
    hub.catalog.close()


def safetensors(names: str = "ab", dtype: str = "F32", side: int = 4, **metadata: str) -> bytes:
    wide = {"F32": 4, "BF16": 2}[dtype]
    head: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    for i, name in enumerate(names):
        span = [i * side * wide, (i + 1) * side * wide]
        head[name] = {"dtype": dtype, "shape": [side], "data_offsets": span}
    text = json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + bytes(len(names) * side * wide)


def gguf(elements: int = 32, template: str = "{{ x }}") -> bytes:
    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    pairs = [("general.architecture", "llama"), ("tokenizer.chat_template", template)]
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, len(pairs) + 1)
    head += b"".join(text(k) + struct.pack("<I", 8) + text(v) for k, v in pairs)
    head += text("llama.context_length") + struct.pack("<II", 4, 2048)
    head += text("w") + struct.pack("<IQIQ", 1, elements, 0, 0)
    return head + bytes(-len(head) % 32) + bytes(4 * elements)


# Safety


def test_the_files_of_a_repo_and_what_they_may_do(site: Site) -> None:
    home = site.repo("ann/m")
    site.commit(
        home,
        {
            "model.safetensors": safetensors(),
            "bad.pt": pickles.call("os", "getcwd"),
            "odd.bin": pickles.call("some.lib", "thing"),
            "good.pt": pickles.benign()["a state dict"],
            "cut.pkl": pickles.call("os", "getcwd")[:3],
            "x.onnx": b"\x08\x07onnx",
        },
        {"config.json": b'{"auto_map": {"A": "o/r--x.Y"}}', "notes.txt": b"hello"},
    )
    body = site.model("ann/m", "?securityStatus=true")
    assert body["securityRepoStatus"] == {
        "scansDone": True,
        "filesWithIssues": [
            {"path": "bad.pt", "level": "unsafe"},
            {"path": "config.json", "level": "suspicious"},
            {"path": "odd.bin", "level": "suspicious"},
            {"path": "cut.pkl", "level": "caution"},
            {"path": "x.onnx", "level": "caution"},
        ],
    }
    assert "securityRepoStatus" not in site.model("ann/m")
    items = site.tree("ann/m")
    bad = items["bad.pt"]["securityFileStatus"]
    assert bad["status"] == "unsafe"
    assert bad["avScan"] == {"status": "not configured"}
    assert bad["pickleImportScan"]["highestSafetyLevel"] == "dangerous"
    assert bad["pickleImportScan"]["imports"] == [
        {"module": "os", "name": "getcwd", "safety": "dangerous"}
    ]
    good = items["good.pt"]["securityFileStatus"]
    assert (good["status"], good["pickleImportScan"]["highestSafetyLevel"]) == ("safe", "innocuous")
    assert items["model.safetensors"]["securityFileStatus"]["pickleImportScan"] is None
    assert items["notes.txt"]["securityFileStatus"]["status"] == "unscanned"
    cut = items["cut.pkl"]["securityFileStatus"]
    assert cut["pickleImportScan"]["highestSafetyLevel"] == "unverified"
    plain = site.get("/api/models/ann/m/tree/main").json
    assert all("securityFileStatus" not in item for item in plain)


def test_one_label_for_one_content_whatever_it_is_called(site: Site) -> None:
    home, evil = site.repo("ann/m"), pickles.call("os", "getcwd")
    site.commit(home, {"a.bin": evil, "README": evil, "model.safetensors": evil})
    levels = {p: i["securityFileStatus"]["status"] for p, i in site.tree("ann/m").items()}
    del levels[".gitattributes"]
    assert set(levels.values()) == {"unsafe"}


def test_outside_a_gate_no_names_inside_files_are_told(site: Site) -> None:
    home = site.repo("ann/m")
    site.actor("bob")
    site.commit(home, {"bad.pt": pickles.call("secret_lib", "thing"), "m.gguf": gguf()},
                {"tokenizer_config.json": b'{"chat_template": "{{ y }}"}'})  # fmt: skip
    site.hub.catalog.repos.set(site.actor("ann"), "model", "ann/m", gated="manual")
    for user in ("", "bob"):
        status = site.tree("ann/m", user)["bad.pt"]["securityFileStatus"]
        assert (status["status"], status["pickleImportScan"]["imports"]) == ("suspicious", [])
        assert "secret_lib" not in json.dumps(site.model("ann/m", "?securityStatus=true", user))
        assert "chat_template" not in site.model("ann/m", "?expand=gguf", user)["gguf"]
        refused = site.get("/api/models/ann/m/safetensors-metadata/m.safetensors", user)
        assert refused.headers["x-error-code"] == "GatedRepo"
        assert "chat_template" not in json.dumps(site.model("ann/m", "", user))
    assert "{{ y }}" in json.dumps(site.model("ann/m", "", "ann")["config"])
    assert "chat_template" not in site.get("/api/models?config=true", "ann").body.decode()
    assert site.tree("ann/m", "ann")["bad.pt"]["securityFileStatus"]["pickleImportScan"]["imports"]
    assert site.model("ann/m", "?expand=gguf", "ann")["gguf"]["chat_template"] == "{{ x }}"


def test_what_there_is_no_time_for_is_queued(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    home = site.repo("ann/m")
    site.commit(home, {"bad.pt": pickles.call("os", "getcwd")})
    entries = site.hub.labelling.files(home, site.hub.catalog.refs.resolve(home, "main").commit)
    assert site.hub.labelling.verdicts(home, entries, seconds=0.0) == {}
    assert site.hub.labelling.weights(home, entries, seconds=0.0) is not None  # there are none
    with monkeypatch.context() as patch:
        patch.setattr(type(site.hub.labelling), "verdicts", lambda *_, **__: {})
        body = site.model("ann/m", "?securityStatus=true")["securityRepoStatus"]
        assert (body["scansDone"], body["filesWithIssues"][0]["level"]) == (False, "queued")
    assert site.model("ann/m", "?securityStatus=true")["securityRepoStatus"]["scansDone"]


def test_a_page_is_shown_when_nothing_can_be_kept(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object) -> None:
        raise Unavailable("the database is busy")

    site.commit(site.repo("ann/m"), {"a.safetensors": safetensors()})
    monkeypatch.setattr(type(site.hub.catalog.labels), "put", busy)
    monkeypatch.setattr(type(site.hub.catalog.labels), "set_weights", busy)
    assert site.model("ann/m", "?securityStatus=true")["safetensors"]["total"] == 8


def test_a_worker_that_was_killed_once_decides_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy machine, or an impatient operator, must not leave a mark on a file."""
    site.commit(site.repo("ann/m"), {"good.pt": pickles.benign()["a state dict"]})
    real, calls = site.hub.labelling.inspector.inspect, []

    def once_killed(read: Any, size_bytes: int) -> Verdict:
        calls.append(size_bytes)
        ended = Verdict(ENDED, "unverified", "caution", "ended")
        return ended if calls.count(size_bytes) == 1 else real(read, size_bytes)

    monkeypatch.setattr(site.hub.labelling.inspector, "inspect", once_killed)
    assert site.tree("ann/m")["good.pt"]["securityFileStatus"]["status"] == "safe"


def test_a_file_that_always_ends_the_worker_is_not_verified_and_not_looked_at_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.commit(site.repo("ann/m"), {"bad.pt": b"x" * 999})
    calls = []

    def kills(read: Any, size_bytes: int) -> Verdict:
        calls.append(size_bytes)
        return Verdict(ENDED, "unverified", "caution", "ended")

    monkeypatch.setattr(site.hub.labelling.inspector, "inspect", kills)
    for _ in range(3):
        assert site.tree("ann/m")["bad.pt"]["securityFileStatus"]["status"] == "caution"
    assert calls.count(999) == 2


def test_a_hub_that_goes_down_does_not_look_on(site: Site) -> None:
    home = site.repo("ann/m")
    site.commit(home, {"a.safetensors": safetensors()})
    site.hub.labelling.close()
    entries = site.hub.labelling.files(home, site.hub.catalog.refs.resolve(home, "main").commit)
    assert site.hub.labelling.verdicts(home, entries) == {}
    assert site.hub.labelling.sweep() == 0


def test_damaged_bytes_get_no_label_and_stop_no_page(site: Site) -> None:
    home, evil = site.repo("ann/m"), pickles.call("os", "getcwd")
    site.commit(home, {"bad.pt": evil, "fine.pt": pickles.benign()["a state dict"]})
    site.hub.store.delete_blob(Digest(hashlib.sha256(evil).hexdigest()))
    items = site.tree("ann/m")
    assert items["bad.pt"]["securityFileStatus"]["status"] == "queued"
    assert items["fine.pt"]["securityFileStatus"]["status"] == "safe"


def test_paths_info_says_the_same(site: Site) -> None:
    home = site.repo("ann/m")
    site.commit(home, {"bad.pt": pickles.call("os", "getcwd")})
    entry = site.hub.catalog.files.paths(
        home, site.hub.catalog.refs.resolve(home, "main").tree, ["bad.pt"]
    )
    assert site.hub.labelling.verdicts(home, entry)[entry[0].etag].level == "unsafe"


# Weights


def test_sums_are_made_at_the_first_look_and_kept(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = site.repo("ann/m")
    site.commit(home, {"a.safetensors": safetensors(), "b.safetensors": safetensors("c", "BF16")})
    listed = "/api/models?author=ann&expand=safetensors"
    assert "safetensors" not in site.get(listed).json[0]  # a listing does not look
    wanted = {"parameters": {"BF16": 4, "F32": 8}, "total": 12, "sharded": True}
    assert site.model("ann/m")["safetensors"] == wanted
    monkeypatch.setattr(site.hub.store, "read", None)  # from here on nothing is read
    assert site.get(listed).json[0]["safetensors"] == wanted
    assert site.model("ann/m")["safetensors"] == wanted
    for query, number in (("min:12", 1), ("min:13", 0), ("max:12", 1), ("min:0.001K,max:1B", 1)):
        found = site.get(f"/api/models?author=ann&num_parameters={quote(query)}").json
        assert len(found) == number, query


@pytest.mark.parametrize("text", ["6B", "min:", "min:x", "min:-1", "min:1e9", "max:9" * 99])
def test_a_size_that_is_none_is_refused(site: Site, text: str) -> None:
    assert site.get(f"/api/models?num_parameters={quote(text)}").status == 400


def test_weights_of_another_revision_are_its_own(site: Site) -> None:
    home = site.repo("ann/m")
    first = site.commit(home, {"a.safetensors": safetensors("a")})
    site.commit(home, {"a.safetensors": safetensors("abc")})
    assert site.model("ann/m")["safetensors"]["total"] == 12
    assert site.model("ann/m", f"/revision/{first}")["safetensors"]["total"] == 4
    assert site.model("ann/m")["safetensors"]["total"] == 12


def test_of_several_ggufs_the_largest_speaks_and_parts_are_added(site: Site) -> None:
    home = site.repo("ann/m")
    site.commit(home, {
        "m-q4.gguf": gguf(64),
        "big-00001-of-00002.gguf": gguf(96, "{{ one }}"),
        "big-00002-of-00002.gguf": gguf(32, "{{ two }}"),
        "broken.gguf": b"GGUF" + b"\xff" * 60,
    })  # fmt: skip
    found = site.model("ann/m", "?expand=gguf")["gguf"]
    assert (found["total"], found["architecture"], found["context_length"]) == (128, "llama", 2048)
    assert found["chat_template"] == "{{ one }}"
    row = site.get("/api/models?author=ann&expand=gguf").json[0]["gguf"]
    assert row["total"] == 128
    assert "chat_template" not in row


def test_what_is_no_safetensors_counts_for_nothing(site: Site) -> None:
    home = site.repo("ann/m")
    site.commit(home, {"a.safetensors": b"\xff" * 100, "b.safetensors": safetensors()[:-1]})
    assert "safetensors" not in site.model("ann/m")


def test_the_background_looks_at_what_was_pushed(site: Site) -> None:
    home = site.repo("ann/m")
    site.hub.labelling.work()  # from here on it listens
    site.commit(home, {"a.safetensors": safetensors(), "bad.pt": pickles.call("os", "getcwd")})
    assert site.hub.labelling.work() == 1
    assert site.hub.labelling.work() == 0
    row = site.get("/api/models?author=ann&expand=safetensors").json[0]
    assert row["safetensors"]["total"] == 8
    bad = hashlib.sha256(pickles.call("os", "getcwd")).hexdigest()
    assert site.hub.catalog.labels.of([bad])[bad].level == "unsafe"


def test_the_sweep_finds_what_nobody_heard_of(site: Site) -> None:
    site.commit(site.repo("ann/a"), {"a.safetensors": safetensors()})
    site.commit(site.repo("ann/b"), {"b.gguf": gguf()})
    assert site.hub.labelling.sweep() == 2
    assert site.hub.labelling.sweep() == 0


# Headers of shards


INDEX = "model.safetensors.index.json"


def index(*shards: str) -> bytes:
    weight_map = {f"t{n}": shard for n, shard in enumerate(shards)}
    return json.dumps({"metadata": {"total_size": 9}, "weight_map": weight_map}).encode()


def test_the_headers_of_all_shards_at_once(site: Site) -> None:
    home = site.repo("ann/m")
    parts = {"s1.safetensors": safetensors("ab", note="x"), "s2.safetensors": safetensors("c")}
    site.commit(home, parts, {INDEX: index("s2.safetensors", "s1.safetensors")})
    site.commit(
        home,
        {f"sub/{path}": data for path, data in parts.items()},
        {f"sub/{INDEX}": index(*parts)},
    )
    for path in (INDEX, f"sub/{INDEX}"):
        body = site.get(f"/api/models/ann/m/safetensors-metadata/{path}").json
        assert body["index"] == {"metadata": {"total_size": 9}}
        assert set(body["headers"]) == set(parts)
        assert set(body["headers"]["s1.safetensors"]) == {"__metadata__", "a", "b"}
    one = site.get("/api/models/ann/m/safetensors-metadata/s2.safetensors").json
    assert list(one["headers"]) == ["s2.safetensors"]


@pytest.mark.parametrize(
    ("shards", "status"),
    [
        (("../../etc/passwd",), 404),
        (("/etc/passwd",), 404),
        (("a\0b",), 404),
        (("missing.safetensors",), 404),
        (("broken.safetensors",), 422),
        (("evil.safetensors",), 422),
        (tuple(f"s{n}" for n in range(600)), 413),
    ],
)
def test_a_hostile_index_leads_nowhere(site: Site, shards: tuple[str, ...], status: int) -> None:
    home = site.repo("ann/m")
    large = {"broken.safetensors": b"x" * 99, "evil.safetensors": pickles.call("os", "getcwd")}
    site.commit(home, large, {INDEX: index(*shards)})
    assert site.get(f"/api/models/ann/m/safetensors-metadata/{INDEX}").status == status


@pytest.mark.parametrize("text", [b"", b"[]", b'{"weight_map": 5}', b'{"weight_map": {"a": 1}}',
                                  b"[" * 100_000, b"\xff"])  # fmt: skip
def test_an_index_that_is_none_is_refused(site: Site, text: bytes) -> None:
    site.commit(site.repo("ann/m"), {}, {INDEX: text, "x.txt": b"x"})
    assert site.get(f"/api/models/ann/m/safetensors-metadata/{INDEX}").status == 422


def test_long_headers_are_refused_in_sum(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.commit(
        site.repo("ann/m"), {"s.safetensors": safetensors()}, {INDEX: index("s.safetensors")}
    )
    monkeypatch.setattr(headers_module, "HEADERS_BYTES_MAX", 10)
    assert site.get(f"/api/models/ann/m/safetensors-metadata/{INDEX}").status == 413


def test_private_is_missing_at_every_new_door(site: Site) -> None:
    site.commit(site.repo("ann/m", private=True), {"s.safetensors": safetensors()})
    site.actor("bob")
    for user in ("", "bob"):
        for tail in ("/safetensors-metadata/s.safetensors", "?securityStatus=true", "?expand=gguf"):
            here = site.get(f"/api/models/ann/m{tail}", user)
            gone = site.get(f"/api/models/ann/n{tail}", user)
            assert (here.status, here.headers["x-error-code"]) == (
                gone.status, gone.headers["x-error-code"]
            )  # fmt: skip
            assert here.status in (401, 404)
    assert site.get("/api/models?num_parameters=min:1", "bob").json == []


# Bases


def test_bases_and_children(site: Site) -> None:
    base, child = site.repo("ann/base"), site.repo("bob/child")
    hidden = site.repo("bob/hidden", private=True)
    for home in (child, hidden):
        site.commit(home, {}, {"README.md": b"---\nbase_model: ann/base\n---\n"})
    query = "?expand=baseModels&expand=childrenModelCount"
    assert site.model("bob/child", query)["baseModels"] == {
        "relation": "finetune", "models": [{"id": "ann/base", "_id": base.hub_id}]
    }  # fmt: skip
    assert site.model("ann/base", query)["childrenModelCount"] == {"finetune": 1}
    assert site.model("ann/base", query, "bob")["childrenModelCount"] == {"finetune": 2}
    assert "baseModels" not in site.model("ann/base", query)
    found = site.get("/api/models?filter=base_model:finetune:ann/base").json
    assert [row["id"] for row in found] == ["bob/child"]


def test_transformers_info_and_mask_token(site: Site) -> None:
    config = {
        "model_type": "bert", "architectures": ["BertForMaskedLM"],
        "auto_map": {"AutoModelForMaskedLM": "modeling.MyBert"},
    }  # fmt: skip
    small = {
        "config.json": json.dumps(config).encode(),
        "tokenizer_config.json": b'{"mask_token": "[MASK]"}',
        "README.md": b"---\nwidget:\n- text: hello\n---\n",
    }
    site.commit(site.repo("ann/m"), {}, small)
    body = site.model("ann/m")
    assert body["transformersInfo"] == {
        "auto_model": "AutoModelForMaskedLM", "custom_class": "modeling.MyBert",
        "pipeline_tag": "fill-mask", "processor": "AutoTokenizer",
    }  # fmt: skip
    assert (body["mask_token"], body["widgetData"]) == ("[MASK]", [{"text": "hello"}])
