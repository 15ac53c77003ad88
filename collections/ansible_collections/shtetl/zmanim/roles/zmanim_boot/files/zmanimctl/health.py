"""GET /health: status 200 decides; the version is read from the body when it reports one."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class Health:
    """An answer of /health; ``status`` 0 means that nobody answered."""

    status: int
    version: Optional[str] = None
    problem: str = ""

    @property
    def good(self) -> bool:
        """The API serves."""
        return self.status == 200


def parse_version(body: str) -> Optional[str]:
    """Return the version in a health body: {"data": {"version": ...}} or {"version": ...}."""
    try:
        value = json.loads(body)
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    data = value.get("data")
    version = (data if isinstance(data, dict) else value).get("version")
    return str(version) if version else None


def probe(address: str, port: int, timeout: float = 1.0) -> Health:
    """Ask http://address:port/health once."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{address}:{port}/health", timeout=timeout) as answer:
            return Health(int(answer.status), parse_version(answer.read(65536).decode("utf-8", "replace")))
    except urllib.error.HTTPError as error:
        with error:
            return Health(error.code, None, f"HTTP {error.code}")
    except (urllib.error.URLError, OSError, ValueError) as error:
        return Health(0, None, str(getattr(error, "reason", error)))
