"""Journals of the vmnets before this one: read, with what came later at its default. Of any other: refused."""

from __future__ import annotations

import json
from dataclasses import MISSING, replace
from pathlib import Path
from typing import Any

import pytest

from vmnet.model.codec import encode
from vmnet.saved import schema
from vmnet.saved.schema import SCHEMA, Here, Journal, UnknownSchemaError, understand

KEPT = Path(__file__).parents[2] / "data" / "journals"
HERE = Here(4182, "5b0f0d0e-7a53-4c1c-9c6e-2f2f8d1a7b64")
OLDER = range(max(1, SCHEMA - 3), SCHEMA)


def _kept(number: int) -> dict[str, Any]:
    """Give a journal as a vmnet of that schema wrote it."""
    return dict(json.loads((KEPT / f"schema-{number}.json").read_text(encoding="ascii")))


def _without_news(today: Any, old: Any) -> Any:  # noqa: ANN401 # JSON is of any type
    """Leave out of a journal what an older one does not have."""
    if isinstance(today, list) and isinstance(old, list):
        return [_without_news(*both) for both in zip(today, old, strict=True)]
    if not isinstance(today, dict) or not isinstance(old, dict):
        return today
    return {name: _without_news(today[name], old[name]) for name in old}


def _understood(journal: dict[str, Any]) -> Journal:
    understood = understand(json.dumps(journal), HERE)
    assert understood is not None
    return understood


def test_the_three_before_this_one_are_read() -> None:
    assert tuple(schema._ADDED) == tuple(OLDER)


@pytest.mark.parametrize("number", OLDER)
def test_a_journal_of_an_older_vmnet_says_what_it_said_and_defaults_for_the_rest(number: int) -> None:
    old = _kept(number)
    assert old["schema"] == number
    today = _understood(old)
    again = json.loads(encode(today))
    assert again["schema"] == SCHEMA
    assert _without_news(again, old) == {**old, "schema": SCHEMA}
    assert understand(encode(today), HERE) == today


@pytest.mark.parametrize("number", OLDER)
def test_what_a_later_schema_adds_has_a_default(number: int) -> None:
    for part, name in schema._ADDED[number]:
        assert schema._PARTS[part].__dataclass_fields__[name].default is not MISSING


@pytest.fixture
def lately_added(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Let two more fields have come with schema 2; give a journal of schema 1 without them."""
    added = (*schema._ADDED[1], ("settings", "multi_queue"), ("lease", "warnings"))
    monkeypatch.setattr(schema, "_ADDED", {**schema._ADDED, 1: added})
    old = _kept(1)
    del old["settings"]["multi_queue"], old["lease"]["warnings"]
    return old


def test_a_field_that_came_later_gets_its_default(lately_added: dict[str, Any]) -> None:
    today = _understood(lately_added)
    assert (today.settings.multi_queue, today.leases.warnings) == (False, ())


@pytest.mark.parametrize(
    ("part", "change", "says"),
    [
        ("settings", {"multi_queue": True}, "settings.multi_queue should not be there yet"),
        ("settings", {"unknown": 1}, "should not have: unknown"),
        ("pod", {"unknown": 1}, "should not have: unknown"),
        ("lease", {"yiaddr": 5}, r"Journal\.lease\.yiaddr is int"),
        ("pod", {"routes": [{"lifetime": 7}]}, "pod.routes.lifetime should not be there yet"),
        ("pod", {"routes": [[{}]]}, r"Journal\.pod\.routes\[0\] is list"),
        ("pod", {"routes": [7]}, r"Journal\.pod\.routes\[0\] is int"),
    ],
)
def test_all_else_is_as_strict_as_today(
    part: str, change: dict[str, object], says: str, lately_added: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=says):
        _understood({**lately_added, part: {**lately_added[part], **change}})


@pytest.mark.parametrize("part", ["pod", "settings", "lease"])
@pytest.mark.parametrize("value", [None, [], "", 0])
def test_a_part_that_is_none_is_refused(part: str, value: object, lately_added: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"Journal\.{part} is \w+, not an object"):
        _understood({**lately_added, part: value})


def test_an_older_journal_may_not_lack_more_than_came_later(lately_added: dict[str, Any]) -> None:
    del lately_added["settings"]["tap"]
    with pytest.raises(ValueError, match="lacks or should not have: tap"):
        _understood(lately_added)


@pytest.mark.parametrize("number", [SCHEMA + 1, SCHEMA + 2, min(OLDER) - 1, -1, 2**60])
def test_any_other_schema_is_said_and_refused(number: int) -> None:
    with pytest.raises(UnknownSchemaError, match=f"it has schema {number}, this vmnet reads 1 to {SCHEMA}"):
        _understood({**_kept(1), "schema": number, "more": 1})


@pytest.mark.parametrize("number", [None, True, "1", 1.0, [1]])
def test_a_schema_that_is_no_number_is_refused(number: object) -> None:
    with pytest.raises(ValueError, match=r"Journal\.schema is \w+, not int"):
        _understood({**_kept(1), "lease6": None, "schema": number})


def test_what_it_says_of_another_boot_or_namespace() -> None:
    old = json.dumps(_kept(1))
    assert understand(old, replace(HERE, boot_id="another")) is None
    with pytest.raises(ValueError, match="it is of another network namespace"):
        understand(old, replace(HERE, netns_cookie=1))
