# SPDX-License-Identifier: GPL-3.0-or-later
"""Which URL an HTTP_PROXY integration asks."""

from __future__ import annotations

import pytest

from lab.edge.patches.http_proxy import target


@pytest.mark.parametrize(
    ("uri", "path", "variables", "expected"),
    [
        (
            "http://o:8080/api/v1/{proxy}",
            "/api/v1/places",
            {"proxy": "places"},
            "http://o:8080/api/v1/places",
        ),
        ("http://o:8080/api/v1/health", "/api/v1/health", {}, "http://o:8080/api/v1/health"),
        ("http://o:8080", "/api/v1/health", {}, "http://o:8080/api/v1/health"),
        ("http://o:8080/", "/x", {}, "http://o:8080/x"),
    ],
)
def test_a_uri_with_a_path_is_asked_as_it_is(uri: str, path: str, variables: dict, expected: str) -> None:
    assert target({"integrationUri": uri}, path, variables, {}) == expected


def test_the_query_is_passed_on() -> None:
    asked = target({"integrationUri": "http://o/health"}, "/health", {}, {"a": ["1", "2"]})
    assert asked == "http://o/health?a=1&a=2"
