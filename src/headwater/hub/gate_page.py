"""A gate's form, as JSON for programs and as a page for people who followed a message there.

The page shows what is asked and the command that answers it. It has no form of its own: who asks
is said by the Authorization header alone, which a page cannot send.
"""

from __future__ import annotations

import json
import shlex
from html import escape
from typing import Any

from starlette.responses import Response

from headwater.catalog.models import Repo
from headwater.formats.gate_form import Field, GateForm
from headwater.hub.plain_page import plain_page

HEADING = "You need to agree to share your contact information"  # Hugging Face's words
BUTTON = "Ask for access"
_EXAMPLES: dict[str, str | bool] = {
    "checkbox": True, "date_picker": "2026-01-31", "country": "France", "text": "…",
}  # fmt: skip


def form_json(form: GateForm) -> dict[str, Any]:
    """The form for programs."""
    fields: list[dict[str, Any]] = []
    for field in form.fields:
        shown: dict[str, Any] = {"name": field.name, "type": field.kind}
        if field.options:
            shown["options"] = [{"value": value, "label": label} for value, label in field.options]
        fields.append(shown)
    return {
        "heading": form.heading or HEADING,
        "prompt": form.prompt,
        "description": form.description,
        "buttonContent": form.button or BUTTON,
        "shared": ["username", "fullname", "email"],
        "fields": fields,
    }


def form_html(repo: Repo, form: GateForm, url: str) -> Response:
    """The same for people."""
    answers = {field.name: _example(field) for field in form.fields}
    command = (
        'curl -H "Authorization: Bearer $HF_TOKEN" -H "Accept: application/json" '
        "-H 'Content-Type: application/json' "
        f"-d {shlex.quote(json.dumps(answers, ensure_ascii=False))} {shlex.quote(url)}"
    )
    texts = "".join(
        f'<p class="text">{escape(text)}</p>' for text in (form.prompt, form.description) if text
    )
    asked = "".join(
        f"<li>{escape(field.name)} <small>({escape(_kind(field))})</small></li>"
        for field in form.fields
    )
    if not repo.gated:
        return plain_page(repo.full, "<p>This repository is not gated: nothing is asked.</p>")
    return plain_page(
        form.heading or HEADING,
        f"<p>{escape(repo.type.title())} <strong>{escape(repo.full)}</strong></p>{texts}"
        f"<ul>{asked}</ul><p>Its authors see your user name, full name, e-mail address and what "
        "you fill in. To agree and ask, fill in this command and run it, with a token of yours "
        f'that has the role &#x2018;write&#x2019;:</p><pre class="text">{escape(command)}</pre>',
    )


def _example(field: Field) -> str | bool:
    return field.options[0][0] if field.options else _EXAMPLES[field.kind]


def _kind(field: Field) -> str:
    if field.options:
        return "one of: " + ", ".join(value for value, _ in field.options)
    return {"checkbox": "must be true", "date_picker": "a date"}.get(field.kind, field.kind)
