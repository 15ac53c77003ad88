# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lane reads from a playbook's output, without a production."""

from __future__ import annotations

import pytest

from tests.living.production import Production, verdict

FIRST = 'fatal: [localhost]: FAILED! => {"changed": false, "msg": "the volume is full"}\n'
LAST = 'fatal: [localhost]: FAILED! => {"msg": "Release 2.0.0 did not happen: the volume is full"}\n'
ITEM = 'failed: [localhost] (item=zmanim_env) => {"item": "zmanim_env", "msg": "zmanim_env is missing"}\n'
ITEMS = 'fatal: [localhost]: FAILED! => {"msg": "One or more items failed", "results": []}\n'


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (FIRST, "the volume is full"),
        (FIRST + LAST, "Release 2.0.0 did not happen: the volume is full"),
        (ITEM + ITEMS, "zmanim_env is missing"),
    ],
)
def test_the_verdict_is_the_last_message_that_says_something(output: str, message: str) -> None:
    assert verdict(f"PLAY [x]\n{output}PLAY RECAP\n") == message


@pytest.mark.parametrize(
    ("output", "word"),
    [(FIRST, "found 0 MiB free"), (f"Traceback (most recent call last):\n{FIRST}", "full"), ("ok", "full")],
    ids=["a word is missing", "a traceback is shown", "nothing failed"],
)
def test_what_is_no_clear_refusal_is_found(output: str, word: str) -> None:
    with pytest.raises(AssertionError):
        Production.refusal(output, word)
