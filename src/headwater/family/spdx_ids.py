"""Licenses: what Hugging Face calls them on cards, and what the SPDX License List does.

    license_of("apache-2.0") -> License("Apache-2.0", listed=True)
    license_of("llama3.1")   -> License("llama3.1", listed=False)       no SPDX id: it goes by name
    license_of("other", "my-terms") -> License("my-terms", listed=False)
    license_of("unknown"), license_of(None) -> None                     nothing is known

A family (gpl, lgpl, gfdl, bsd, cc, openrail) has no id: the card leaves open which member is meant.
"""

from __future__ import annotations

from dataclasses import dataclass

OTHER = "other"  # its name stands in the card's license_name
UNKNOWN = "unknown"

# Those whose id differs in more than its capitals, and why.
_RENAMED = {
    # SPDX deprecated the bare ids; by its list they mean this version only, and no card says more.
    "agpl-3.0": "AGPL-3.0-only",
    "gpl-2.0": "GPL-2.0-only",
    "gpl-3.0": "GPL-3.0-only",
    "lgpl-2.1": "LGPL-2.1-only",
    "lgpl-3.0": "LGPL-3.0-only",
    # Called without a version, of which there is one each.
    "c-uda": "C-UDA-1.0",
    "odbl": "ODbL-1.0",
    "odc-by": "ODC-By-1.0",
    "pddl": "PDDL-1.0",
    "lgpl-lr": "LGPLLR",
}
# `bsl-1.0` is Boost's with both; the Business Source License is BUSL-1.1 to SPDX, no id of a card.
_CAPITALS = (
    "AFL-3.0 Apache-2.0 Artistic-2.0 BSD-2-Clause BSD-3-Clause BSD-3-Clause-Clear BSL-1.0 CC0-1.0 "
    "CC-BY-2.0 CC-BY-2.5 CC-BY-3.0 CC-BY-4.0 CC-BY-SA-3.0 CC-BY-SA-4.0 CC-BY-NC-2.0 CC-BY-NC-3.0 "
    "CC-BY-NC-4.0 CC-BY-ND-4.0 CC-BY-NC-ND-3.0 CC-BY-NC-ND-4.0 CC-BY-NC-SA-2.0 CC-BY-NC-SA-3.0 "
    "CC-BY-NC-SA-4.0 CDLA-Permissive-1.0 CDLA-Permissive-2.0 CDLA-Sharing-1.0 ECL-2.0 EPL-1.0 "
    "EPL-2.0 EUPL-1.1 EUPL-1.2 ISC LPPL-1.3c MIT MPL-2.0 MS-PL NCSA OFL-1.1 OSL-3.0 OpenMDW-1.0 "
    "PostgreSQL Unlicense WTFPL Zlib etalab-2.0"
).split()
SPDX_IDS = {**{one.lower(): one for one in _CAPITALS}, **_RENAMED}


@dataclass(frozen=True, slots=True)
class License:
    name: str  # an id of the SPDX License List, if `listed`
    listed: bool


def license_of(identifier: str | None, name: str | None = None) -> License | None:
    """What a card declares with `license` and `license_name`; None where that is nothing."""
    if not identifier or identifier == UNKNOWN:
        return None
    if identifier in SPDX_IDS:
        return License(SPDX_IDS[identifier], listed=True)
    return License((identifier == OTHER and name) or identifier, listed=False)
