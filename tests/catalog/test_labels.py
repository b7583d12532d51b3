"""What is known of files and cards: labels, sums over weights, bases, children, cards re-read."""

import json
from typing import Any

import pytest
from catalog_kit import commit, commit_lfs, files_of, person, repo
from sqlalchemy import insert, select, update

from headwater.catalog import cards, labels
from headwater.catalog import schema as s
from headwater.catalog.actors import ANONYMOUS, Actor
from headwater.catalog.bases import Bases, Parent
from headwater.catalog.card_tags import BASES_MAX
from headwater.catalog.catalog import Catalog
from headwater.catalog.listing import Query
from headwater.catalog.models import Repo
from headwater.catalog.recards import STEP_REPOS
from headwater.formats.inspection import Verdict
from headwater.names import GitOid, RepoId

OK = Verdict("safetensors", "ok", "safe", summary={"parameters": {"F32": 8}})
BAD = Verdict("pickle", "flagged", "unsafe", imports=(("os", "a\0b", "dangerous"),))


def model(
    catalog: Catalog, alice: Actor, name: str, card: str = "", *, private: bool = False
) -> Repo:
    home = repo(catalog, alice, f"alice/{name}", private=private)
    commit(catalog, alice, home, {"README.md": f"---\n{card}\n---\n".encode()})
    return catalog.repos.find(alice, "model", home.full)


def head(catalog: Catalog, home: Repo) -> GitOid:
    return catalog.refs.resolve(home, "main").commit


# Labels


def test_labels_are_kept_by_content(catalog: Catalog) -> None:
    catalog.labels.put({"a" * 64: OK, "b" * 40: BAD})
    assert catalog.labels.of(["a" * 64, "b" * 40, "c" * 40]) == {"a" * 64: OK, "b" * 40: BAD}
    catalog.labels.put({"a" * 64: BAD})
    assert catalog.labels.of(["a" * 64]) == {"a" * 64: BAD}
    many = {f"{n:040x}": OK for n in range(1201)}  # more than one IN list
    catalog.labels.put(many)
    assert catalog.labels.of(many) == many


def test_older_rules_do_not_count(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog.labels.put({"a" * 64: OK})
    monkeypatch.setattr(labels, "RULES", labels.RULES + 1)
    assert catalog.labels.of(["a" * 64]) == {}
    catalog.labels.put({"a" * 64: BAD})
    assert catalog.labels.of(["a" * 64]) == {"a" * 64: BAD}


def test_labels_of_bytes_that_nobody_holds_go(catalog: Catalog, alice: Actor) -> None:
    home = model(catalog, alice, "m")
    commit_lfs(catalog, alice, home, "w.bin", b"weights")
    (entry,) = (e for e in files_of(catalog, home).values() if e.lfs)
    catalog.labels.put({entry.etag: OK, "d" * 64: OK, "e" * 40: OK})
    assert catalog.labels.forget_unheld() == 1
    assert set(catalog.labels.of([entry.etag, "d" * 64, "e" * 40])) == {entry.etag, "e" * 40}


# Weights


def test_repos_are_looked_at_once_for_each_head(
    catalog: Catalog, alice: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = model(catalog, alice, "one"), model(catalog, alice, "two")
    assert {r.full for r, _ in catalog.labels.unlooked(10)} == {first.full, second.full}
    assert len(catalog.labels.unlooked(1)) == 1
    catalog.labels.set_weights(first, head(catalog, first), {"safetensors": {"total": 5}}, 5)
    assert [(r.full, c) for r, c in catalog.labels.unlooked(10)] == [
        (second.full, head(catalog, second))
    ]
    ids = [first.id, second.id, 10**6]
    assert [r.full for r, _ in catalog.labels.unlooked_among(ids)] == [second.full]
    commit(catalog, alice, first, {"x.txt": b"x"})
    assert {r.full for r, _ in catalog.labels.unlooked(10)} == {first.full, second.full}
    catalog.labels.set_weights(first, head(catalog, first), {}, None)
    monkeypatch.setattr(labels, "RULES", labels.RULES + 1)
    assert {r.full for r, _ in catalog.labels.unlooked(10)} == {first.full, second.full}


def test_a_sum_that_comes_too_late_is_not_kept(catalog: Catalog, alice: Actor) -> None:
    home = model(catalog, alice, "m")
    old = head(catalog, home)
    commit(catalog, alice, home, {"x.txt": b"x"})
    catalog.labels.set_weights(home, old, {"safetensors": {"total": 5}}, 5)
    fresh = catalog.repos.find(alice, "model", home.full)
    assert (fresh.weights, fresh.parameters) == ("{}", None)


def test_models_are_found_by_their_size(catalog: Catalog, alice: Actor) -> None:
    for name, parameters in (("none", None), ("small", 10), ("large", 10**10), ("huge", 2**70)):
        home = model(catalog, alice, name)
        catalog.labels.set_weights(home, head(catalog, home), {}, parameters)

    def found(least: int, most: int) -> set[str]:
        page = catalog.listing.page(ANONYMOUS, Query("model", parameters=(least, most)))
        return {row.repo.name for row in page.rows}

    assert found(0, 2**63 - 1) == {"small", "large"}
    assert found(11, 2**63 - 1) == {"large"}
    assert found(10, 10) == {"small"}
    assert found(20, 10) == set()


def test_pushes_are_heard_of(catalog: Catalog, alice: Actor) -> None:
    home = model(catalog, alice, "m")
    seen = catalog.labels.last_event()
    assert catalog.labels.pushed(seen) == (seen, set())
    commit(catalog, alice, home, {"x.txt": b"x"})
    catalog.repos.set(alice, "model", home.full, private=True)  # no push
    later, pushed = catalog.labels.pushed(seen)
    assert pushed == {home.id}
    assert catalog.labels.pushed(later) == (later, set())


# Bases


def test_a_card_names_what_its_model_was_made_from(catalog: Catalog, alice: Actor) -> None:
    base = model(catalog, alice, "Base")
    child = model(catalog, alice, "child", "base_model: ALICE/base")
    away = model(catalog, alice, "away", "base_model: [meta/A, meta/B]")
    assert catalog.bases.of(ANONYMOUS, child) == Bases(
        "finetune", (Parent("ALICE/base", base.hub_id),)
    )
    assert catalog.bases.of(ANONYMOUS, away) == Bases(
        "merge", (Parent("meta/A", None), Parent("meta/B", None))
    )
    assert catalog.bases.of(ANONYMOUS, base) is None
    commit(catalog, alice, child, {"README.md": b"no card"})
    assert catalog.bases.of(ANONYMOUS, child) is None


def test_private_parents_and_children_are_not_told_of(catalog: Catalog, alice: Actor) -> None:
    stranger = person(catalog, "bob")
    base = model(catalog, alice, "base")
    secret = model(catalog, alice, "secret", private=True)
    model(catalog, alice, "open", "base_model: alice/base")
    model(catalog, alice, "hidden", "base_model: alice/base", private=True)
    child = model(catalog, alice, "child", "base_model: alice/secret")
    for nobody in (ANONYMOUS, stranger):
        assert catalog.bases.children(nobody, base) == {"finetune": 1}
        assert catalog.bases.of(nobody, child) == Bases("finetune", (Parent("alice/secret", None),))
    assert catalog.bases.children(alice, base) == {"finetune": 2}
    assert catalog.bases.of(alice, child) == Bases(
        "finetune", (Parent("alice/secret", secret.hub_id),)
    )


def test_children_are_counted_by_relation_and_follow_a_move(catalog: Catalog, alice: Actor) -> None:
    base = model(catalog, alice, "base")
    for n, relation in enumerate(("adapter", "quantized", "adapter", "merge", "finetune")):
        card = f"base_model: alice/base\nbase_model_relation: {relation}"
        model(catalog, alice, f"c{n}", card)
    numbers = {"adapter": 2, "quantized": 1, "merge": 1, "finetune": 1}
    assert catalog.bases.children(ANONYMOUS, base) == numbers
    moved = catalog.repos.move(alice, "model", base.full, RepoId.parse("model", "alice/new"))
    model(catalog, alice, "c9", "base_model: alice/new\nbase_model_relation: merge")
    assert catalog.bases.children(ANONYMOUS, moved) == numbers | {"merge": 2}
    catalog.repos.delete(alice, "model", "alice/c1")
    assert "quantized" not in catalog.bases.children(ANONYMOUS, moved)


def test_odd_bases_are_left_out(catalog: Catalog, alice: Actor) -> None:
    many = ", ".join(f"a/b{n}" for n in range(BASES_MAX + 20))
    for n, (card, kept) in enumerate(
        [
            (f"base_model: [{many}]", BASES_MAX),
            ("base_model: [A/b, a/B]", 1),
            (f"base_model: {'x' * 300}", 0),
            ("base_model: {a: b}", 0),
            ("base_model: a/b\nbase_model_relation: [merge]", 1),
            ('base_model: "a\\0b"', 0),
            ("base_model: alice/m6", 0),  # itself
        ]
    ):
        home = model(catalog, alice, f"m{n}", card)
        found = catalog.bases.of(ANONYMOUS, home)
        assert len(found.parents if found else ()) == kept, card


# Cards


def test_all_of_a_card_becomes_tags(catalog: Catalog, alice: Actor) -> None:
    card = (
        "license: other\nlicense_name: mine\nlanguage: [en, no]\nmetrics: [f1]\n"
        "arxiv: '2101.00001'\ndoi: 10.57967/hf/1234\n"
        "model-index: [{name: x, results: []}]\nextra_gated_prompt: please"
    )
    home = repo(catalog, alice, "alice/m")
    text = (
        f"---\n{card}\n---\nSee https://arxiv.org/abs/2307.09288v2, arXiv:1706.03762 and "
        "https://huggingface.co/papers/2310.06825, not 1234.567890 or arxiv.org/abs/12.34."
    )
    config = {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "auto_map": {"A": "b.C"},
        "quantization_config": {"quant_method": "gptq", "bits": 4},
    }  # fmt: skip
    commit(
        catalog, alice, home,
        {"README.md": text.encode(), "config.json": json.dumps(config).encode()},
    )  # fmt: skip
    fresh = catalog.repos.find(ANONYMOUS, "model", "alice/m")
    assert json.loads(fresh.tags) == sorted(
        "license:other en no arxiv:2101.00001 arxiv:2307.09288 arxiv:1706.03762 arxiv:2310.06825 "
        "doi:10.57967/hf/1234 eval-results region:us transformers text-generation llama "
        "custom_code gptq 4-bit".split()
    )
    assert (fresh.library_name, fresh.pipeline_tag) == ("transformers", "text-generation")
    kept = json.loads(fresh.card)
    assert (kept["license_name"], kept["extra_gated_prompt"]) == ("mine", "please")


@pytest.mark.parametrize(
    ("files", "library", "task"),
    [
        ({"modules.json": b"[]"}, "sentence-transformers", "sentence-similarity"),
        ({"adapter_config.json": b"{}"}, "peft", None),
        ({"model_index.json": b'{"_class_name": "FluxPipeline"}'}, "diffusers", None),
        ({"config.json": b'{"model_type": "bert", "architectures": ["BertForMaskedLM"]}'},
         "transformers", "fill-mask"),
        ({"config.json": b'{"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]}'},
         "transformers", None),
        ({"config.json": b'{"model_type": "whisper", "architectures": ["WhisperFor"]}'},
         "transformers", "automatic-speech-recognition"),
        ({"config.json": b'{"model_type": ["x"], "architectures": {"a": 1}}'},
         "transformers", None),
    ],
)  # fmt: skip
def test_what_a_card_leaves_out_is_told_by_files(
    catalog: Catalog, alice: Actor, files: dict[str, bytes], library: str, task: str | None
) -> None:
    home = repo(catalog, alice, "alice/m")
    commit(catalog, alice, home, files)
    fresh = catalog.repos.find(ANONYMOUS, "model", "alice/m")
    assert (fresh.library_name, fresh.pipeline_tag) == (library, task)


def test_the_tokenizer_s_words_are_kept(catalog: Catalog, alice: Actor) -> None:
    tokenizer: dict[str, Any] = {
        "mask_token": {"content": "[MASK]", "special": True}, "eos_token": "</s>",
        "bos_token": 7, "pad_token": "x" * 1000, "chat_template": "{{ x }}", "other": 1,
    }  # fmt: skip
    home = repo(catalog, alice, "alice/m")
    commit(catalog, alice, home, {"tokenizer_config.json": json.dumps(tokenizer).encode()})
    config = json.loads(catalog.repos.find(ANONYMOUS, "model", "alice/m").config)
    assert config["tokenizer_config"] == {
        "mask_token": "[MASK]", "eos_token": "</s>", "chat_template": "{{ x }}"
    }  # fmt: skip


def test_a_space_s_card_says_its_sdk(catalog: Catalog, alice: Actor) -> None:
    home = repo(catalog, alice, "alice/s", "space")
    commit(catalog, alice, home, {"README.md": b"---\nsdk: gradio\n---\n"})
    fresh = catalog.repos.find(ANONYMOUS, "space", "alice/s")
    assert (fresh.sdk, json.loads(fresh.tags)) == ("gradio", ["gradio", "region:us"])


def test_cards_are_read_again_after_an_upgrade(
    catalog: Catalog, alice: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In steps, each repo once, leaving its time alone; then not again."""
    made = [model(catalog, alice, f"m{n}", f"tags: [t{n}]") for n in range(STEP_REPOS + 3)]
    assert catalog.recards.all() == len(made)
    assert catalog.recards.all() == 0
    with catalog.db.write() as conn:
        conn.execute(update(s.repo).values(tags="[]", card="{}"))
        conn.execute(s.repo_tag.delete())
    assert catalog.recards.all() == 0
    monkeypatch.setattr(cards, "CARD_RULES", cards.CARD_RULES + 1)
    assert catalog.recards.step() == STEP_REPOS
    assert catalog.recards.all() == 3
    for n, home in enumerate(made):
        fresh = catalog.repos.find(ANONYMOUS, "model", home.full)
        assert f"t{n}" in json.loads(fresh.tags)
        assert fresh.updated_ms == home.updated_ms
    assert catalog.recards.all() == 0


def test_reading_cards_again_goes_past_what_is_damaged(catalog: Catalog, alice: Actor) -> None:
    first, second = model(catalog, alice, "a", "tags: [x]"), model(catalog, alice, "b", "tags: [y]")
    with catalog.db.write() as conn:
        conn.execute(s.git_object.delete().where(s.git_object.c.repo_id == first.id))
        conn.execute(s.repo_tag.delete())
        conn.execute(insert(s.meta).values(key="card_rules", value="[0,0]"))
    assert catalog.recards.all() == 2
    with catalog.db.read() as conn:
        rows = conn.execute(select(s.repo_tag.c.repo_id, s.repo_tag.c.tag)).all()
    assert (second.id, "y") in [tuple(row) for row in rows]
