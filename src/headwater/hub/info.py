"""A repo as JSON: what info and listing answer, field by field.

Hugging Face's shapes. With `expand`, only `_id`, `id` and the fields asked for; without, the
default set. A field is made only when it is wanted: some cost a query.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from headwater.catalog.catalog import Catalog
from headwater.catalog.clock import iso
from headwater.catalog.listing import Listed
from headwater.catalog.models import Entry, Revision
from headwater.errors import BadRequest
from headwater.hub.weights import Weights
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
    "space": frozenset([*_COMMON, "datasets", "models", "region", "runtime", "sdk", "subdomain"]),
}
_DEFAULT_INFO = frozenset(
    (
        "author cardData config createdAt disabled downloads gated lastModified library_name "
        "likes model-index pipeline_tag private safetensors sdk sha siblings spaces tags "
        "transformersInfo usedStorage description"
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


def info_fields(type: RepoType, expand: Sequence[str], *, security: bool = False) -> frozenset[str]:
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

    def __init__(self, catalog: Catalog, weights: Weights) -> None:
        self.catalog = catalog
        self.weights = weights

    def __call__(
        self,
        listed: Listed,
        fields: frozenset[str],
        *,
        revision: Revision | None = None,
        blobs: bool = False,
        masked: bool = False,
    ) -> dict[str, Any]:
        """`revision` (default main) is where sha and siblings come from; `blobs` adds sizes, and
        the SHA-256 of large files unless it is `masked`."""
        repo = listed.repo
        body: dict[str, Any] = {"_id": repo.hub_id, "id": repo.full}
        if repo.type == "model":
            body["modelId"] = repo.full
        for field, make in _makers(repo.type, fields):
            value = make(listed)
            if value is not _ABSENT:
                body[field] = value
        if "sha" in fields:
            body["sha"] = revision.commit if revision else listed.head
        if "usedStorage" in fields:
            body["usedStorage"] = self.catalog.repos.used_bytes([repo])[repo.id]
        wants_weights = "safetensors" in fields and "safetensors" in listed.tags
        if "siblings" in fields or wants_weights:
            entries = self._entries(listed, revision)
            if "siblings" in fields:
                body["siblings"] = [_sibling(entry, blobs, masked) for entry in entries]
            if wants_weights and (summary := self.weights.summary(entries)):
                body["safetensors"] = summary
        return body

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


def _transformers_info(listed: Listed) -> Any:
    repo = listed.repo
    if repo.library_name != "transformers":
        return _ABSENT
    return {"auto_model": "AutoModel", "pipeline_tag": repo.pipeline_tag}


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
    "trendingScore": lambda listed: listed.repo.downloads,
    "tags": lambda listed: listed.tags,
    "library_name": _or_absent("library_name"),
    "pipeline_tag": _or_absent("pipeline_tag"),
    "sdk": _or_absent("sdk"),
    "model-index": _from_card("model-index"),
    "description": _from_card("description"),
    "models": _from_card("models"),
    "datasets": _from_card("datasets"),
    "spaces": lambda _: [],
    "transformersInfo": _transformers_info,
    "xetEnabled": lambda _: True,
}


@lru_cache(256)  # a listing asks a thousand times with the same fields
def _makers(
    type: RepoType, fields: frozenset[str]
) -> tuple[tuple[str, Callable[[Listed], Any]], ...]:
    """What makes the wanted fields that are legal for this type, by name."""
    return tuple((f, _MAKERS[f]) for f in sorted(fields & EXPANDS[type]) if f in _MAKERS)
