#!/usr/bin/python
# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: cloudfront_distribution
version_added: 0.1.0
short_description: Declare a CloudFront distribution as one document
description:
  - Creates, updates and deletes a distribution with its origins, cache behaviors, aliases and certificate.
  - The comment is the distribution's name and must be unique in the account.
  - What the options cover is replaced as a whole; settings that they do not cover, such as geographic
    restrictions, are kept. Trusted key groups and Lambda@Edge associations can't be declared and are removed.
author: The shtetl.zmanim authors
options:
  comment:
    description: Comment, by which the distribution is found.
    type: str
    required: true
  state:
    description: Whether the distribution exists. It is disabled before it is deleted, which takes minutes.
  enabled:
    description: Whether the distribution answers requests.
    type: bool
    default: true
  aliases:
    description: Names of its own. AWS accepts them only with a certificate that covers them.
    type: list
    elements: str
    default: []
  default_root_object:
    description: Object that answers the root URL.
    type: str
    default: ''
  price_class:
    description: Which edge locations are used.
    type: str
    choices: [PriceClass_100, PriceClass_200, PriceClass_All]
    default: PriceClass_100
  http_version:
    description: Highest HTTP versions.
    type: str
    choices: [http1.1, http2, http3, http2and3]
    default: http2and3
  ipv6:
    description: Whether viewers can use IPv6.
    type: bool
    default: true
  web_acl_id:
    description: ARN of a web ACL.
    type: str
    default: ''
  acm_certificate_arn:
    description: ARN of the certificate, in us-east-1. CloudFront's own when empty.
    type: str
    default: ''
  minimum_protocol_version:
    description: Security policy for viewers; without effect on CloudFront's own certificate.
    type: str
    default: TLSv1.2_2021
  origins:
    description: Origins. Required when O(state=present).
    type: list
    elements: dict
    default: []
    suboptions:
      id:
        description: Name, which behaviors refer to.
        type: str
        required: true
      type:
        description: Whether the origin is an S3 bucket or a web server.
        type: str
        choices: [s3, custom]
        default: custom
      domain_name:
        description: Host of the origin.
        type: str
        required: true
      path:
        description: Path put before every request's.
        type: str
        default: ''
      origin_access_control_id:
        description: Id of the origin access control that requests are signed with.
        type: str
        default: ''
      origin_shield_region:
        description: Region of the origin shield; none when empty.
        type: str
        default: ''
      connection_attempts:
        description: How often a connection is tried (1 to 3).
        type: int
        default: 3
      connection_timeout:
        description: How long a connection may take, in seconds (1 to 10).
        type: int
        default: 10
      custom_headers:
        description: Headers that CloudFront adds to its requests. The values are never shown.
        type: dict
        default: {}
      http_port:
        description: Port for HTTP. Web servers only.
        type: int
        default: 80
      https_port:
        description: Port for HTTPS. Web servers only.
        type: int
        default: 443
      protocol_policy:
        description: How the origin is reached. Web servers only.
        type: str
        choices: [http-only, https-only, match-viewer]
        default: https-only
      ssl_protocols:
        description: TLS versions. Web servers only.
        type: list
        elements: str
        choices: [SSLv3, TLSv1, TLSv1.1, TLSv1.2]
        default: [TLSv1.2]
      read_timeout:
        description: How long an answer may take, in seconds. Web servers only.
        type: int
        default: 30
      keepalive_timeout:
        description: How long an idle connection is kept, in seconds. Web servers only.
        type: int
        default: 5
  default_behavior:
    description: What happens to requests that no other behavior matches. Required when O(state=present).
    type: dict
    suboptions: &behavior
      origin:
        description: Id of the origin.
        type: str
        required: true
      viewer_protocol_policy:
        description: What happens to plain HTTP.
        type: str
        choices: [allow-all, https-only, redirect-to-https]
        default: redirect-to-https
      allowed_methods:
        description: Methods that are passed on.
        type: list
        elements: str
        default: [GET, HEAD]
      cached_methods:
        description: Methods whose answers are cached.
        type: list
        elements: str
        default: [GET, HEAD]
      compress:
        description: Whether CloudFront compresses answers.
        type: bool
        default: true
      cache_policy_id:
        description: Id of the cache policy.
        type: str
        required: true
      origin_request_policy_id:
        description: Id of the origin request policy.
        type: str
        default: ''
      response_headers_policy_id:
        description: Id of the response headers policy.
        type: str
        default: ''
      functions:
        description: CloudFront functions.
        type: list
        elements: dict
        default: []
        suboptions:
          event_type:
            description: When it runs.
            type: str
            choices: [viewer-request, viewer-response]
            required: true
          arn:
            description: ARN of the function.
            type: str
            required: true
  behaviors:
    description: What happens to requests by path, in this order.
    type: list
    elements: dict
    default: []
    suboptions:
      <<: *behavior
      path_pattern:
        description: Path pattern, such as C(/assets/*).
        type: str
        required: true
  error_responses:
    description: What is answered instead of an origin's error.
    type: list
    elements: dict
    default: []
    suboptions:
      error_code:
        description: Status from the origin.
        type: int
        required: true
      response_code:
        description: Status for the viewer; with O(error_responses[].response_page_path).
        type: int
        default: 0
      response_page_path:
        description: Page for the viewer; the origin's when empty.
        type: str
        default: ''
      caching_min_ttl:
        description: How long the error is cached, in seconds.
        type: int
        default: 10
  logging:
    description: Standard log. None when left out.
    type: dict
    suboptions:
      bucket:
        description: Domain name of the bucket.
        type: str
        required: true
      prefix:
        description: Prefix of the objects.
        type: str
        default: ''
      include_cookies:
        description: Whether cookies are logged.
        type: bool
        default: false
  wait:
    description: Whether to wait until a change has reached the edge. A deletion always waits.
    type: bool
    default: true
  wait_timeout:
    description: How long to wait, in seconds.
    type: int
    default: 1200
attributes:
  diff_mode:
    description: Shows the normalised document before and after; values of custom headers are hidden.
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - amazon.aws.tags
  - shtetl.zmanim.attributes
  - shtetl.zmanim.state
"""

EXAMPLES = r"""
- name: Serve a private bucket
  shtetl.zmanim.cloudfront_distribution:
    comment: zmanim-production
    aliases: [zmanim.example]
    acm_certificate_arn: arn:aws:acm:us-east-1:123456789012:certificate/0123abcd
    default_root_object: index.html
    origins:
      - id: static
        type: s3
        domain_name: zmanim-static-production.s3.eu-west-1.amazonaws.com
        origin_access_control_id: E327GJI25M56DG
        origin_shield_region: eu-west-1
    default_behavior:
      origin: static
      cache_policy_id: 658327ea-f89d-4fab-a63d-7e88639e58f6

- name: Disable and delete the distribution
  shtetl.zmanim.cloudfront_distribution:
    comment: zmanim-production
    state: absent
"""

RETURN = r"""
distribution:
  description: Identifiers of the distribution. Empty strings when it does not exist.
  returned: always
  type: dict
  contains:
    id:
      description: Id.
      type: str
      sample: E1A2B3C4D5E6F7
    arn:
      description: ARN, for a bucket's policy.
      type: str
      sample: arn:aws:cloudfront::123456789012:distribution/E1A2B3C4D5E6F7
    domain_name:
      description: Domain name.
      type: str
      sample: d111111abcdef8.cloudfront.net
    status:
      description: Whether the last change has reached the edge.
      type: str
      sample: Deployed
"""

from typing import Any, Dict

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.shtetl.zmanim.plugins.module_utils.cloudfront_distribution import Distribution
from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import STATE, run


def origin_options() -> Dict[str, Any]:
    return {
        "id": {"required": True},
        "type": {"choices": ["s3", "custom"], "default": "custom"},
        "domain_name": {"required": True},
        "path": {"default": ""},
        "origin_access_control_id": {"default": ""},
        "origin_shield_region": {"default": ""},
        "connection_attempts": {"type": "int", "default": 3},
        "connection_timeout": {"type": "int", "default": 10},
        "custom_headers": {"type": "dict", "default": {}, "no_log": True},
        "http_port": {"type": "int", "default": 80},
        "https_port": {"type": "int", "default": 443},
        "protocol_policy": {"choices": ["http-only", "https-only", "match-viewer"], "default": "https-only"},
        "ssl_protocols": {
            "type": "list",
            "elements": "str",
            "choices": ["SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2"],
            "default": ["TLSv1.2"],
        },
        "read_timeout": {"type": "int", "default": 30},
        "keepalive_timeout": {"type": "int", "default": 5},
    }


def behavior_options(**more: Any) -> Dict[str, Any]:
    function = {
        "event_type": {"choices": ["viewer-request", "viewer-response"], "required": True},
        "arn": {"required": True},
    }
    return dict(
        origin={"required": True},
        viewer_protocol_policy={
            "choices": ["allow-all", "https-only", "redirect-to-https"],
            "default": "redirect-to-https",
        },
        allowed_methods={"type": "list", "elements": "str", "default": ["GET", "HEAD"]},
        cached_methods={"type": "list", "elements": "str", "default": ["GET", "HEAD"]},
        compress={"type": "bool", "default": True},
        cache_policy_id={"required": True},
        origin_request_policy_id={"default": ""},
        response_headers_policy_id={"default": ""},
        functions={"type": "list", "elements": "dict", "default": [], "options": function},
        **more,
    )


def argument_spec() -> Dict[str, Any]:
    error_response = {
        "error_code": {"type": "int", "required": True},
        "response_code": {"type": "int", "default": 0},
        "response_page_path": {"default": ""},
        "caching_min_ttl": {"type": "int", "default": 10},
    }
    logging = {
        "bucket": {"required": True},
        "prefix": {"default": ""},
        "include_cookies": {"type": "bool", "default": False},
    }
    behaviors = behavior_options(path_pattern={"required": True})
    return {
        "comment": {"required": True},
        "state": STATE,
        "enabled": {"type": "bool", "default": True},
        "aliases": {"type": "list", "elements": "str", "default": []},
        "default_root_object": {"default": ""},
        "price_class": {
            "choices": ["PriceClass_100", "PriceClass_200", "PriceClass_All"],
            "default": "PriceClass_100",
        },
        "http_version": {"choices": ["http1.1", "http2", "http3", "http2and3"], "default": "http2and3"},
        "ipv6": {"type": "bool", "default": True},
        "web_acl_id": {"default": ""},
        "acm_certificate_arn": {"default": ""},
        "minimum_protocol_version": {"default": "TLSv1.2_2021"},
        "origins": {"type": "list", "elements": "dict", "default": [], "options": origin_options()},
        "default_behavior": {"type": "dict", "options": behavior_options()},
        "behaviors": {"type": "list", "elements": "dict", "default": [], "options": behaviors},
        "error_responses": {"type": "list", "elements": "dict", "default": [], "options": error_response},
        "logging": {"type": "dict", "options": logging},
        "tags": {"type": "dict", "aliases": ["resource_tags"]},
        "purge_tags": {"type": "bool", "default": True},
        "wait": {"type": "bool", "default": True},
        "wait_timeout": {"type": "int", "default": 1200},
    }


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec=argument_spec(),
        supports_check_mode=True,
        required_if=[("state", "present", ["origins", "default_behavior"])],
    )
    run(module, Distribution)


if __name__ == "__main__":
    main()
