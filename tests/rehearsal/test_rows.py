# SPDX-License-Identifier: GPL-3.0-or-later
"""Comparing a restored copy: each way in which it can be wrong is found."""

from __future__ import annotations

import pytest

from tests.rehearsal.rows import TABLES, differences, read_tables

BEFORE = {"public.places": ["(1,A)"], "public.writes": ["(w1)", "(w2)"]}
NOW = {"public.places": ["(1,A)"], "public.writes": ["(w1)", "(w2)", "(w3)", "(w4)"]}


@pytest.mark.parametrize(
    ("writes", "wrong"),
    [
        (["(w1)", "(w2)"], 0),
        (["(w1)", "(w2)", "(w3)"], 0),
        (["(w1)"], 1),  # a row is missing
        (["(w1)", "(w2x)"], 2),  # a row is another one
        (["(w1)", "(w2)", "(w9)"], 1),  # a row is invented
        (["(w1)", "(w2)", "(w2)"], 1),  # a row is there twice
    ],
)
def test_rows(writes: list[str], wrong: int) -> None:
    assert len(differences(BEFORE, BEFORE | {"public.writes": writes}, NOW)) == wrong


def test_a_table_more_or_less_is_found() -> None:
    assert len(differences(BEFORE, {"public.places": ["(1,A)"]}, NOW)) == 1
    assert len(differences(BEFORE, BEFORE | {"public.other": []}, NOW)) == 1


def test_an_empty_copy_of_an_empty_database_proves_nothing() -> None:
    assert differences({"t": []}, {"t": []}, {"t": []}) == ["the copy has no rows at all"]


def test_every_table_is_read() -> None:
    answers = {TABLES: ["public.a", "public.b"]}
    found = read_tables(lambda query: answers.get(query, [query.split()[4]]))
    assert found == {"public.a": ["public.a"], "public.b": ["public.b"]}
