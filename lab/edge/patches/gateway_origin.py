# SPDX-License-Identifier: GPL-3.0-or-later
"""A distribution's origin may be an HTTP API of this lab.

ministack refuses to dial names that belong to AWS; an API's `<id>.execute-api.<region>.amazonaws.com` is
served inside the process instead, as ministack itself does for load balancers and function URLs.
"""

from __future__ import annotations

import asyncio
import http.client
from typing import Any

from ministack.services import apigateway, cloudfront

from lab.edge.settings import EdgeSettings

Fetched = tuple[int, str, dict[str, Any], bytes]


def api_id(origin: dict[str, Any]) -> str | None:
    """Return the id of the lab's API that the origin names, else None."""
    from lab.edge.listeners import GATEWAY_HOST

    found = GATEWAY_HOST.match(cloudfront._normalize_origin_host(origin["domain_name"]))
    if found is None or apigateway.find_api_scope(found.group(1)) is None:
        return None
    return found.group(1)


async def fetch(
    found: str,
    origin: dict[str, Any],
    method: str,
    uri: str,
    query: str,
    headers: dict[str, Any],
    body: bytes,
    client: str,
    forwarded_for: str,
) -> Fetched:
    """Ask the API as CloudFront would; raises OriginTimeout past the origin's read time-out."""
    from lab.edge.listeners import execute_api

    sent = cloudfront._origin_request_headers(origin, headers, client, forwarded_for)
    lower = {name.lower(): str(value) for name, value in sent.items()}
    lower.setdefault("x-forwarded-proto", "https")
    if lower.get("host", "").split(":")[0].lower() != origin["domain_name"].lower():
        # API Gateway knows no API by the viewer's Host, as when a policy forwards it.
        return 403, "Forbidden", {"content-type": "application/json"}, b'{"message":"Forbidden"}'
    path = (origin.get("origin_path") or "") + uri
    timeout = float(origin.get("read_timeout", 30))
    try:
        status, answered, content = await asyncio.wait_for(
            execute_api(found, method, path, query, lower, body), timeout
        )
    except TimeoutError as error:
        raise cloudfront.OriginTimeout(
            f"no response from {origin['domain_name']} in {timeout:g} s"
        ) from error
    pairs = [
        (name, value)
        for name, values in answered.items()
        for value in (values if isinstance(values, list) else [values])
    ]
    return status, http.client.responses.get(status, ""), cloudfront._multidict_from_pairs(pairs), content


def apply(_settings: EdgeSettings) -> None:
    """Serve API origins inside; leave every other origin to the emulator."""
    fetch_from_origin = cloudfront._fetch_from_origin

    async def fetch_origin(
        origin: dict[str, Any],
        method: str,
        uri: str,
        query: str,
        headers: dict[str, Any],
        body: bytes,
        viewer_is_https: bool,
        client: str,
        forwarded_for: str,
        distribution_arn: str,
    ) -> Fetched:
        found = None if origin.get("s3_bucket") else api_id(origin)
        if found is not None:
            return await fetch(found, origin, method, uri, query, headers, body, client, forwarded_for)
        fetched: Fetched = await fetch_from_origin(
            origin,
            method,
            uri,
            query,
            headers,
            body,
            viewer_is_https,
            client,
            forwarded_for,
            distribution_arn,
        )
        return fetched

    cloudfront._fetch_from_origin = fetch_origin
