# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One HTTP request to a named hop, optionally at another address than DNS gives, and what is wrong
with its answer.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence
from urllib.parse import urlsplit

BODY_LIMIT = 4096


class Response(NamedTuple):
    """An answer: status 0 and C(error) when there was none.  Header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    milliseconds: int
    error: str = ""


def request(
    url: str, headers: Mapping[str, str], address: str = "", ca_file: str = "", timeout: float = 10.0
) -> Response:
    """Send GET C(url) to C(address) (default: what the name resolves to), checking TLS for the URL's
    own name.
    """
    parts = urlsplit(url)
    started = time.monotonic()
    try:
        connection = _connect(parts.scheme, str(parts.hostname), parts.port, address, ca_file, timeout)
        try:
            target = (parts.path or "/") + ("?" + parts.query if parts.query else "")
            connection.request("GET", target, headers=dict(headers))
            answer = connection.getresponse()
            answer.read(BODY_LIMIT)
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Response(answer.status, found, _since(started))
        finally:
            connection.close()
    except (OSError, http.client.HTTPException) as error:
        return Response(0, {}, _since(started), str(error) or type(error).__name__)


def _since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)


def _connect(
    scheme: str, host: str, port: Optional[int], address: str, ca_file: str, timeout: float
) -> http.client.HTTPConnection:
    port = port or (443 if scheme == "https" else 80)
    plain = socket.create_connection((address or host, port), timeout=timeout)
    if scheme == "https":
        context = ssl.create_default_context(cafile=ca_file or None)
        try:
            plain = context.wrap_socket(plain, server_hostname=host)
        except OSError:
            plain.close()
            raise
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    connection.sock = plain
    return connection


def problems(response: Response, statuses: Sequence[int], headers: Mapping[str, str]) -> List[str]:
    """Return what differs from the expected statuses, and headers (each value a part of the header's
    value).
    """
    if response.error:
        return ["no answer: {0}".format(response.error)]
    found = []
    if response.status not in statuses:
        wanted = " or ".join(str(status) for status in statuses)
        found.append("status {0}, expected {1}".format(response.status, wanted))
    for name, part in headers.items():
        value = response.headers.get(name.lower())
        if value is None:
            found.append("header {0} is missing, expected {1}".format(name, part or "any value"))
        elif part.lower() not in value.lower():
            found.append("header {0} is {1!r}, expected {2!r} in it".format(name, value, part))
    return found


def table(rows: Sequence[Mapping[str, Any]]) -> List[str]:
    """Return rows (name, found, milliseconds, url) as aligned lines."""
    width = max([len(str(row["name"])) for row in rows] or [0])
    lines = []
    for row in rows:
        mark = "FAILED" if row["problems"] else "ok"
        detail = "; ".join(row["problems"]) or "status {0}".format(row["status"])
        lines.append(
            "{0:6} {1:{width}} {2:>6} ms  {3}  {4}".format(
                mark, row["name"], row["milliseconds"], detail, row["url"], width=width
            )
        )
    return lines


def walk(hops: Sequence[Mapping[str, Any]], timeout: float) -> List[Dict[str, Any]]:
    """Ask every hop once, in order, and return a row for each."""
    rows = []
    for hop in hops:
        response = request(
            hop["url"], hop.get("headers") or {}, hop.get("address") or "", hop.get("ca_file") or "", timeout
        )
        rows.append(
            {
                "name": hop["name"],
                "url": hop["url"],
                "status": response.status,
                "milliseconds": response.milliseconds,
                "problems": problems(response, hop["status"], hop.get("expect_headers") or {}),
            }
        )
    return rows
