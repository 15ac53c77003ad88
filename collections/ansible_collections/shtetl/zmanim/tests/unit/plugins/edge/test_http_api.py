# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.shtetl.zmanim.plugins.module_utils import http_api
from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import (
    DeclaredResourceError,
    reconcile,
)

STAGE = {
    "name": "$default",
    "auto_deploy": True,
    "detailed_metrics": False,
    "variables": {},
    "access_log": None,
    "throttling_rate_limit": None,
    "throttling_burst_limit": None,
}
PARAMS: dict[str, Any] = {
    "name": "one",
    "description": "",
    "disable_execute_api_endpoint": False,
    "cors": None,
    "authorizers": [],
    "integrations": [],
    "routes": [],
    "stage": STAGE,
    "tags": None,
    "purge_tags": True,
    "wait_timeout": 1,
}


def test_a_refused_list_is_told_with_its_code(stubbed: Any, fake_module: Any) -> None:
    client, stubber = stubbed("apigatewayv2")
    stubber.add_client_error("get_apis", "AccessDeniedException", "no right to do so", 403)
    with pytest.raises(
        DeclaredResourceError, match=r"could not list the HTTP APIs: .*no right to do so"
    ) as caught:
        reconcile(http_api.HttpApi(fake_module(client, **PARAMS)), "present", check_mode=False)
    assert caught.value.code == "AccessDeniedException"
    stubber.assert_no_pending_responses()


def test_check_mode_reads_and_writes_nothing(stubbed: Any, fake_module: Any) -> None:
    client, stubber = stubbed("apigatewayv2")
    stubber.add_response("get_apis", {"Items": []})
    answer = reconcile(http_api.HttpApi(fake_module(client, **PARAMS)), "present", check_mode=True)
    assert answer["changed"] is True
    assert answer["http_api"]["id"] == ""
    stubber.assert_no_pending_responses()


def test_apis_beyond_the_first_page_are_found(stubbed: Any, fake_module: Any) -> None:
    client, stubber = stubbed("apigatewayv2")
    other = {"ApiId": "o", "Name": "other", "ProtocolType": "HTTP", "RouteSelectionExpression": "x"}
    stubber.add_response("get_apis", {"Items": [other], "NextToken": "more"})
    stubber.add_response("get_apis", {"Items": [dict(other, ApiId="f", Name="one")]}, {"NextToken": "more"})
    for operation in ("get_authorizers", "get_integrations", "get_routes"):
        stubber.add_response(operation, {"Items": []}, {"ApiId": "f"})
    stubber.add_response("get_tags", {"Tags": {}}, {"ResourceArn": "arn:aws:apigateway:eu-west-1::/apis/f"})
    stubber.add_client_error("get_stage", "NotFoundException", "no stage", 404)
    stubber.add_response("delete_api", {}, {"ApiId": "f"})
    answer = reconcile(http_api.HttpApi(fake_module(client, **PARAMS)), "absent", check_mode=False)
    assert answer["changed"] is True
    stubber.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            {"AllowOrigins": ["https://A.test"], "AllowMethods": ["get"], "AllowHeaders": ["X-A", "b"]},
            {
                "AllowOrigins": ["https://a.test"],
                "AllowMethods": ["GET"],
                "AllowHeaders": ["B", "x-a"],
                "MaxAge": 0,
            },
        ),
        (None, {}),
    ],
)
def test_cors_is_compared_as_api_gateway_keeps_it(one: Any, other: Any) -> None:
    assert http_api.cors_of(one) == http_api.cors_of(other)


def test_a_mapping_that_goes_is_emptied() -> None:
    integration = {
        "type": "HTTP_PROXY",
        "uri": "http://x",
        "method": "ANY",
        "timeout_ms": 29000,
        "connection_type": "INTERNET",
        "connection_id": "",
        "request_parameters": {"overwrite:header.A": "1"},
    }
    current = {"request_parameters": {"overwrite:header.B": "2"}}
    call = http_api.integration_call("api", integration, current)
    assert call["RequestParameters"] == {"overwrite:header.A": "1", "overwrite:header.B": ""}
    assert "ConnectionId" not in call


def test_a_log_groups_star_makes_no_difference() -> None:
    arn = "arn:aws:logs:eu-west-1:1:log-group:/x"
    assert http_api.access_log_of(arn + ":*", "f\n") == http_api.access_log_of(arn, "f")


def test_integrations_without_a_usable_name_are_known_by_their_id() -> None:
    items = [
        {"IntegrationId": "1", "Description": "api"},
        {"IntegrationId": "2", "Description": "api"},
        {"IntegrationId": "3"},
    ]
    assert http_api.named_integrations(items) == {"api": "1", "2": "2", "3": "3"}


def test_limits_left_open_are_the_current_ones() -> None:
    stage = http_api.wanted_stage(dict(STAGE, throttling_rate_limit=5.0), [], {"throttling_burst_limit": 9})
    assert (stage["throttling_rate_limit"], stage["throttling_burst_limit"]) == (5.0, 9)


def test_a_failed_deployment_is_an_error(stubbed: Any, fake_module: Any) -> None:
    client, stubber = stubbed("apigatewayv2")
    api = http_api.HttpApi(fake_module(client, **PARAMS))
    api.api = {"ApiId": "f"}
    failed = {
        "DeploymentStatus": "FAILED",
        "DeploymentStatusMessage": "no integration",
        "CreatedDate": "2026-01-01T00:00:00Z",
    }
    stubber.add_response("get_deployments", {"Items": [failed]})
    with pytest.raises(DeclaredResourceError, match="the deployment failed: no integration"):
        api._wait_deployed()
