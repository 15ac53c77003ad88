"""The environment's parameters in SSM: fetched once, with decryption, kept out of sight."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping

from zmanimctl.errors import ZmanimError
from zmanimctl.settings import SiteConfig, parse_site_config

REQUIRED = ("postgres-password", "redis-password", "restic-password", "jwt-secret", "origin-verify-key")
OPTIONAL = (
    "clerk-secret-key",
    "clerk-publishable-key",
    "clerk-domain",
    "clerk-audience",
    "clerk-jwks-url",
    "clerk-issuer",
    "anthropic-api-key",
    "openai-api-key",
    "resend-api-key",
    "resend-from",
    "resend-domain",
    "recaptcha-secret-key",
    "recaptcha-site-key",
    "mapbox-public-token",
    "mapbox-api-key",
)


@dataclass(frozen=True)
class Parameters:
    """The secrets by short name (never shown by repr) and the environment's plain settings."""

    config: SiteConfig
    secrets: Mapping[str, str] = field(repr=False)


def prefix_of(environment: str) -> str:
    """Return the path under which an environment keeps its parameters."""
    return f"/zmanim/{environment}/"


def missing(values: Mapping[str, str]) -> List[str]:
    """Return the required names that are absent or blank, in their documented order."""
    return [name for name in REQUIRED if not values.get(name, "").strip()]


def put_back(absent: List[str]) -> str:
    """Return what to do about missing required parameters."""
    words = (
        "put the value back, or let a new one be made: ansible-playbook playbooks/site.yml --tags aws_secrets"
    )
    warning = " (a new restic-password opens none of the old backups)"
    return words + (warning if "restic-password" in absent else "")


def sort_out(environment: str, values: Mapping[str, str]) -> Parameters:
    """Split the parameters of one environment; raise ZmanimError that names every missing required one."""
    prefix = prefix_of(environment)
    absent = missing(values)
    if absent:
        raise ZmanimError(
            f"required SSM parameter {', '.join(prefix + name for name in absent)} is missing or blank",
            expected="a SecureString",
            remedy=f"nothing was started; {put_back(absent)}; then repeat the swap, or on the machine: "
            "systemctl start zmanim.target",
        )
    if "config" not in values:
        raise ZmanimError(
            f"SSM parameter {prefix}config is missing", remedy="nothing was started; run site.yml"
        )
    known = {name: values[name] for name in (*REQUIRED, *OPTIONAL) if values.get(name)}
    return Parameters(config=parse_site_config(values["config"], f"{prefix}config"), secrets=known)


class ParameterStore:
    """SSM's parameters of one environment."""

    def __init__(self, aws: Any, environment: str) -> None:
        """Remember whose parameters these are."""
        self._aws = aws
        self._prefix = prefix_of(environment)
        self._environment = environment

    def values(self, seconds: float = 30.0) -> Dict[str, str]:
        """Return every parameter by short name: one paginated call, retried until the deadline."""
        return dict(
            self._aws.call(
                "ssm", f"SSM GetParametersByPath {self._prefix}", self._read_pages, seconds=seconds
            )
        )

    def _read_pages(self, client: Any) -> Dict[str, str]:
        pages = client.get_paginator("get_parameters_by_path").paginate(
            Path=self._prefix.rstrip("/"), Recursive=False, WithDecryption=True
        )
        found: Dict[str, str] = {}
        for page in pages:
            for one in page["Parameters"]:
                found[one["Name"][len(self._prefix) :]] = one["Value"]
        return found

    def fetch(self, seconds: float = 30.0) -> Parameters:
        """Return the environment's parameters or raise ZmanimError that names what is missing."""
        return sort_out(self._environment, self.values(seconds))
