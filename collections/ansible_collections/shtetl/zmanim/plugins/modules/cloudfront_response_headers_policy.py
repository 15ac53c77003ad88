#!/usr/bin/python
# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: cloudfront_response_headers_policy
version_added: 0.1.0
short_description: Declare a CloudFront response headers policy
description:
  - Creates, updates and deletes a response headers policy, which says what headers CloudFront adds to its
    responses and removes from them.
  - Whether anything changed is decided by comparing the whole policy.
author: The shtetl.zmanim authors
options:
  security_headers:
    description: Security headers. None when left out.
    type: dict
    suboptions:
      override:
        description: Whether they replace the origin's own.
        type: bool
        default: true
      strict_transport_security:
        description: Strict-Transport-Security.
        type: dict
        suboptions:
          max_age:
            description: How long a browser only uses HTTPS, in seconds.
            type: int
            required: true
          include_subdomains:
            description: Whether that includes subdomains.
            type: bool
            default: false
          preload:
            description: Whether the site may be in browsers' preload lists.
            type: bool
            default: false
      content_type_options:
        description: Whether X-Content-Type-Options is C(nosniff).
        type: bool
        default: false
      frame_option:
        description: X-Frame-Options.
        type: str
        choices: [DENY, SAMEORIGIN]
      referrer_policy:
        description: Referrer-Policy.
        type: str
      content_security_policy:
        description: Content-Security-Policy.
        type: str
  cors:
    description: Cross-origin headers. None when left out.
    type: dict
    suboptions:
      allow_origins:
        description: Origins.
        type: list
        elements: str
        required: true
      allow_methods:
        description: Methods.
        type: list
        elements: str
        required: true
      allow_headers:
        description: Request headers.
        type: list
        elements: str
        required: true
      expose_headers:
        description: Response headers that a script may read.
        type: list
        elements: str
        default: []
      allow_credentials:
        description: Whether cookies and authorization may be sent.
        type: bool
        default: false
      max_age:
        description: How long a browser may keep a preflight's answer, in seconds.
        type: int
        default: 600
      override:
        description: Whether they replace the origin's own.
        type: bool
        default: true
  custom_headers:
    description: Headers with fixed values.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the header.
        type: str
        required: true
      value:
        description: Value of the header.
        type: str
        required: true
      override:
        description: Whether it replaces the origin's own.
        type: bool
        default: true
  remove_headers:
    description: Names of headers that are removed.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - shtetl.zmanim.attributes
  - shtetl.zmanim.cloudfront.comment
  - shtetl.zmanim.cloudfront.name
  - shtetl.zmanim.state
"""

EXAMPLES = r"""
- name: Send security headers with every response
  shtetl.zmanim.cloudfront_response_headers_policy:
    name: zmanim-production-security
    security_headers:
      strict_transport_security:
        max_age: 31536000
      content_type_options: true
      frame_option: DENY
      referrer_policy: strict-origin-when-cross-origin
      content_security_policy: default-src 'self'
"""

RETURN = r"""
response_headers_policy:
  description: The response headers policy. The id is empty when it does not exist.
  returned: always
  type: dict
  contains:
    id:
      description: Id.
      type: str
      sample: 57f99797-3b20-4e1b-a728-27972a74082a
    name:
      description: Name.
      type: str
      sample: zmanim-production
"""

from typing import Any, Dict

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.shtetl.zmanim.plugins.module_utils.cloudfront import ResponseHeadersPolicy
from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import STATE, run


def argument_spec() -> Dict[str, Any]:
    transport = {
        "max_age": {"type": "int", "required": True},
        "include_subdomains": {"type": "bool", "default": False},
        "preload": {"type": "bool", "default": False},
    }
    security = {
        "override": {"type": "bool", "default": True},
        "strict_transport_security": {"type": "dict", "options": transport},
        "content_type_options": {"type": "bool", "default": False},
        "frame_option": {"choices": ["DENY", "SAMEORIGIN"]},
        "referrer_policy": {},
        "content_security_policy": {},
    }
    cors = {
        "allow_origins": {"type": "list", "elements": "str", "required": True},
        "allow_methods": {"type": "list", "elements": "str", "required": True},
        "allow_headers": {"type": "list", "elements": "str", "required": True},
        "expose_headers": {"type": "list", "elements": "str", "default": []},
        "allow_credentials": {"type": "bool", "default": False},
        "max_age": {"type": "int", "default": 600},
        "override": {"type": "bool", "default": True},
    }
    custom = {
        "name": {"required": True},
        "value": {"required": True},
        "override": {"type": "bool", "default": True},
    }
    return {
        "name": {"required": True},
        "state": STATE,
        "comment": {"default": ""},
        "security_headers": {"type": "dict", "options": security},
        "cors": {"type": "dict", "options": cors},
        "custom_headers": {"type": "list", "elements": "dict", "default": [], "options": custom},
        "remove_headers": {"type": "list", "elements": "str", "default": []},
    }


def main() -> None:
    module = AnsibleAWSModule(argument_spec=argument_spec(), supports_check_mode=True)
    run(module, ResponseHeadersPolicy)


if __name__ == "__main__":
    main()
