"""A repo as JSON: what info and listing answer, field by field.

Hugging Face's shapes. With `expand`, only `_id`, `id` and the fields asked for; without, the
default set. A field is made only when it is wanted: some cost a query.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from headwater.catalog.actors import ANONYMOUS, Actor
from headwater.catalog.card_tags import REGION
from headwater.catalog.catalog import Catalog
from headwater.catalog.clock import iso
from headwater.catalog.listing import Listed
from headwater.catalog.models import Entry, Revision
from headwater.errors import BadRequest
from headwater.formats.architectures import auto_model_of
from headwater.hub.labelling import FILES_MAX, Labelling
from headwater.hub.security import repo_status
from headwater.hub.weights import Weighed
from headwater.names import RepoType

MASKED_OID = "*" * 64  # for those outside a gate: names and sizes are public, hashes are not
SIBLINGS_MAX = 50_000  # of one info reply; larger repos are walked with the tree route

_COMMON = (
    "author cardData createdAt disabled downloads downloadsAllTime gated lastModified likes "
    "private resourceGroup sha siblings tags trendingScore usedStorage xetEnabled"
).split()
_MODEL = (
    "baseModels childrenModelCount config evalResults gguf inference inferenceProviderMapping "
    "library_name mask_token model-index pipeline_tag safetensors spaces transformersInfo "
    "widgetData"
).split()
EXPANDS: dict[RepoType, frozenset[str]] = {
    "model": frozenset([*_COMMON, *_MODEL]),
    "dataset": frozenset([*_COMMON, "citation", "description", "mainSize", "paperswithcode_id"]),
    "kernel": frozenset(_COMMON),
    "bucket": frozenset(_COMMON),
    "space": frozenset([*_COMMON, "datasets", "models", "region", "runtime", "sdk", "subdomain"]),
}
_DEFAULT_INFO = frozenset(
    (
        "author cardData config createdAt description disabled downloads gated gguf lastModified "
        "library_name likes mask_token model-index pipeline_tag private safetensors sdk sha "
        "siblings spaces tags transformersInfo usedStorage widgetData"
    ).split()
)
_DEFAULT_LIST = frozenset(
    (
        "author createdAt downloads library_name likes pipeline_tag private tags sdk "
        "lastModified gated disabled description"
    ).split()
)
_FULL_LIST = _DEFAULT_LIST | {"sha", "siblings"}


def check_expand(type: RepoType, asked: Sequence[str]) -> frozenset[str]:
    """The fields asked for, or BadRequest naming those there are."""
    legal = EXPANDS[type]
    for field in asked:
        if field not in legal:
            names = "|".join(f'"{name}"' for name in sorted(legal))
            raise BadRequest(f'"expand" must be one of or a list of: expected one of {names}')
    return frozenset(asked)


def info_fields(type: RepoType, expand: Sequence[str]) -> frozenset[str]:
    return check_expand(type, expand) if expand else _DEFAULT_INFO


def list_fields(
    type: RepoType, expand: Sequence[str], *, full: bool, card: bool, config: bool
) -> frozenset[str]:
    if expand:
        return check_expand(type, expand)
    fields = _FULL_LIST if full else _DEFAULT_LIST
    return fields | ({"cardData"} if card else set()) | ({"config"} if config else set())


class Describe:
    """Makes the JSON of one repo from what the catalog knows."""

    def __init__(self, catalog: Catalog, labelling: Labelling) -> None:
        self.catalog = catalog
        self.labelling = labelling

    def __call__(
        self,
        listed: Listed,
        fields: frozenset[str],
        *,
        actor: Actor = ANONYMOUS,
        first_look: bool = False,
        security: bool = False,
        revision: Revision | None = None,
        blobs: bool = False,
        masked: bool = False,
    ) -> dict[str, Any]:
        """`revision` (default main) is where sha and siblings come from; `blobs` adds sizes, and
        the SHA-256 of large files unless it is `masked`; `security` what was found in the files.
        `first_look`: weights that nobody looked at yet are looked at now; a listing does not wait.
        """
        repo = listed.repo
        body: dict[str, Any] = {"_id": repo.hub_id, "id": repo.full}
        if repo.type == "model":
            body["modelId"] = repo.full
        for field, make in _makers(repo.type, fields):
            value = make(listed)
            if value is not _ABSENT:
                body[field] = value
        whole = first_look and not masked
        if "config" in body and not whole:
            body["config"] = _short_config(repo.config)
        if "sha" in fields:
            body["sha"] = revision.commit if revision else listed.head
        if "usedStorage" in fields:
            body["usedStorage"] = self.catalog.repos.used_bytes([repo])[repo.id]
        if "siblings" in fields or security:
            entries = self._entries(listed, revision)
            if "siblings" in fields:
                body["siblings"] = [_sibling(entry, blobs, masked) for entry in entries]
            if security:
                body["securityRepoStatus"] = self._security(listed, entries)
        if repo.type == "model":
            self._add_lineage(body, actor, listed, fields)
            if fields & {"safetensors", "gguf"}:
                weighed = self._weights(listed, revision, first_look)
                _add_weights(body, weighed, fields, whole=whole)
        return body

    def _security(self, listed: Listed, entries: list[Entry]) -> dict[str, Any]:
        looked = entries[:FILES_MAX]
        verdicts = self.labelling.verdicts(listed.repo, looked)
        return repo_status(looked, verdicts, whole=len(looked) == len(entries))

    def _weights(
        self, listed: Listed, revision: Revision | None, first_look: bool
    ) -> Weighed | None:
        """Of main from beside the repo; at another revision, from the labels of its files."""
        if revision is not None and revision.commit != listed.head:
            return self.labelling.weights(listed.repo, self._entries(listed, revision))
        if first_look and listed.head is not None:
            return self.labelling.look(listed.repo, listed.head)
        return msgspec.json.decode(listed.repo.weights, type=Weighed)

    def _add_lineage(
        self, body: dict[str, Any], actor: Actor, listed: Listed, fields: frozenset[str]
    ) -> None:
        if "baseModels" in fields and (bases := self.catalog.bases.of(actor, listed.repo)):
            models = [
                {"id": parent.name, **({"_id": parent.hub_id} if parent.hub_id else {})}
                for parent in bases.parents
            ]
            body["baseModels"] = {"relation": bases.relation, "models": models}
        if "childrenModelCount" in fields:
            body["childrenModelCount"] = self.catalog.bases.children(actor, listed.repo)

    def _entries(self, listed: Listed, revision: Revision | None) -> list[Entry]:
        """The files of the revision, `main` when none is given."""
        if revision is None:
            if listed.head is None:
                return []
            revision = self.catalog.refs.resolve(listed.repo, listed.head)
        entries = self.catalog.files.list(
            listed.repo, revision.tree, recursive=True, limit=SIBLINGS_MAX
        )
        return [entry for entry in entries if entry.kind == "file"]


def _sibling(entry: Entry, blobs: bool, masked: bool) -> dict[str, Any]:
    if not blobs:
        return {"rfilename": entry.path}
    body: dict[str, Any] = {
        "rfilename": entry.path,
        "size": entry.size_bytes,
        "blobId": entry.oid,
    }
    if entry.lfs:
        body["lfs"] = {
            "sha256": MASKED_OID if masked else entry.lfs.oid,
            "size": entry.lfs.size_bytes,
            "pointerSize": entry.lfs.pointer_bytes,
        }
    return body


_ABSENT = object()


def _card(listed: Listed) -> Any:
    return msgspec.Raw(listed.repo.card.encode())


def _from_card(key: str) -> Callable[[Listed], Any]:
    def make(listed: Listed) -> Any:
        if f'"{key}"' not in listed.repo.card:
            return _ABSENT
        return msgspec.json.decode(listed.repo.card).get(key, _ABSENT)

    return make


def _or_absent(field: str) -> Callable[[Listed], Any]:
    def make(listed: Listed) -> Any:
        value = getattr(listed.repo, field)
        return _ABSENT if value is None else value

    return make


def _short_config(text: str) -> Any:
    """Without the chat template: it is content, and too long for a listing."""
    if '"chat_template"' not in text:
        return msgspec.Raw(text.encode())
    config = msgspec.json.decode(text)
    config.get("tokenizer_config", {}).pop("chat_template", None)
    return config


def _transformers_info(listed: Listed) -> Any:
    """Which class loads the model, as far as its config tells."""
    repo = listed.repo
    if repo.library_name != "transformers":
        return _ABSENT
    config = msgspec.json.decode(repo.config)
    auto_model, processor = auto_model_of(config) or ("AutoModel", None)
    body = {"auto_model": auto_model}
    auto_map = config.get("auto_map")
    custom = auto_map.get(auto_model) if isinstance(auto_map, dict) else None
    if isinstance(custom, str):
        body["custom_class"] = custom
    if repo.pipeline_tag:
        body["pipeline_tag"] = repo.pipeline_tag
    if processor:
        body["processor"] = processor
    return body


def _mask_token(listed: Listed) -> Any:
    if '"mask_token"' not in listed.repo.config:
        return _ABSENT
    config = msgspec.json.decode(listed.repo.config)
    return config.get("tokenizer_config", {}).get("mask_token", _ABSENT)


def _widget(listed: Listed) -> Any:
    """The examples of a card, in the form of info replies: a list of inputs."""
    value = _from_card("widget")(listed)
    return value if isinstance(value, list) else _ABSENT


def _add_weights(
    body: dict[str, Any], weighed: Weighed | None, fields: frozenset[str], *, whole: bool
) -> None:
    """`whole`: with the chat template, which is content and too long for a listing."""
    if weighed is None:
        return
    if weighed.safetensors and "safetensors" in fields:
        body["safetensors"] = weighed.safetensors
    if weighed.gguf and "gguf" in fields:
        hidden = () if whole else ("chat_template",)
        body["gguf"] = {k: v for k, v in weighed.gguf.items() if k not in hidden}


_MAKERS: dict[str, Callable[[Listed], Any]] = {
    "author": lambda listed: listed.repo.namespace,
    "cardData": _card,
    "config": lambda listed: msgspec.Raw(listed.repo.config.encode()),
    "createdAt": lambda listed: iso(listed.repo.created_ms),
    "lastModified": lambda listed: iso(listed.repo.updated_ms),
    "disabled": lambda listed: listed.repo.disabled,
    "private": lambda listed: listed.repo.private,
    "gated": lambda listed: listed.repo.gated or False,
    "downloads": lambda listed: listed.repo.downloads,
    "downloadsAllTime": lambda listed: listed.repo.downloads_all,
    "likes": lambda listed: listed.repo.likes,
    "trendingScore": lambda listed: listed.repo.trending,
    "tags": lambda listed: listed.tags,
    "library_name": _or_absent("library_name"),
    "pipeline_tag": _or_absent("pipeline_tag"),
    "sdk": _or_absent("sdk"),
    "model-index": _from_card("model-index"),
    "description": _from_card("description"),
    "models": _from_card("models"),
    "datasets": _from_card("datasets"),
    "transformersInfo": _transformers_info,
    "mask_token": _mask_token,
    "widgetData": _widget,
    "citation": _from_card("citation"),
    "paperswithcode_id": _from_card("paperswithcode_id"),
    "region": lambda _: REGION.removeprefix("region:"),
    "xetEnabled": lambda _: True,
}


@lru_cache(256)  # a listing asks a thousand times with the same fields
def _makers(
    type: RepoType, fields: frozenset[str]
) -> tuple[tuple[str, Callable[[Listed], Any]], ...]:
    """What makes the wanted fields that are legal for this type, by name."""
    return tuple((f, _MAKERS[f]) for f in sorted(fields & EXPANDS[type]) if f in _MAKERS)
