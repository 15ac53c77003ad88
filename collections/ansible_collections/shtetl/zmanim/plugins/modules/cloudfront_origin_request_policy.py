#!/usr/bin/python
# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: cloudfront_origin_request_policy
version_added: 0.1.0
short_description: Declare a CloudFront origin request policy
description:
  - Creates, updates and deletes an origin request policy, which says what of a viewer's request reaches
    the origin without being part of the cache key.
author: The shtetl.zmanim authors
options:
  headers:
    description: Request headers that the origin gets.
    type: dict
    default: {}
    suboptions:
      behavior:
        description: Which are taken.
        type: str
        choices: [none, whitelist, allViewer, allViewerAndWhitelistCloudFront, allExcept]
        default: none
      names:
        description: Names that O(headers.behavior) refers to.
        type: list
        elements: str
        default: []
  cookies:
    description: Cookies that the origin gets.
  query_strings:
    description: Query strings that the origin gets.
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - shtetl.zmanim.attributes
  - shtetl.zmanim.cloudfront.comment
  - shtetl.zmanim.cloudfront.name
  - shtetl.zmanim.cloudfront.selections
  - shtetl.zmanim.state
"""

EXAMPLES = r"""
- name: Pass everything but the Host on to the API
  shtetl.zmanim.cloudfront_origin_request_policy:
    name: zmanim-production-api
    headers:
      behavior: allExcept
      names: [Host]
    cookies:
      behavior: all
    query_strings:
      behavior: all
"""

RETURN = r"""
origin_request_policy:
  description: The origin request policy. The id is empty when it does not exist.
  returned: always
  type: dict
  contains:
    id:
      description: Id.
      type: str
      sample: 88a5eaf4-2fd4-4709-b370-b4c650ea3fcf
    name:
      description: Name.
      type: str
      sample: zmanim-production
"""

from typing import Any, Dict

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.shtetl.zmanim.plugins.module_utils.cloudfront import (
    OriginRequestPolicy,
    selection_option,
)
from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import STATE, run

HEADER_BEHAVIORS = ["none", "whitelist", "allViewer", "allViewerAndWhitelistCloudFront", "allExcept"]


def argument_spec() -> Dict[str, Any]:
    return {
        "name": {"required": True},
        "state": STATE,
        "comment": {"default": ""},
        "headers": selection_option(HEADER_BEHAVIORS),
        "cookies": selection_option(),
        "query_strings": selection_option(),
    }


def main() -> None:
    module = AnsibleAWSModule(argument_spec=argument_spec(), supports_check_mode=True)
    run(module, OriginRequestPolicy)


if __name__ == "__main__":
    main()
