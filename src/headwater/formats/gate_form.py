"""The form at a gate: what a card asks of those who want in, and whether an answer fits.

    form = read_form(card)         from `extra_gated_…` of the front matter; never raises
    form.check(answers)            the answers as they are kept, or BadRequest naming the field

A field is `Name: kind` or `Name: {type: select, options: […]}`; kinds are Hugging Face's: text,
checkbox, select, date_picker, country. Every field must be filled in and every box ticked, as
there. `ip_location` is not asked: this hub looks nobody up by their address. A kind that nobody
knows is asked as text. What does not make a field is left out: a card is free text.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headwater.errors import BadRequest
from headwater.names import shown

FIELDS_MAX = 50  # of one form; real ones have up to a dozen
NAME_CHARS_MAX = 500  # a checkbox's name is the sentence that is agreed to
OPTIONS_MAX = 300  # a list of countries has 250
ANSWER_CHARS_MAX = 2000
COUNTRY_CHARS_MAX = 80
KINDS = frozenset({"text", "checkbox", "select", "date_picker", "country"})
NOT_ASKED = frozenset({"ip_location"})
TICKED = frozenset({"on", "true", "1", "yes"})


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    kind: str
    options: tuple[tuple[str, str], ...] = ()  # of a select: (value, label)

    def kept(self, answer: object) -> str | bool:
        """The answer as it is kept; BadRequest when it is none."""
        if self.kind == "checkbox":
            if answer is True or (isinstance(answer, str) and answer.lower() in TICKED):
                return True
            raise BadRequest(f"The box {shown(self.name)} must be ticked.")
        if not isinstance(answer, str) or not answer.strip():
            raise BadRequest(f"The field {shown(self.name)} must be filled in.")
        text = answer.strip()
        if (
            len(text) > ANSWER_CHARS_MAX
            or not text.replace("\n", "").replace("\r", "").isprintable()
        ):
            raise BadRequest(
                f"The field {shown(self.name)} takes {ANSWER_CHARS_MAX} printable characters."
            )
        getattr(self, f"_check_{self.kind}", _any)(text)
        return text

    def _check_select(self, text: str) -> None:
        values = [value for value, _ in self.options]
        if text not in values:
            known = ", ".join(shown(value) for value in values[:20])
            raise BadRequest(f"The field {shown(self.name)} is one of {known}.")

    def _check_date_picker(self, text: str) -> None:
        try:
            if datetime.date.fromisoformat(text).isoformat() != text:
                raise ValueError  # another of ISO's spellings
        except ValueError:
            raise BadRequest(f"The field {shown(self.name)} is a date: YYYY-MM-DD.") from None

    def _check_country(self, text: str) -> None:
        if len(text) > COUNTRY_CHARS_MAX or any(c.isdigit() or c in "<>\n\r" for c in text):
            raise BadRequest(f"The field {shown(self.name)} is the name or code of a country.")


def _any(_text: str) -> None:
    """A text is any text."""


@dataclass(frozen=True, slots=True)
class GateForm:
    heading: str = ""
    prompt: str = ""
    description: str = ""
    button: str = ""
    fields: tuple[Field, ...] = ()

    def check(self, answers: Mapping[str, object]) -> dict[str, str | bool]:
        """Exactly the fields that are asked, each as it is kept."""
        known = {field.name for field in self.fields}
        if strange := [name for name in answers if name not in known]:
            asked = ", ".join(shown(name) for name in known) or "none"
            raise BadRequest(f"No field is called {shown(strange[0])}; the fields are: {asked}.")
        return {field.name: field.kept(answers.get(field.name)) for field in self.fields}


def read_form(card: Mapping[str, Any]) -> GateForm:
    """The form of a card's metadata; an empty one asks nothing."""
    asked = card.get("extra_gated_fields")
    found = [] if not isinstance(asked, dict) else [_field(n, spec) for n, spec in asked.items()]
    return GateForm(
        heading=_text(card, "heading"),
        prompt=_text(card, "prompt"),
        description=_text(card, "description"),
        button=_text(card, "button_content"),
        fields=tuple(field for field in found if field is not None)[:FIELDS_MAX],
    )


def _text(card: Mapping[str, Any], what: str) -> str:
    value = card.get(f"extra_gated_{what}")
    return value if isinstance(value, str) else ""


def _field(name: str, spec: Any) -> Field | None:
    kind = spec.get("type") if isinstance(spec, dict) else spec
    if not isinstance(kind, str):
        kind = "text"
    if kind in NOT_ASKED or not name.strip() or len(name) > NAME_CHARS_MAX:
        return None
    if kind not in KINDS:
        return Field(name, "text")
    if kind != "select":
        return Field(name, kind)
    options = _options(spec.get("options") if isinstance(spec, dict) else None)
    return Field(name, kind, options) if options else Field(name, "text")


def _options(listed: Any) -> tuple[tuple[str, str], ...]:
    """`[text, …]` or `[{label, value}, …]`, mixed as one likes."""
    found = []
    for option in listed[:OPTIONS_MAX] if isinstance(listed, list) else ():
        if isinstance(option, dict):
            value, label = option.get("value"), option.get("label", option.get("value"))
        else:
            value = label = option
        if isinstance(value, str | int | float) and str(value).strip():
            found.append((str(value).strip(), str(label)))
    return tuple(found)
