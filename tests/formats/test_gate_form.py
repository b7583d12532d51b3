"""The form of a card: whatever the card says, it is read; whatever is answered, it is checked."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import BadRequest
from headwater.formats.gate_form import FIELDS_MAX, OPTIONS_MAX, Field, GateForm, read_form

JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=15,
)


@given(st.dictionaries(st.sampled_from(["extra_gated_fields", "extra_gated_prompt", "x"]), JSON))
def test_any_card_is_read(card: dict[str, Any]) -> None:
    form = read_form(card)
    assert isinstance(form.prompt, str)
    names = [field.name for field in form.fields]
    assert len(names) == len(set(names)) <= FIELDS_MAX


@given(JSON, st.dictionaries(st.text(max_size=8), JSON))
def test_any_answer_is_checked(asked: Any, answers: dict[str, Any]) -> None:
    """What is kept has exactly the fields that were asked, as text or a tick."""
    form = read_form({"extra_gated_fields": asked})
    try:
        kept = form.check(answers)
    except BadRequest:
        return
    assert list(kept) == [field.name for field in form.fields]
    assert all(isinstance(value, str) or value is True for value in kept.values())


def test_the_kinds_of_fields() -> None:
    form = read_form(
        {
            "extra_gated_heading": "H",
            "extra_gated_button_content": "B",
            "extra_gated_fields": {
                "Name": "text",
                "Home": "country",
                "Day": "date_picker",
                "Why": {"type": "select", "options": ["A", {"label": "Bee", "value": "b"}, 3]},
                "Where": "ip_location",  # nobody is looked up
                "New": "something_new",
                "Broken": {"type": "select"},
                "Odd": ["x"],
                " ": "text",
                "I agree": "checkbox",
            },
        }
    )
    assert (form.heading, form.button, form.prompt) == ("H", "B", "")
    assert form.fields == (
        Field("Name", "text"),
        Field("Home", "country"),
        Field("Day", "date_picker"),
        Field("Why", "select", (("A", "A"), ("b", "Bee"), ("3", "3"))),
        Field("New", "text"),
        Field("Broken", "text"),
        Field("Odd", "text"),
        Field("I agree", "checkbox"),
    )


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (
            "text",
            ["x", " a\nb ", "ü 模型"],
            ["", " ", None, 3, True, "x" * 2001, "a\0b", "\x1b[2J"],
        ),
        ("checkbox", [True, "on", "TRUE", "1", "yes"], [False, "off", "", None, 1, "no"]),
        ("date_picker", ["2026-01-31"], ["2026-02-30", "31.01.2026", "20260131", "2026-W01-1"]),
        ("country", ["France", "FR", "Côte d'Ivoire"], ["", "x" * 81, "<b>", "F1", "a\nb"]),
    ],
)
def test_answers_of_each_kind(kind: str, good: list[object], bad: list[object]) -> None:
    form = GateForm(fields=(Field("f", kind),))
    for answer in good:
        kept = form.check({"f": answer})["f"]
        assert kept is True if kind == "checkbox" else kept == str(answer).strip()
    for answer in bad:
        with pytest.raises(BadRequest, match=r"field|box"):
            form.check({"f": answer})


def test_a_form_has_bounds() -> None:
    many = {f"f{n}": {"type": "select", "options": list(range(1000))} for n in range(200)}
    form = read_form({"extra_gated_fields": many})
    assert len(form.fields) == FIELDS_MAX
    assert {len(field.options) for field in form.fields} == {OPTIONS_MAX}
