# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.shtetl.zmanim.plugins.module_utils import cloudfront, cloudfront_distribution
from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import (
    DeadlineExceeded,
    DeclaredResourceError,
    reconcile,
)

ACCESS_CONTROL = {
    "name": "static",
    "description": "",
    "origin_type": "s3",
    "signing_behavior": "always",
}
LISTED = {"Marker": "", "MaxItems": 100, "IsTruncated": False, "Quantity": 0}


def test_an_access_control_that_a_distribution_uses_is_kept(stubbed: Any, fake_module: Any) -> None:
    client, stubber = stubbed("cloudfront")
    summary = {
        "Id": "E1",
        "Name": "static",
        "Description": "",
        "SigningProtocol": "sigv4",
        "SigningBehavior": "always",
        "OriginAccessControlOriginType": "s3",
    }
    listed = {"OriginAccessControlList": dict(LISTED, Quantity=1, Items=[summary])}
    config = {key: summary[key] for key in summary if key != "Id"}
    stubber.add_response("list_origin_access_controls", listed)
    stubber.add_response(
        "get_origin_access_control",
        {"OriginAccessControl": {"Id": "E1", "OriginAccessControlConfig": config}, "ETag": "t"},
        {"Id": "E1"},
    )
    stubber.add_client_error("delete_origin_access_control", "OriginAccessControlInUse", "still used", 409)
    control = cloudfront.OriginAccessControl(fake_module(client, **ACCESS_CONTROL))
    with pytest.raises(DeclaredResourceError, match="still used") as caught:
        reconcile(control, "absent", check_mode=False)
    assert caught.value.code == "OriginAccessControlInUse"
    stubber.assert_no_pending_responses()


def test_a_policy_that_vanishes_while_it_is_read_is_absent(stubbed: Any, fake_module: Any) -> None:
    client, stubber = stubbed("cloudfront")
    config = {"Name": "one", "MinTTL": 0}
    item = {
        "Type": "custom",
        "CachePolicy": {"Id": "p", "LastModifiedTime": "2026-01-01T00:00:00Z", "CachePolicyConfig": config},
    }
    listed = {"CachePolicyList": {"MaxItems": 100, "Quantity": 1, "Items": [item]}}
    stubber.add_response("list_cache_policies", listed, {"Type": "custom"})
    stubber.add_client_error("get_cache_policy", "NoSuchCachePolicy", "gone", 404)
    answer = reconcile(cloudfront.CachePolicy(fake_module(client, name="one")), "absent", check_mode=False)
    assert answer["changed"] is False
    assert answer["cache_policy"]["id"] == ""


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"frame_option": {"value": "DENY", "override": True}},
        {
            "strict_transport_security": {
                "max_age": 1,
                "include_subdomains": True,
                "preload": False,
                "override": False,
            },
            "content_type_options": {"override": True},
            "content_security_policy": {"value": "default-src 'self'", "override": True},
        },
    ],
)
def test_security_headers_survive_the_way_to_aws_and_back(state: Any) -> None:
    assert cloudfront.security_of(cloudfront.security_call(state)) == state


def document() -> dict[str, Any]:
    behavior = {
        "origin": "api",
        "viewer_protocol_policy": "redirect-to-https",
        "allowed_methods": ["GET", "HEAD"],
        "cached_methods": ["GET", "HEAD"],
        "compress": True,
        "cache_policy_id": "c",
        "origin_request_policy_id": "",
        "response_headers_policy_id": "r",
        "functions": {"viewer-request": "arn:f"},
    }
    custom = {
        "http_port": 80,
        "https_port": 443,
        "protocol_policy": "https-only",
        "ssl_protocols": ["TLSv1.2"],
        "read_timeout": 35,
        "keepalive_timeout": 5,
    }
    origin = {
        "domain_name": "x.test",
        "path": "",
        "connection_attempts": 3,
        "connection_timeout": 10,
        "custom_headers": {"x-a": "1"},
        "origin_shield_region": "eu-west-1",
        "origin_access_control_id": "",
        "custom": custom,
    }
    return {
        "comment": "one",
        "enabled": True,
        "aliases": ["a.test"],
        "default_root_object": "",
        "price_class": "PriceClass_100",
        "http_version": "http2and3",
        "ipv6": True,
        "web_acl_id": "",
        "certificate": {"acm_certificate_arn": "arn:c", "minimum_protocol_version": "TLSv1.2_2021"},
        "origins": {"api": origin, "static": dict(origin, custom={}, origin_access_control_id="E1")},
        "default_behavior": behavior,
        "behaviors": [dict(behavior, path_pattern="/b/*", functions={})],
        "error_responses": [
            {"error_code": 404, "response_code": 200, "response_page_path": "/404.html", "caching_min_ttl": 5}
        ],
        "logging": {"bucket": "l.s3.amazonaws.com", "prefix": "cdn/", "include_cookies": False},
    }


def test_a_distribution_survives_the_way_to_aws_and_back() -> None:
    config = cloudfront_distribution.config_of(document(), {"CallerReference": "1"})
    assert cloudfront_distribution.document_of(config) == document()


def test_what_the_document_does_not_cover_is_kept() -> None:
    present = {"CallerReference": "1", "Restrictions": {"GeoRestriction": {"RestrictionType": "whitelist"}}}
    config = cloudfront_distribution.config_of(document(), present)
    assert config["Restrictions"] == present["Restrictions"]
    assert config["CallerReference"] == "1"


def test_edge_functions_of_others_are_shown_as_a_difference() -> None:
    config = cloudfront_distribution.config_of(document(), {"CallerReference": "1"})
    association = {"EventType": "origin-request", "LambdaFunctionARN": "arn:l"}
    config["DefaultCacheBehavior"]["LambdaFunctionAssociations"] = cloudfront.quantity([association])
    shown = cloudfront_distribution.document_of(config)["default_behavior"]
    assert shown["lambda_functions"] == {"origin-request": "arn:l"}


def test_a_deployment_that_takes_too_long_is_an_error(
    fake_module: Any, stubbed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, _stubber = stubbed("cloudfront")
    module = fake_module(client, comment="one", wait=True, wait_timeout=1)
    distribution = cloudfront_distribution.Distribution(module)
    distribution.found = {"Id": "E1"}
    monkeypatch.setattr(distribution, "_read", lambda _id: {"Status": "InProgress"})
    with pytest.raises(
        DeadlineExceeded, match=r"distribution 'one' was not reached within 1 s; .*InProgress"
    ):
        distribution._wait_deployed()
