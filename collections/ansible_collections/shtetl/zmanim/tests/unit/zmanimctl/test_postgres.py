"""PostgreSQL's decisions: initdb or not, and SQL that is empty when nothing is missing."""

from __future__ import annotations

import pytest
from zmanimctl.errors import ZmanimError
from zmanimctl.marker import Marker
from zmanimctl.postgres import (
    Cluster,
    Directory,
    database_sql,
    decide_cluster,
    extension_sql,
    parse_controldata,
    quote_literal,
    role_sql,
    scram_verifier,
    verifier_matches,
)
from zmanimctl.settings import Settings
from zmanimctl_fakes import SECRETS, VOLUME, FakeRunner, FakeSystemd

FRESH = Marker(VOLUME, "lab", 17, fresh=True)
USED = Marker(VOLUME, "lab", 17, system_identifier="7")


@pytest.mark.parametrize(
    ("directory", "marker", "action"),
    [
        (Directory(["PG_VERSION"], True), USED, "start"),
        (Directory(["PG_VERSION"], True), FRESH, "start"),
        (Directory(None, False), FRESH, "initdb"),
        (Directory([], False), FRESH, "initdb"),
    ],
)
def test_cluster(directory: Directory, marker: Marker, action: str) -> None:
    assert decide_cluster(directory, marker, "/data/postgres/17") == action


@pytest.mark.parametrize(
    ("directory", "marker", "message"),
    [
        (Directory(["base"], False), FRESH, "is not empty and holds no cluster"),
        (Directory(["base"], False), USED, "is not empty and holds no cluster"),
        (Directory([], False), USED, "holds no cluster, but the volume's marker is not fresh"),
        (Directory(None, False), Marker(VOLUME, "lab", 17, None, "7", True), "holds no cluster"),
    ],
)
def test_initdb_is_refused(directory: Directory, marker: Marker, message: str) -> None:
    with pytest.raises(ZmanimError, match=message):
        decide_cluster(directory, marker, "/data/postgres/17")


def test_scram_verifier_is_that_of_rfc_5803() -> None:
    # RFC 7677's example: user "user", password "pencil".
    import base64

    verifier = scram_verifier("pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="))
    assert verifier == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
        "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )


def test_role_is_made_changed_or_left() -> None:
    password = SECRETS["postgres-password"]
    created = role_sql({"role": False}, password)
    assert created.startswith("CREATE ROLE zmanim LOGIN NOSUPERUSER")
    assert password not in created
    verifier = scram_verifier(password, b"0123456789abcdef")
    assert role_sql({"role": True, "verifier": verifier}, password) == ""
    assert role_sql({"role": True, "verifier": verifier}, "rotated").startswith("ALTER ROLE zmanim")
    assert not verifier_matches("md5abc", password)
    assert not verifier_matches(None, password)


def test_database_and_extensions() -> None:
    assert database_sql({"databases": ["postgres", "zmanim"]}, "zmanim") == ""
    assert database_sql({"databases": ["postgres"]}, "zmanim") == 'CREATE DATABASE "zmanim" OWNER zmanim;\n'
    facts = {"extensions": ["postgis"], "available": ["postgis", "vector"]}
    assert extension_sql(facts, ["postgis"]) == ""
    assert extension_sql(facts, ["postgis", "vector"]) == 'CREATE EXTENSION IF NOT EXISTS "vector";\n'
    with pytest.raises(ZmanimError, match="extension pg_trgm is not in this image"):
        extension_sql(facts, ["pg_trgm"])


@pytest.mark.parametrize(("value", "quoted"), [("a", "'a'"), ("a'b", "'a''b'"), ("a\\b", " E'a\\\\b'")])
def test_literals(value: str, quoted: str) -> None:
    assert quote_literal(value) == quoted


def test_provision_twice_changes_nothing_and_tells_no_secret() -> None:
    runner, password = FakeRunner(), SECRETS["postgres-password"]
    cluster = Cluster(runner, FakeSystemd([]), Settings())  # type: ignore[arg-type]
    server = '{"role": false, "verifier": null, "databases": ["postgres"]}'
    database = '{"extensions": [], "available": ["postgis", "pg_trgm", "unaccent", "vector"]}'
    runner.answers[("psql",)] = lambda _words, stdin: (
        0,
        server if "pg_authid" in stdin else database if "pg_available" in stdin else "",
        "",
    )
    assert cluster.provision("zmanim", password) == ["role zmanim", "database zmanim", "extensions"]
    assert password not in str(runner.calls)
    assert password not in "".join(runner.stdins), "the server gets a verifier, not the password"
    verifier = scram_verifier(password, b"0123456789abcdef").replace("$", "$")
    server = f'{{"role": true, "verifier": "{verifier}", "databases": ["postgres", "zmanim"]}}'
    database = '{"extensions": ["postgis", "pg_trgm", "unaccent", "vector"], "available": []}'
    assert cluster.provision("zmanim", password) == []


def test_sql_errors_name_the_database() -> None:
    runner = FakeRunner()
    runner.on("psql", stderr="psql:<stdin>:3: ERROR:  no such thing\nLINE 1: x", status=3)
    cluster = Cluster(runner, FakeSystemd([]), Settings())  # type: ignore[arg-type]
    with pytest.raises(ZmanimError, match=r"SQL in database zmanim failed: found .*no such thing"):
        cluster.sql("x", "zmanim")


def test_controldata() -> None:
    text = "pg_control version number: 1700\nDatabase system identifier:           7312\n"
    assert parse_controldata(text)["Database system identifier"] == "7312"
