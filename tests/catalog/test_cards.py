"""What a repo says of itself becomes its tags; nothing it says can stop a commit."""

import json

import pytest
from catalog_kit import commit, commit_lfs, repo
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from effort import examples
from headwater.catalog.actors import ANONYMOUS, Actor
from headwater.catalog.cards import FIELD_CHARS_MAX, TAGS_MAX
from headwater.catalog.catalog import Catalog
from headwater.catalog.listing import Query
from headwater.catalog.models import Repo


def tags(catalog: Catalog, home: Repo) -> list[str]:
    found = catalog.repos.find(ANONYMOUS, home.type, home.full)
    assert list(catalog.listing.one(found).tags) == json.loads(found.tags)
    return json.loads(found.tags)  # type: ignore[no-any-return]


def with_card(catalog: Catalog, alice: Actor, home: Repo, card: str, **files: bytes) -> list[str]:
    commit(catalog, alice, home, {"README.md": f"---\n{card}\n---\ntext".encode(), **files})
    return tags(catalog, home)


def test_a_model_card(catalog: Catalog, alice: Actor) -> None:
    home = repo(catalog, alice, "alice/m")
    card = (
        "license: apache-2.0\nlanguage:\n- en\n- no\ntags: [chat, code]\ndatasets: squad\n"
        "pipeline_tag: text-generation\nlibrary_name: peft\nbase_model: meta/Base"
    )
    found = with_card(catalog, alice, home, card, **{"adapter_config.json": b"{}"})
    assert found == sorted(
        ["license:apache-2.0", "en", "no", "chat", "code", "dataset:squad", "text-generation",
         "peft", "region:us", "base_model:meta/Base", "base_model:adapter:meta/Base"]
    )  # fmt: skip
    fresh = catalog.repos.find(ANONYMOUS, "model", "alice/m")
    assert (fresh.library_name, fresh.pipeline_tag) == ("peft", "text-generation")
    assert json.loads(fresh.card)["license"] == "apache-2.0"


def test_a_dataset_card(catalog: Catalog, alice: Actor) -> None:
    home = repo(catalog, alice, "alice/d", "dataset")
    card = "language: en\ntask_categories: [translation]\nsize_categories: n<1K"
    assert with_card(catalog, alice, home, card) == [
        "language:en", "region:us", "size_categories:n<1K", "task_categories:translation"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("card", "files", "relation"),
    [
        ("base_model: a/b", {}, "finetune"),
        ("base_model: a/b", {"q4.gguf": b"x"}, "quantized"),
        ("base_model: a/b", {"adapter_config.json": b"{}"}, "adapter"),
        ("base_model: [a/b, c/d]", {}, "merge"),
        ("base_model: a/b\nbase_model_relation: merge", {}, "merge"),
        ("base_model: a/b\nbase_model_relation: nonsense", {}, "finetune"),
    ],
)
def test_relations(
    catalog: Catalog, alice: Actor, card: str, files: dict[str, bytes], relation: str
) -> None:
    found = with_card(catalog, alice, repo(catalog, alice, "alice/m"), card, **files)
    assert f"base_model:{relation}:a/b" in found


def test_tags_follow_main_and_nothing_else(catalog: Catalog, alice: Actor) -> None:
    home = repo(catalog, alice, "alice/m")
    with_card(catalog, alice, home, "tags: [one]", **{"model.safetensors": b"x"})
    catalog.refs.create_branch(alice, home, "dev")
    two = {"README.md": b"---\ntags: [two]\n---\n"}
    commit(catalog, alice, home, two, revision="dev")
    commit(catalog, alice, home, two, create_pr=True)
    assert tags(catalog, home) == ["one", "region:us", "safetensors"]
    commit(catalog, alice, home, {"README.md": None, "model.safetensors": None})
    assert tags(catalog, home) == ["region:us"]
    assert catalog.listing.page(ANONYMOUS, Query("model", filters=("one",))).rows == ()


def test_config(catalog: Catalog, alice: Actor) -> None:
    home = repo(catalog, alice, "alice/m")
    config = {"model_type": "bert", "architectures": ["BertModel"], "hidden_size": 8}
    commit(catalog, alice, home, {"config.json": json.dumps(config).encode()})
    fresh = catalog.repos.find(ANONYMOUS, "model", "alice/m")
    assert json.loads(fresh.config) == {"model_type": "bert", "architectures": ["BertModel"]}
    assert fresh.library_name == "transformers"


def test_a_large_readme_is_not_looked_into(catalog: Catalog, alice: Actor) -> None:
    """An LFS pointer named README.md is a pointer, whatever its bytes say."""
    home = repo(catalog, alice, "alice/m")
    commit_lfs(catalog, alice, home, "README.md", b"---\nlicense: mit\n---\n")
    assert tags(catalog, home) == ["region:us"]


def test_fields_that_do_not_fit_are_left_out(catalog: Catalog, alice: Actor) -> None:
    home = repo(catalog, alice, "alice/m")
    long = "x" * (FIELD_CHARS_MAX + 1)
    many = ", ".join(f"t{n:04}" for n in range(TAGS_MAX + 100))
    found = with_card(
        catalog,
        alice,
        home,
        f"library_name: {long}\npipeline_tag: {long}\ntags: [{many}, {'y' * 201}]",
    )
    assert len(found) == TAGS_MAX
    fresh = catalog.repos.find(ANONYMOUS, "model", "alice/m")
    assert (fresh.library_name, fresh.pipeline_tag) == (None, None)


texts = st.text(max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
FIELDS = ["license", "tags", "language", "library_name", "pipeline_tag", "base_model", "datasets",
          "base_model_relation", "model_type", "architectures", "quantization_config"]  # fmt: skip


def test_no_card_or_config_stops_a_commit(catalog: Catalog, alice: Actor) -> None:
    home = repo(catalog, alice, "alice/m")

    @settings(max_examples=examples(60), deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.dictionaries(st.sampled_from(FIELDS), values, max_size=5).map(json.dumps) | texts,
        st.dictionaries(st.sampled_from(FIELDS), values, max_size=5).map(json.dumps).map(str.encode)
        | st.binary(max_size=30),
    )
    @example(
        '{"library_name": "a\\u0000b"}', b'{"model_type": "\\ud800", "architectures": "\\u0000"}'
    )
    @example('{"tags": ["\\ud800", "a\\u0000", "\\u202e"]}', b'{"architectures": 1e999}')
    @example('{"license": 1' + "0" * 400 + "}", b'{"architectures": 1' + b"0" * 400 + b"}")
    @example("tags: &a [*a]", b"[" * 100_000)
    @example("", b'{"architectures": NaN}')
    @example("", b'{"architectures": "\xff"}')
    @example("", b"\xef\xbb\xbf{}")
    def check(card: str, config: bytes) -> None:
        readme = f"---\n{card}\n---\n".encode("utf-8", "surrogatepass")
        commit(catalog, alice, home, {"README.md": readme, "config.json": config})
        fresh = catalog.repos.find(ANONYMOUS, "model", "alice/m")
        for document in (fresh.card, fresh.config, fresh.tags):
            json.loads(document)

    check()
