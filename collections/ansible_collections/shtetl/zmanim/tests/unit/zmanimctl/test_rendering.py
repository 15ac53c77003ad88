"""Rendered files: encodings that survive hostile passwords, and nothing secret where it does not belong."""

from __future__ import annotations

import subprocess
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from zmanimctl import rendering
from zmanimctl.settings import Settings, SiteConfig
from zmanimctl_fakes import SECRETS


def api_environment() -> dict[str, str]:
    config = SiteConfig(
        allowed_origins=["https://a", "https://b"], rate_limit={"requests": 100, "duration": "1m"}
    )
    return rendering.api_environment(Settings(), config, SECRETS, "lab", "eu-west-1")


def test_passwords_in_urls_are_encoded() -> None:
    values = api_environment()
    database, redis = urlsplit(values["DATABASE_URL"]), urlsplit(values["REDIS_URL"])
    assert unquote(database.password or "") == SECRETS["postgres-password"]
    assert (database.hostname, database.port, database.path) == ("127.0.0.1", 5432, "/zmanim")
    assert unquote(redis.password or "") == SECRETS["redis-password"]


@pytest.mark.parametrize(
    "value", ["plain", 'a"b', "a\\b", "$HOME `x`", "a b  c", "ü", "'", *SECRETS.values()]
)
def test_environment_values_survive(value: str, tmp_path: Path) -> None:
    text = rendering.environment_file({"KEY": value})
    assert rendering.parse_environment_file(text) == {"KEY": value}
    # A shell reads the same, which is what a person sourcing /etc/restic/env relies on.
    (tmp_path / "env").write_text(text)
    said = subprocess.run(["sh", "-c", '. "$0"; printf %s "$KEY"', tmp_path / "env"], capture_output=True)
    assert said.stdout.decode() == value


def test_a_line_break_cannot_smuggle_a_variable() -> None:
    assert rendering.environment_file({"A": "x\nB=y"}).count("\n") == 2


def test_the_environment_is_complete_and_without_port() -> None:
    values = api_environment()
    assert {"HOST", "JWT_SECRET", "ORIGIN_VERIFY_KEY", "RATE_LIMIT_REQUESTS", "AWS_REGION"} <= set(values)
    assert "PORT" not in values
    assert values["ALLOWED_ORIGINS"] == "https://a,https://b"


def test_redis_word() -> None:
    text = rendering.redis_config('a"b\\', 128)
    assert 'requirepass "a\\"b\\\\"\n' in text
    assert "maxmemory 128mb" in text


def test_restic_env_holds_no_password() -> None:
    text = rendering.restic_environment("s3:http://x/y", "/run/zmanim/secrets/restic-password", "eu-west-1")
    assert SECRETS["restic-password"] not in text
    assert rendering.parse_environment_file(text)["RESTIC_REPOSITORY"] == "s3:http://x/y"


def test_pgpass_escapes() -> None:
    assert rendering.pgpass(5432, "a:b\\").splitlines()[1] == "127.0.0.1:5432:*:zmanim:a\\:b\\\\"


def test_postgres_config_names_the_cron_database() -> None:
    text = rendering.postgres_config({"shared_buffers": "1MB"}, "/data/postgres/17", "zmanim", ["pg_cron"])
    assert "cron.database_name = 'zmanim'\n" in text
    assert "shared_preload_libraries = 'pg_cron'\n" in text
    assert text.rstrip().endswith("shared_buffers = 1MB")
