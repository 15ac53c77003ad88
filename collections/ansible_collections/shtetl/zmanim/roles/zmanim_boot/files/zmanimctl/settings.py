"""What the image knows (/etc/zmanim/zmanimctl.json) and what the environment wants (SSM parameter
``config``).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

from zmanimctl.errors import ZmanimError

SETTINGS_FILE = Path("/etc/zmanim/zmanimctl.json")


@dataclass(frozen=True)
class Settings:
    """Static facts baked into the image; every path can be moved in tests."""

    postgres_major: int = 16
    postgres_bin_dir: str = "/usr/bin"
    postgres_service: str = "postgresql.service"
    postgres_config_dir: str = "/etc/postgresql"
    postgres_data_dir: str = ""
    postgres_socket_dir: str = "/run/postgresql"
    postgres_port: int = 5432
    postgres_user: str = "postgres"
    postgres_preload: List[str] = field(default_factory=list)
    extensions: List[str] = field(default_factory=lambda: ["postgis", "pg_trgm", "unaccent", "vector"])
    redis_service: str = "redis-server.service"
    redis_data_dir: str = "/data/redis"
    redis_config_include: str = "/run/zmanim/secrets/redis.conf"
    redis_binary: str = "/usr/bin/redis-server"
    redis_port: int = 6379
    redis_user: str = "redis"
    haproxy_service: str = "haproxy.service"
    haproxy_socket: str = "/run/haproxy/admin.sock"
    haproxy_backend: str = "api"
    api_user: str = "zmanim"
    api_home: str = "/opt/zmanim"
    slots: Dict[str, int] = field(default_factory=lambda: {"a": 8081, "b": 8082})
    front_port: int = 8080
    restic_env_file: str = "/etc/restic/env"
    restic_binary: str = "/usr/bin/restic"
    timers: List[str] = field(default_factory=lambda: ["restic-backup.timer"])
    cloudwatch_agent_service: str = ""
    architecture: str = "arm64"
    data_dir: str = "/data"
    run_dir: str = "/run/zmanim"
    config_dir: str = "/etc/zmanim"
    unit_dir: str = "/run/systemd/system"

    @property
    def pgdata(self) -> Path:
        """The cluster's directory: always a sub-directory of the volume."""
        return Path(self.postgres_data_dir or f"{self.data_dir}/postgres/{self.postgres_major}")

    @property
    def secrets_dir(self) -> Path:
        """The directory on tmpfs that holds files made from secrets."""
        return Path(self.run_dir) / "secrets"

    @property
    def migrations_dir(self) -> Path:
        """The directory of the schema's migrations."""
        return Path(self.api_home) / "migrations"


@dataclass(frozen=True)
class SiteConfig:
    """The non-secret settings of an environment, parsed from the SSM parameter ``config``."""

    database: str = "zmanim"
    domain: str = ""
    base_path: str = "/backend"
    web_url: str = ""
    allowed_origins: List[str] = field(default_factory=list)
    postgres_major: Optional[int] = None
    restic_repository: str = ""
    releases_bucket: str = ""
    admin_email: str = ""
    rate_limit: Dict[str, Any] = field(default_factory=dict)
    clerk: Dict[str, Any] = field(default_factory=dict)
    resend: Dict[str, Any] = field(default_factory=dict)
    rollup_interval_hours: int = 24
    metrics_namespace: str = "Zmanim"
    wanted_release: Optional[str] = None


def _known(kind: Any, values: Mapping[str, Any]) -> Dict[str, Any]:
    names = {one.name for one in fields(kind)}
    return {key: value for key, value in values.items() if key in names and value is not None}


def parse_settings(text: str, where: str) -> Settings:
    """Build Settings from the JSON of zmanimctl.json; unknown keys belong to other programs and are left
    alone.
    """
    try:
        values = json.loads(text)
        return Settings(**_known(Settings, values))
    except (ValueError, TypeError, AttributeError) as error:
        raise ZmanimError(
            f"{where} cannot be read",
            found=str(error),
            expected="a JSON object",
            remedy="bake the image again",
        ) from None


def load_settings(path: Path = SETTINGS_FILE) -> Settings:
    """Read the baked facts; a missing file is an error, never a set of guesses."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ZmanimError(
            f"{path} cannot be read",
            found=error.strerror or str(error),
            expected="the facts that the role zmanim_boot writes",
            remedy="bake the image again",
        ) from None
    return parse_settings(text, str(path))


def parse_site_config(text: str, parameter: str) -> SiteConfig:
    """Build SiteConfig from the JSON text of the parameter; raise ZmanimError when it is no JSON object."""
    try:
        values = json.loads(text)
    except ValueError as error:
        raise ZmanimError(
            f"SSM parameter {parameter} is no JSON", found=str(error), remedy="run site.yml to write it again"
        ) from None
    if not isinstance(values, dict):
        raise ZmanimError(
            f"SSM parameter {parameter}",
            found=type(values).__name__,
            expected="a JSON object",
            remedy="run site.yml",
        )
    return SiteConfig(**_known(SiteConfig, values))
