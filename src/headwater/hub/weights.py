"""What weight files say of a model: parameters by dtype, or what a GGUF's header tells.

    weigh(entries, verdicts) -> Weighed(safetensors, gguf)

Made from the labels of the files, so nothing is read here. A file that is not valid counts for
nothing. Of several GGUF files, which are usually one model in several sizes, the largest speaks;
the parts of a split one (`…-00001-of-00003.gguf`) are added up.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from headwater.catalog.models import Entry
from headwater.formats.inspection import Verdict

_SPLIT = re.compile(r"-\d{5}-of-\d{5}\.gguf\Z", re.IGNORECASE)
_GGUF_FIELDS = ("architecture", "context_length", "chat_template", "file_type")


class Weighed(msgspec.Struct, frozen=True, omit_defaults=True):
    """Both in the form that info replies have."""

    safetensors: dict[str, Any] | None = None
    gguf: dict[str, Any] | None = None

    @property
    def parameters(self) -> int | None:
        for summary in (self.safetensors, self.gguf):
            if summary:
                return int(summary["total"])
        return None


def is_weight(entry: Entry) -> bool:
    gone = entry.lfs is not None and entry.lfs.gone
    return (
        entry.kind == "file" and not gone and entry.path.lower().endswith((".safetensors", ".gguf"))
    )


def weigh(entries: Sequence[Entry], verdicts: Mapping[str, Verdict]) -> Weighed:
    """The sums over those of `entries` that have a verdict."""
    dtypes: Counter[str] = Counter()
    ggufs: dict[str, list[Entry]] = {}
    shards = 0
    for entry in entries:
        verdict = verdicts.get(entry.etag)
        if verdict is None or not verdict.summary:
            continue
        if verdict.kind == "safetensors":
            dtypes.update(verdict.summary["parameters"])
            shards += 1
        elif verdict.kind == "gguf":
            ggufs.setdefault(_SPLIT.sub("", entry.path), []).append(entry)
    safetensors = None
    if dtypes:
        parameters = dict(sorted(dtypes.items()))
        total = sum(parameters.values())
        safetensors = {"parameters": parameters, "total": total, "sharded": shards > 1}
    return Weighed(safetensors, _gguf(list(ggufs.values()), verdicts))


def _gguf(groups: list[list[Entry]], verdicts: Mapping[str, Verdict]) -> dict[str, Any] | None:
    if not groups:
        return None

    def total(group: list[Entry]) -> int:
        return sum(int(verdicts[entry.etag].summary["total"]) for entry in group)

    def size(group: list[Entry]) -> int:
        return sum(entry.size_bytes for entry in group)

    best = max(groups, key=lambda group: (total(group), size(group)))
    summary: dict[str, Any] = {"total": total(best), "totalFileSize": size(best)}
    for name in _GGUF_FIELDS:
        values = [verdicts[entry.etag].summary.get(name) for entry in best]
        value = next((v for v in values if v is not None), None)
        if value is not None:
            summary[name] = value
    return summary
