"""The marker's comparisons."""

from __future__ import annotations

from dataclasses import replace

import pytest
from zmanimctl import marker as markers
from zmanimctl.errors import ZmanimError
from zmanimctl.marker import Marker, admit, check_cluster, compare
from zmanimctl_fakes import VOLUME

EXPECTED = Marker(VOLUME, "lab", 17, "3.5.2")
WRITTEN = replace(EXPECTED, system_identifier="7")


@pytest.mark.parametrize("found", [WRITTEN, replace(WRITTEN, postgis_version="3.5.9"), EXPECTED])
def test_what_is_ours_passes(found: Marker) -> None:
    assert admit(found, EXPECTED, ["postgres"], False) == found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"environment": "production"}, "another environment: found production, expected lab"),
        ({"volume_id": "vol-0ffffffffffffffff"}, "zmanimctl volume adopt --confirm lab"),
        ({"postgres_major": 16}, "another PostgreSQL major: found 16, expected 17; .*replica swap"),
        ({"postgis_version": "3.4.6"}, "another PostGIS version: found 3.4.6, expected 3.5.2"),
    ],
)
def test_every_mismatch_is_refused_with_what_to_do(change: dict[str, object], message: str) -> None:
    with pytest.raises(ZmanimError, match=message) as refused:
        compare(replace(WRITTEN, **change), EXPECTED)  # type: ignore[arg-type]
    assert "nothing was started" in str(refused.value)


def test_an_empty_fresh_volume_gets_a_fresh_marker() -> None:
    made = admit(None, EXPECTED, ["lost+found"], True)
    assert made.fresh
    assert made.system_identifier is None


@pytest.mark.parametrize(("entries", "fresh"), [([], False), (["postgres"], True), (["x"], False)])
def test_no_marker_is_refused_otherwise(entries: list[str], fresh: bool) -> None:
    with pytest.raises(ZmanimError, match="has no marker"):
        admit(None, EXPECTED, entries, fresh)


def test_another_cluster_is_refused() -> None:
    check_cluster(WRITTEN, "7")
    check_cluster(EXPECTED, "8")
    with pytest.raises(ZmanimError, match="system identifier 8, expected 7"):
        check_cluster(WRITTEN, "8")


def test_round_trip_and_a_broken_one(tmp_path: object) -> None:
    where = str(tmp_path)
    assert markers.read(where) is None
    markers.write(where, WRITTEN)
    assert markers.read(where) == WRITTEN
    with pytest.raises(ZmanimError, match="cannot be read"):
        markers.parse("{", "/data/.zmanim-volume.json")
    with pytest.raises(ZmanimError, match="cannot be read"):
        markers.parse("{}", "/data/.zmanim-volume.json")
