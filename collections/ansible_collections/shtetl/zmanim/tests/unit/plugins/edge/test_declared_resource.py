# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.shtetl.zmanim.plugins.module_utils import declared_resource as engine
from botocore.exceptions import ClientError, EndpointConnectionError


class Shelf(engine.DeclaredResource):
    """A resource in memory that writes down what is done to it."""

    def __init__(self, module: Any, stored: Any = None) -> None:
        super().__init__(module)
        self.stored = stored
        self.done: list[str] = []

    def current(self) -> Any:
        return self.stored

    def desired(self, current: Any) -> Any:
        return engine.overlay(current, self.params["wanted"])

    def create(self, desired: Any) -> None:
        self.done.append("create")

    def update(self, current: Any, desired: Any) -> None:
        self.done.append("update")

    def delete(self, current: Any) -> None:
        self.done.append("delete")


@pytest.mark.parametrize(
    ("stored", "wanted", "state", "done"),
    [
        (None, {"a": 1}, "present", "create"),
        ({"a": 1}, {"a": 1}, "present", None),
        ({"a": 1}, {"a": None}, "present", None),
        ({"a": 1}, {"a": 2}, "present", "update"),
        ({"a": 1}, {"b": 2}, "present", "update"),
        ({"a": 1}, {"a": 1}, "absent", "delete"),
        (None, {"a": 1}, "absent", None),
    ],
)
def test_the_difference_decides(fake_module: Any, stored: Any, wanted: Any, state: str, done: Any) -> None:
    for check_mode in (True, False):
        shelf = Shelf(fake_module(wanted=wanted), stored)
        answer = engine.reconcile(shelf, state, check_mode)
        assert answer["changed"] is (done is not None)
        assert (answer["diff"]["before"] != answer["diff"]["after"]) is answer["changed"]
        assert shelf.done == ([done] if done and not check_mode else [])


def client_error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "told so"}}, "DoIt")


def raising(*errors: Any) -> Any:
    waiting = list(errors)

    def method(**_: Any) -> str:
        if waiting:
            raise waiting.pop(0)
        return "done"

    return method


def test_call_names_the_action_and_the_code() -> None:
    with pytest.raises(engine.DeclaredResourceError) as caught:
        engine.call("make tea", raising(client_error("AccessDeniedException")))
    assert caught.value.code == "AccessDeniedException"
    assert caught.value.message.startswith("could not make tea: ")


def test_call_takes_a_missing_thing_for_none() -> None:
    assert engine.call("read", raising(client_error("NotFound")), missing=("NotFound",)) is None


def test_call_repeats_transient_answers_with_back_off() -> None:
    pauses: list[float] = []
    errors = [client_error("TooManyRequestsException")] * 3
    assert engine.call("read", raising(*errors), pause=pauses.append) == "done"
    assert pauses == [1.0, 2.0, 4.0]


def test_call_gives_up_after_its_attempts() -> None:
    pauses: list[float] = []
    errors = [client_error("Throttling")] * 10
    with pytest.raises(engine.DeclaredResourceError) as caught:
        engine.call("read", raising(*errors), pause=pauses.append)
    assert caught.value.code == "Throttling"
    assert len(pauses) == engine.ATTEMPTS - 1


def test_call_speaks_of_an_unreachable_endpoint() -> None:
    with pytest.raises(engine.DeclaredResourceError, match=r"could not read: .*https://nowhere"):
        engine.call("read", raising(EndpointConnectionError(endpoint_url="https://nowhere")))


def test_pages_follow_the_token() -> None:
    answers = {None: {"Items": [1, 2], "NextToken": "t"}, "t": {"Items": [3]}}

    def method(NextToken: Any = None) -> Any:
        return answers[NextToken]

    assert list(engine.pages("list", method, lambda page: page["Items"])) == [1, 2, 3]


def test_a_wait_ends_when_its_condition_holds_or_its_deadline_passes() -> None:
    now = [0.0]

    def pause(seconds: float) -> None:
        now[0] += seconds

    arguments: Any = {"clock": lambda: now[0], "pause": pause, "interval": 2.0, "deadline": 10.0}
    assert engine.wait_until("it", lambda: now[0], lambda seen: seen >= 6, **arguments) == 6
    with pytest.raises(
        engine.DeadlineExceeded, match=r"it was not reached within 10 s; last seen: 'pending'"
    ):
        engine.wait_until("it", lambda: "pending", lambda _seen: False, **arguments)


@pytest.mark.parametrize(
    ("current", "wanted", "purge", "expected"),
    [
        ({"a": "1"}, None, True, {"a": "1"}),
        ({"a": "1"}, {}, True, {}),
        ({"a": "1", "aws:stack": "s"}, {}, True, {"aws:stack": "s"}),
        ({"a": "1"}, {"b": 2}, True, {"b": "2"}),
        ({"a": "1"}, {"b": 2}, False, {"a": "1", "b": "2"}),
        (None, {"b": "2"}, True, {"b": "2"}),
    ],
)
def test_tags(current: Any, wanted: Any, purge: bool, expected: Any) -> None:
    desired = engine.desired_tags(current, wanted, purge)
    assert desired == expected
    to_set, to_remove = engine.tag_changes(current or {}, desired)
    after = {key: value for key, value in (current or {}).items() if key not in to_remove}
    assert {**after, **to_set} == expected


def test_secrets_are_hidden_in_both_states_and_a_difference_is_told() -> None:
    before, after = {"a": {"key": "old", "same": "x"}}, {"a": {"key": "new", "same": "x"}}
    for key in ("key", "same", "none"):
        engine.conceal(before, after, ("a", key))
    assert before == {"a": {"key": "(hidden, differs)", "same": "(hidden)"}}
    assert after == {"a": {"key": "(hidden, declared)", "same": "(hidden)"}}
