# SPDX-License-Identifier: GPL-3.0-or-later
"""The API and CloudFront modules against the edge's real control plane: twelve steps each.

Create, create again, modify, modify again, delete, delete again; each first under check mode, after which
reading the resource proves that check mode wrote nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.edge

Params = dict[str, Any]

HTTP_API: Params = {
    "name": "twelve-steps",
    "cors": {
        "allow_origins": ["https://Zmanim.lab.test"],
        "allow_methods": ["get", "POST"],
        "allow_headers": ["Authorization", "X-Publisher-Id"],
        "expose_headers": ["X-Request-Id"],
        "allow_credentials": True,
        "max_age": 300,
    },
    "authorizers": [{"name": "clerk", "issuer": "https://clerk.lab.test", "audience": ["https://lab.test"]}],
    "integrations": [
        {
            "name": "api",
            "uri": "http://127.77.0.1:8080/api/v1/{proxy}",
            "timeout_ms": 29000,
            "request_parameters": {"overwrite:header.X-Tenant": "one", "append:header.X-Old": "x"},
            "secret_request_parameters": {"overwrite:header.X-Origin-Verify": "planted-secret-1"},
        },
        {"name": "health", "uri": "http://127.77.0.1:8080/health"},
    ],
    "routes": [
        {
            "key": "GET /api/v1/health",
            "integration": "health",
            "throttling_rate_limit": 5,
            "throttling_burst_limit": 9,
        },
        {"key": "ANY /api/v1/{proxy+}", "integration": "api"},
        {"key": "ANY /api/v1/external/{proxy+}", "integration": "api", "authorizer": "clerk"},
    ],
    "stage": {
        "throttling_rate_limit": 500,
        "throttling_burst_limit": 1000,
        "variables": {"colour": "blue", "old": "1"},
        "access_log": {
            "destination_arn": "arn:aws:logs:eu-west-1:123456789012:log-group:/zmanim/lab/api:*",
            "format": '{"id":"$context.requestId"}',
        },
    },
    "tags": {"Environment": "lab", "Old": "1"},
}


def _modified_api() -> Params:
    params = copy.deepcopy(HTTP_API)
    params["description"] = "modified"
    params["cors"] = None
    params["integrations"] = params["integrations"][:1]
    params["integrations"][0]["uri"] = "http://127.77.0.2:8080/api/v1/{proxy}"
    params["integrations"][0]["request_parameters"] = {"overwrite:header.X-Tenant": "two"}
    params["integrations"][0]["secret_request_parameters"] = {
        "overwrite:header.X-Origin-Verify": "planted-secret-2"
    }
    params["routes"] = [
        {"key": "ANY /api/v1/{proxy+}", "integration": "api", "authorizer": "clerk"},
        {"key": "ANY /api/v1/external/{proxy+}", "integration": "api"},
        {"key": "ANY /api/v1/admin/{proxy+}", "integration": "api", "authorizer": "clerk"},
    ]
    params["authorizers"][0]["audience"] = ["https://other.test"]
    params["stage"] = {"throttling_rate_limit": 50, "variables": {"colour": "green"}}
    params["tags"] = {"Environment": "lab", "New": "1"}
    return params


POLICY_SELECTION = {"behavior": "whitelist", "names": ["Accept-Language", "X-One"]}
CACHE_POLICY: Params = {"name": "twelve-cache", "default_ttl": 3600, "headers": POLICY_SELECTION}
REQUEST_POLICY: Params = {
    "name": "twelve-request",
    "headers": {"behavior": "allExcept", "names": ["Host"]},
    "query_strings": {"behavior": "all"},
}
RESPONSE_POLICY: Params = {
    "name": "twelve-response",
    "security_headers": {
        "strict_transport_security": {"max_age": 31536000, "include_subdomains": True},
        "content_type_options": True,
        "frame_option": "DENY",
        "referrer_policy": "strict-origin-when-cross-origin",
        "content_security_policy": "default-src 'self'",
    },
    "custom_headers": [{"name": "X-Robots-Tag", "value": "noindex"}],
    "remove_headers": ["X-Powered-By"],
}
ACCESS_CONTROL: Params = {"name": "twelve-control"}
FUNCTION: Params = {"name": "twelve-function", "code": "function handler(event) { return event.request; }\n"}
CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
DISTRIBUTION: Params = {
    "comment": "twelve-steps",
    "aliases": ["Twelve.lab.test"],
    "default_root_object": "index.html",
    "origins": [
        {
            "id": "static",
            "type": "s3",
            "domain_name": "zmanim-static-lab.s3.eu-west-1.amazonaws.com",
            "origin_shield_region": "eu-west-1",
        },
        {
            "id": "api",
            "domain_name": "0123456789.execute-api.eu-west-1.amazonaws.com",
            "custom_headers": {"X-Origin-Verify": "planted-secret-1"},
        },
    ],
    "default_behavior": {"origin": "static", "cache_policy_id": CACHING_DISABLED},
    "behaviors": [
        {
            "path_pattern": "/backend/*",
            "origin": "api",
            "cache_policy_id": CACHING_DISABLED,
            "allowed_methods": ["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"],
        }
    ],
    "error_responses": [{"error_code": 404, "response_code": 200, "response_page_path": "/index.html"}],
    "tags": {"Environment": "lab", "Old": "1"},
}


def _modified_distribution() -> Params:
    params = copy.deepcopy(DISTRIBUTION)
    params["aliases"] = []
    params["origins"][1]["custom_headers"] = {"X-Origin-Verify": "planted-secret-2"}
    params["behaviors"].append(dict(params["behaviors"][0], path_pattern="/other/*", compress=False))
    params["error_responses"] = []
    params["logging"] = {"bucket": "zmanim-logs.s3.amazonaws.com", "prefix": "cdn/"}
    params["tags"] = {"Environment": "lab", "New": "1"}
    return params


CASES: dict[str, tuple[Params, Params]] = {
    "http_api": (HTTP_API, _modified_api()),
    "cloudfront_cache_policy": (
        CACHE_POLICY,
        dict(CACHE_POLICY, max_ttl=7200, cookies={"behavior": "all"}, headers={"behavior": "none"}),
    ),
    "cloudfront_origin_request_policy": (
        REQUEST_POLICY,
        dict(REQUEST_POLICY, comment="modified", cookies={"behavior": "whitelist", "names": ["session"]}),
    ),
    "cloudfront_response_headers_policy": (
        RESPONSE_POLICY,
        dict(RESPONSE_POLICY, security_headers={"frame_option": "SAMEORIGIN"}, remove_headers=[]),
    ),
    "cloudfront_origin_access_control": (
        ACCESS_CONTROL,
        dict(ACCESS_CONTROL, signing_behavior="no-override"),
    ),
    "cloudfront_function": (FUNCTION, dict(FUNCTION, code="function handler(e) { return e.request }\n")),
    "cloudfront_distribution": (DISTRIBUTION, _modified_distribution()),
}


@pytest.mark.parametrize("name", CASES)
def test_twelve_steps(aws: Any, name: str) -> None:
    created, modified = CASES[name]

    def step(params: Params, changes: bool) -> None:
        predicted = aws.module(name, check=True, **params)
        assert predicted["changed"] is changes
        again = aws.module(name, check=True, **params)
        assert again["diff"] == predicted["diff"], "check mode wrote something"
        real = aws.module(name, **params)
        assert real["changed"] is changes
        assert real["diff"] == predicted["diff"], "check mode predicted something else"
        assert (real["diff"]["before"] != real["diff"]["after"]) is changes

    for params, changes in (
        (created, True),
        (created, False),
        (modified, True),
        (modified, False),
        (dict(modified, state="absent"), True),
        (dict(modified, state="absent"), False),
    ):
        step(params, changes)


def test_api_secrets_are_never_shown(aws: Any) -> None:
    shown = [
        str(aws.module("http_api", **params))
        for params in (HTTP_API, _modified_api(), dict(HTTP_API, state="absent"))
    ]
    assert "planted-secret" not in "".join(shown)
    assert "hidden, differs" in shown[1]


def test_distribution_secrets_are_never_shown(aws: Any) -> None:
    first, second = DISTRIBUTION, _modified_distribution()
    shown = [
        str(aws.module("cloudfront_distribution", **params))
        for params in (first, second, dict(first, state="absent"))
    ]
    assert "planted-secret" not in "".join(shown)


def test_drift_of_an_undeclared_route_is_seen_and_removed(aws: Any) -> None:
    api_id = aws.module("http_api", **HTTP_API)["http_api"]["id"]
    gateway = aws.boto("apigatewayv2")
    try:
        gateway.create_route(ApiId=api_id, RouteKey="GET /stray")
        answer = aws.module("http_api", **HTTP_API)
        assert answer["changed"]
        assert "GET /stray" in answer["diff"]["before"]["routes"]
        keys = [route["RouteKey"] for route in gateway.get_routes(ApiId=api_id)["Items"]]
        assert "GET /stray" not in keys
    finally:
        gateway.delete_api(ApiId=api_id)


def test_two_apis_of_one_name_are_refused(aws: Any) -> None:
    gateway = aws.boto("apigatewayv2")
    ids = [gateway.create_api(Name="twins", ProtocolType="HTTP")["ApiId"] for _ in range(2)]
    try:
        answer = aws.module("http_api", fails=True, name="twins")
        assert all(api_id in answer["msg"] for api_id in ids)
    finally:
        for api_id in ids:
            gateway.delete_api(ApiId=api_id)


CONTRADICTIONS: dict[str, tuple[str, Callable[[], Params], str]] = {
    "integration": (
        "http_api",
        lambda: dict(HTTP_API, routes=[{"key": "GET /x", "integration": "none-such"}]),
        "undeclared integration 'none-such'",
    ),
    "credentials": (
        "http_api",
        lambda: dict(HTTP_API, cors={"allow_origins": ["*"], "allow_credentials": True}),
        "allow_credentials needs named origins",
    ),
    "origin": (
        "cloudfront_distribution",
        lambda: dict(
            DISTRIBUTION, default_behavior={"origin": "none-such", "cache_policy_id": CACHING_DISABLED}
        ),
        "undeclared origin 'none-such'",
    ),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_a_contradiction_is_refused_under_check_mode_already(aws: Any, case: str) -> None:
    name, params, message = CONTRADICTIONS[case]
    assert message in aws.module(name, check=True, fails=True, **params())["msg"]


def test_an_unpublished_function_stays_in_development(aws: Any) -> None:
    params = dict(FUNCTION, name="draft", publish=False)
    try:
        assert aws.module("cloudfront_function", **params)["diff"]["after"]["live"] is False
        assert aws.module("cloudfront_function", **params)["changed"] is False
        assert aws.module("cloudfront_function", **dict(params, publish=True))["changed"] is True
        assert aws.module("cloudfront_function", **params)["changed"] is False
    finally:
        aws.module("cloudfront_function", **dict(params, state="absent"))
