# SPDX-License-Identifier: GPL-3.0-or-later
"""The reports: the JSON has the promised shape, the page stands alone and says what went wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.rehearsal import report
from tests.rehearsal.report import Outcome, Sources
from tests.rehearsal.timeline import Request, Window, outages

SHAPE: dict[str, Any] = {
    "steps": [{"name": str, "seconds": float, "ok": bool}],
    "bake": {"seconds": float, "ami_id": str},
    "site": {
        "first": {"changed": int, "seconds": float},
        "again": {"changed": int, "seconds": float},
        "check": {"changed": int},
    },
    "boot": {"launch_to_health_s": float},
    "health": {"cloudfront": int, "api_gateway": int, "origin": int},
    "release": {"requests": int, "failed": int, "max_latency_ms": int},
    "swap": [
        {
            "result": str,
            "requests": int,
            "failed": int,
            "max_latency_ms": int,
            "handover_ms": int,
            "writes_acknowledged": int,
            "writes_lost": int,
            "profile": str,
        }
    ],
    "backup": {"snapshot_id": str, "rows": int, "rows_equal": bool},
    "leftovers": int,
}


def children(found: Any) -> list[tuple[str, Any]]:
    """A document's parts with their names; the entries of a list have one name."""
    if isinstance(found, dict):
        return [(f".{key}", value) for key, value in found.items()]
    return [("[]", entry) for entry in found] if isinstance(found, list) else []


def leaves(found: Any, where: str = "") -> dict[str, Any]:
    """The type at each place of a document."""
    parts = children(found)
    if not parts:
        return {where: found if isinstance(found, type) else type(found)}
    return {place: leaf for name, part in parts for place, leaf in leaves(part, where + name).items()}


def misfits(shape: Any, found: Any) -> set[tuple[str, Any]]:
    """Where a document is not of a shape: places that only one has, or that are of another type."""
    return set(leaves(shape).items()) ^ set(leaves(found).items())


def facts() -> dict[str, Any]:
    return {
        "bake": {"seconds": 61.5, "ami_id": "ami-1"},
        "site": {
            "first": {"changed": 80, "seconds": 40.1},
            "again": {"changed": 0, "seconds": 30.2},
            "check": {"changed": 0},
        },
        "boot": {"launch_to_health_s": 9.3},
        "health": {"cloudfront": 200, "api_gateway": 200, "origin": 200},
        "swaps": {
            "swap": {"result": "swapped", "handover_ms": 2100},
            "swap-broken": {"result": "rolled-back", "handover_ms": None},
        },
        "backup": {"snapshot_id": "abcdef12", "rows": 450, "rows_equal": True},
        "leftovers": 0,
    }


def sources(**changes: Any) -> Sources:
    given: dict[str, Any] = {
        "profile": "fast",
        "facts": facts(),
        "outcomes": [
            Outcome("release", "release", 0.0, 10.0, True),
            Outcome("swap", "swap <b>", 10.0, 10.0, False, "expected 1 & found 2"),
        ],
        "windows": [
            Window("release", 0.0, 10.0),
            Window("release-broken", 10.0, 12.0),
            Window("swap", 12.0, 20.0),
            Window("swap-broken", 20.0, 30.0),
        ],
        "requests": [
            Request("read", 1.0, 0.02, 200),
            Request("read", 11.0, 0.5, 503),
            Request("write", 13.0, 2.5, 201, "", "kept"),
            Request("write", 14.0, 0.1, 201, "", "lost"),
            Request("read", 21.0, 0.1, 200),
        ],
        "stored": {"kept"},
    }
    return Sources(**(given | changes))


def test_the_document_has_exactly_the_promised_shape() -> None:
    assert misfits(SHAPE, report.document(sources())) == set()


def test_the_shape_test_finds_what_is_missing_or_of_another_type() -> None:
    document = report.document(sources())
    del document["backup"]["rows"]
    document["leftovers"] = "0"
    assert misfits(SHAPE, document) == {
        (".backup.rows", int),
        (".leftovers", int),
        (".leftovers", str),
    }


def test_windows_are_added_up() -> None:
    document = report.document(sources())
    assert document["release"] == {"requests": 2, "failed": 1, "max_latency_ms": 500}
    first, second = document["swap"]
    assert (first["requests"], first["handover_ms"], first["writes_acknowledged"], first["writes_lost"]) == (
        2, 2100, 2, 1,
    )  # fmt: skip
    assert (second["result"], second["handover_ms"]) == ("rolled-back", 8900)


def test_what_was_not_done_is_null_and_not_zero() -> None:
    document = report.document(
        sources(facts=report.empty_facts(), outcomes=[], windows=[], requests=[], stored=None)
    )
    assert document["release"] == {"requests": None, "failed": None, "max_latency_ms": None}
    assert document["leftovers"] is None
    assert document["backup"]["rows_equal"] is None
    assert report.document(sources(stored=None))["swap"][0]["writes_lost"] is None


def test_the_page_stands_alone_and_escapes(tmp_path: Path) -> None:
    report.write(tmp_path, sources())
    assert json.loads((tmp_path / "rehearsal.json").read_text()) == report.document(sources())
    page = (tmp_path / "rehearsal.html").read_text()
    assert re.findall(r"(?:src|href)=[\"'](?!#)", page) == []
    assert "<script" not in page
    assert "swap &lt;b&gt;" in page
    assert "expected 1 &amp; found 2" in page
    assert "<svg" in page
    assert '<span class="bad">FAILED</span>' in page


def test_an_empty_rehearsal_has_a_page_too() -> None:
    page = report.page(sources(facts=report.empty_facts(), outcomes=[], windows=[], requests=[], stored=None))
    assert "No load ran." in page


def test_outages_are_bars_by_their_kind() -> None:
    kinds = [bar.kind for bar in report.bars(sources(), outages(sources().requests))]
    assert kinds == ["step", "wrong", "failed", "held"]


def test_an_outage_is_shown_with_the_step_in_which_it_happened() -> None:
    assert [report.step_at(sources(), moment) for moment in (5.0, 15.0, 99.0)] == ["release", "swap", ""]
    assert '<td>swap</td><td class="number">13.0 s</td>' in report.page(sources())


def test_the_plot_shows_the_steps_under_load_and_no_others() -> None:
    before = Outcome("bake", "bake", -20.0, 20.5, True)
    outcomes = [before, *sources().outcomes]
    assert [o.name for o in report.shaded(sources(outcomes=outcomes))] == ["release", "swap"]
