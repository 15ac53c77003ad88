# SPDX-License-Identifier: GPL-3.0-or-later
"""Real requests through CloudFront and API Gateway, as the two roles declared them."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytestmark = pytest.mark.edge

HELD = 50
HOLD_SECONDS = 2.0


def test_a_request_reaches_the_origin_without_the_base_path(viewer: Any, origin: Any) -> None:
    origin.headers = {"cache-control": "no-store", "x-request-id": "r1"}
    answer = viewer.get("/backend/api/v1/zmanim/places?lat=31.7&lon=35.2%2C1")
    assert answer.status == 200
    assert answer.json()["path"] == "/api/v1/zmanim/places?lat=31.7&lon=35.2%2C1"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-request-id"] == "r1"
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    assert answer.headers["x-frame-options"] == "DENY"


def test_the_origin_key_is_overwritten(viewer: Any, origin: Any) -> None:
    answer = viewer.get("/backend/api/v1/version", X_Origin_Verify="forged")
    assert answer.json()["headers"]["x-origin-verify"] == "planted-origin-key"


def test_a_body_and_a_status_pass_both_ways(viewer: Any, origin: Any) -> None:
    answer = viewer.get(
        "/backend/api/v1/writes", method="POST", body='{"id": "1"}', Content_Type="application/json"
    )
    assert (answer.json()["method"], answer.json()["body"]) == ("POST", '{"id": "1"}')
    assert viewer.get("/backend/api/v1/missing").status == 404


@pytest.mark.parametrize("prefix", ["admin", "publisher", "external", "auth"])
def test_protected_routes_want_a_token(viewer: Any, origin: Any, mint: Any, prefix: str) -> None:
    path = f"/backend/api/v1/{prefix}/things"
    refused = [
        viewer.get(path),
        viewer.get(path, Authorization="Bearer nonsense"),
        viewer.get(path, Authorization=f"Bearer {mint(expired=True)}"),
        viewer.get(path, Authorization=f"Bearer {mint(audience='https://other.test')}"),
        viewer.get(path, Authorization=f"Bearer {mint(audience=None)}"),
        viewer.get(path, Authorization=f"Bearer {mint()[:-8]}AAAAAAAA"),
    ]
    assert [answer.status for answer in refused] == [401] * len(refused)
    assert not origin.requests
    answer = viewer.get(path, Authorization=f"Bearer {mint()}")
    assert (answer.status, answer.json()["path"]) == (200, f"/api/v1/{prefix}/things")


def test_a_cached_route_forwards_no_authorization_and_no_cookie(viewer: Any, origin: Any) -> None:
    answer = viewer.get(
        "/backend/api/v1/zmanim/places", Authorization="Bearer x", Cookie="a=b", Accept_Language="he"
    )
    headers = answer.json()["headers"]
    assert headers["accept-language"] == "he"
    assert not {"authorization", "cookie"} & set(headers)


def test_cors_is_answered_for_the_site_alone(viewer: Any, origin: Any) -> None:
    def preflight(source: str) -> dict[str, str]:
        headers: dict[str, str] = viewer.get(
            "/backend/api/v1/external/x",
            method="OPTIONS",
            Origin=source,
            Access_Control_Request_Method="POST",
        ).headers
        return headers

    allowed = preflight("https://zmanim.lab.test")
    assert allowed["access-control-allow-origin"] == "https://zmanim.lab.test"
    assert allowed["access-control-allow-credentials"] == "true"
    assert "POST" in allowed["access-control-allow-methods"]
    assert "access-control-allow-origin" not in preflight("https://evil.test")
    assert not origin.requests


def test_plain_http_is_redirected(viewer: Any, origin: Any) -> None:
    answer = viewer.get("/backend/api/v1/version", tls=False, X_Forwarded_Proto="https")
    assert answer.status == 301
    assert answer.headers["location"] == "https://zmanim.lab.test/backend/api/v1/version"


def test_pages_and_files_come_from_the_private_bucket(viewer: Any, aws: Any) -> None:
    for path in ("/", "/calendar/5786", "/index.html"):
        answer = viewer.get(path)
        assert (answer.status, answer.body) == (200, b"<h1>zmanim</h1>"), path
    answer = viewer.get("/assets/app.0123.js")
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert viewer.get("/assets/none.js").status in (403, 404)


def test_an_unknown_name_is_refused(viewer: Any) -> None:
    assert viewer.get("/", Host="other.test").status == 403


def test_a_dead_origin_is_503(viewer: Any) -> None:
    assert viewer.get("/backend/api/v1/version").status == 503


def test_the_access_log_tells_each_request(viewer: Any, origin: Any, aws: Any) -> None:
    marker = f"probe-{time.time_ns()}"
    viewer.get(f"/backend/api/v1/{marker}")
    viewer.get(f"/backend/api/v1/admin/{marker}")
    logs = aws.boto("logs")
    group = "/aws/vendedlogs/zmanim-edge/api-gateway"
    end = time.monotonic() + 15
    found: list[dict[str, str]] = []
    while len(found) < 2 and time.monotonic() < end:
        time.sleep(0.3)
        found = [
            json.loads(event["message"])
            for stream in logs.describe_log_streams(logGroupName=group)["logStreams"]
            for event in logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])[
                "events"
            ]
            if marker in event["message"]
        ]
    first, second = found
    assert (first["status"], first["integrationStatus"], first["routeKey"]) == (
        "200",
        "200",
        "ANY /api/v1/{proxy+}",
    )
    assert (second["status"], second["integrationStatus"]) == ("401", "-")
    assert second["authorizerError"] != "-"


def test_requests_that_an_origin_holds_are_not_serialised(viewer: Any, origin: Any) -> None:
    """One behind the other they would take 100 s, and with the default of 6 threads 17 s."""
    origin.hold = HOLD_SECONDS
    started = time.monotonic()
    with ThreadPoolExecutor(HELD) as pool:
        answers = list(pool.map(lambda n: viewer.get(f"/backend/api/v1/held/{n}").status, range(HELD)))
    assert answers == [200] * HELD
    assert time.monotonic() - started < 5 * HOLD_SECONDS
    assert len(origin.requests) == HELD


def test_throttling_answers_429(aws: Any, origin: Any) -> None:
    """A route of its own with a burst of three, asked at the API's own endpoint."""
    import http.client

    api = {
        "name": "throttled",
        "integrations": [{"name": "all", "uri": origin.url}],
        "routes": [
            {
                "key": "$default",
                "integration": "all",
                "throttling_rate_limit": 0.001,
                "throttling_burst_limit": 3,
            }
        ],
    }
    host = aws.module("http_api", **api)["http_api"]["domain_name"]

    def status() -> int:
        connection = http.client.HTTPConnection("127.0.20.2", 80, timeout=10)
        connection.request("GET", "/x", headers={"Host": host})
        answer = connection.getresponse().status
        connection.close()
        return answer

    try:
        assert [status() for _ in range(5)] == [200, 200, 200, 429, 429]
    finally:
        aws.module("http_api", name="throttled", state="absent")


def test_the_mirror_serves_the_agent_and_nothing_else(viewer: Any) -> None:
    import hashlib
    import http.client

    def get(path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.20.3", 4567, timeout=10)
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()

    place = "/debian/amd64/latest/amazon-cloudwatch-agent.deb"
    status, package = get(place)
    assert status == 200
    assert get(place + ".sha256")[1].split()[0].decode() == hashlib.sha256(package).hexdigest()
    assert get("/../ca.pem")[0] == 404
    assert get("/%2e%2e/ca.pem")[0] == 404
