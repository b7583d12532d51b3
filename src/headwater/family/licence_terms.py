"""The licences that models are published under, and what each asks of whoever passes one on.

    TERMS      identifiers of the Hugging Face hub
    NAMED      names that cards give with `license: other`
    SHARED_AS  under which other licences a share-alike licence lets a changed work be passed on

After the licences' own texts, by their identifiers at SPDX (spdx.org/licenses) where they have
one; the section that decides is named where it is not obvious. Not read again for this table:
h-research, intel-research, grok2-community, c-uda and those of NAMED. Families (`bsd`, `gpl`) have
what all of their members ask. What no two readers agree on is left out: whether training is a
derivation at all, and whether the limits on a data licence reach the model.
"""

from __future__ import annotations

from collections.abc import Iterable

ATTRIBUTION = "attribution"  # keep the notices, say whose it is
SHARE_ALIKE = "share alike"  # pass changed ones on under the same licence (copyleft)
NON_COMMERCIAL = "non-commercial"
NO_DERIVATIVES = "no derivatives"
USE_RESTRICTIONS = "use restrictions"  # forbidden uses, to be passed on
OWN_TERMS = "own terms"  # a contract of one publisher, whose text goes with every copy
NAME_PREFIX = "name prefix"  # the name of what is made from it begins with the publisher's word
RESEARCH_ONLY = "research only"
WORDS = (
    NO_DERIVATIVES, RESEARCH_ONLY, NON_COMMERCIAL, USE_RESTRICTIONS, SHARE_ALIKE, OWN_TERMS,
    NAME_PREFIX, ATTRIBUTION,
)  # fmt: skip

_Terms = dict[str, frozenset[str]]


def _each(identifiers: str, *words: str) -> _Terms:
    return dict.fromkeys(identifiers.split(), frozenset(words))


def _all(tables: Iterable[_Terms]) -> _Terms:
    found: _Terms = {}
    for table in tables:
        assert not found.keys() & table.keys(), "a licence has one meaning"
        found |= table
    return found


_RESEARCH = (ATTRIBUTION, NON_COMMERCIAL, RESEARCH_ONLY, OWN_TERMS)

TERMS: _Terms = _all([
    # Public domain, or as good as that: nothing to keep.
    _each("cc0-1.0 pddl unlicense wtfpl"),
    # Notices. MS-PL and OFL are not here: they keep their own licence. apple-ascl: the notice
    # goes with unmodified copies. lppl-1.3c 6: changes are told, the licence may be another.
    # artistic-2.0 4(c): the same freedom for the changed version is enough.
    _each("apache-2.0 mit afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause "
          "bsd-3-clause-clear ecl-2.0 isc lppl-1.3c ncsa postgresql zlib apple-ascl openmdw-1.0",
          ATTRIBUTION),
    _each("cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cdla-permissive-1.0 cdla-permissive-2.0 "
          "etalab-2.0 odc-by", ATTRIBUTION),
    # Copyleft, strong and weak: a changed file of weights is the work itself under either.
    # ms-pl 3(D), ofl-1.1 5, cdla-sharing-1.0 3.1, eupl 5, odbl 4.4.
    _each("agpl-3.0 gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 lgpl-lr gfdl mpl-2.0 epl-1.0 "
          "epl-2.0 eupl-1.1 eupl-1.2 osl-3.0 ms-pl ofl-1.1 cc-by-sa-3.0 cc-by-sa-4.0 "
          "cdla-sharing-1.0 odbl", ATTRIBUTION, SHARE_ALIKE),
    _each("cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0", ATTRIBUTION, NON_COMMERCIAL),
    _each("cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0",
          ATTRIBUTION, NON_COMMERCIAL, SHARE_ALIKE),
    _each("cc-by-nd-4.0", ATTRIBUTION, NO_DERIVATIVES),
    _each("cc-by-nc-nd-3.0 cc-by-nc-nd-4.0", ATTRIBUTION, NON_COMMERCIAL, NO_DERIVATIVES),
    # RAIL: derivatives may have other terms as long as these uses stay forbidden (section 4a, 5).
    _each("openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 "
          "bigcode-openrail-m openrail++", ATTRIBUTION, USE_RESTRICTIONS),
    # Computational use only, and whoever gets the data gets this agreement.
    _each("c-uda", ATTRIBUTION, USE_RESTRICTIONS, OWN_TERMS),
    # Llama 1.b: the agreement and a notice with every copy, and the acceptable use policy. From
    # Llama 3 on the name of a derivative begins with it. Each version is a contract of its own.
    _each("llama2", ATTRIBUTION, USE_RESTRICTIONS, OWN_TERMS),
    _each("llama3 llama3.1 llama3.2 llama3.3 llama4",
          ATTRIBUTION, USE_RESTRICTIONS, OWN_TERMS, NAME_PREFIX),
    # Gemma 3.1: its terms and its prohibited uses, in an agreement that binds the receiver.
    _each("gemma grok2-community", ATTRIBUTION, USE_RESTRICTIONS, OWN_TERMS),
    _each("apple-amlr h-research intel-research", *_RESEARCH),
    _each("deepfloyd-if-license fair-noncommercial-research-license",
          *_RESEARCH, USE_RESTRICTIONS),
])  # fmt: skip

# On purpose in no table: `cc` may be any of seven, `unknown` and `other` say nothing.
UNCLEAR = frozenset({"cc", "unknown", "other"})

NAMED: _Terms = _all([
    _each("tongyi-qianwen qwen", ATTRIBUTION, OWN_TERMS),
    _each("tongyi-qianwen-research qwen-research mrl mnpl", *_RESEARCH),
    _each("flux-1-dev-non-commercial-license",
          ATTRIBUTION, NON_COMMERCIAL, USE_RESTRICTIONS, OWN_TERMS),
    _each("stabilityai-ai-community", ATTRIBUTION, USE_RESTRICTIONS, OWN_TERMS),
])  # fmt: skip

_GPL3 = ("gpl", "gpl-3.0", "agpl-3.0")  # who names a family may mean this member of it
SHARED_AS: dict[str, tuple[str, ...]] = {
    "gpl": ("gpl-2.0", "gpl-3.0", "agpl-3.0"),
    "gpl-2.0": ("gpl",),
    "gpl-3.0": _GPL3,  # 13: combined with a work under the AGPL
    "lgpl": ("lgpl-2.1", "lgpl-3.0", "gpl-2.0", *_GPL3),
    "lgpl-2.1": ("lgpl", "gpl-2.0", *_GPL3),  # 3: version 2 of the GPL, or a later one
    "lgpl-3.0": ("lgpl", *_GPL3),
    "mpl-2.0": ("lgpl", "lgpl-2.1", "lgpl-3.0", "gpl-2.0", *_GPL3),  # 1.12, 3.3
    "eupl-1.1": ("eupl-1.2", "gpl-2.0", "osl-3.0", "epl-1.0"),  # 5 and its appendix
    "eupl-1.2": (
        "eupl-1.1", "gpl-2.0", *_GPL3, "osl-3.0", "epl-1.0", "mpl-2.0", "lgpl-2.1", "lgpl-3.0",
        "cc-by-sa-3.0",
    ),
    "cc-by-sa-3.0": ("cc-by-sa-4.0",),  # 4(b): a later version
    "cc-by-sa-4.0": ("gpl-3.0",),  # creativecommons.org/compatiblelicenses, one way
    "cc-by-nc-sa-2.0": ("cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0"),  # 4(b)
    "cc-by-nc-sa-3.0": ("cc-by-nc-sa-4.0",),
}  # fmt: skip
