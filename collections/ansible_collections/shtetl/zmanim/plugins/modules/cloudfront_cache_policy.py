#!/usr/bin/python
# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: cloudfront_cache_policy
version_added: 0.1.0
short_description: Declare a CloudFront cache policy
description:
  - Creates, updates and deletes a cache policy, which says what a cached object's key is made of and how
    long the object is kept.
author: The shtetl.zmanim authors
options:
  min_ttl:
    description: Shortest time in the cache, in seconds. With 0 the origin's C(no-store) is honoured.
    type: int
    default: 0
  default_ttl:
    description: Time in the cache when the origin says nothing, in seconds.
    type: int
    default: 86400
  max_ttl:
    description: Longest time in the cache, in seconds.
    type: int
    default: 31536000
  gzip:
    description: Whether objects are cached compressed with gzip.
    type: bool
    default: true
  brotli:
    description: Whether objects are cached compressed with Brotli.
    type: bool
    default: true
  headers:
    description: Request headers in the key, which the origin gets too.
    type: dict
    default: {}
    suboptions:
      behavior:
        description: Which are taken.
        type: str
        choices: [none, whitelist]
        default: none
      names:
        description: Names that O(headers.behavior) refers to.
        type: list
        elements: str
        default: []
  cookies:
    description: Cookies in the key, which the origin gets too.
  query_strings:
    description: Query strings in the key, which the origin gets too.
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
- name: Cache answers for an hour, by query string and language
  shtetl.zmanim.cloudfront_cache_policy:
    name: zmanim-production-answers
    default_ttl: 3600
    max_ttl: 3600
    headers:
      behavior: whitelist
      names: [Accept-Language]
    query_strings:
      behavior: all
"""

RETURN = r"""
cache_policy:
  description: The cache policy. The id is empty when it does not exist.
  returned: always
  type: dict
  contains:
    id:
      description: Id.
      type: str
      sample: 2766f7b2-75c5-41c6-8f06-bf4303a2f2f5
    name:
      description: Name.
      type: str
      sample: zmanim-production
"""

from typing import Any, Dict

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.shtetl.zmanim.plugins.module_utils.cloudfront import CachePolicy, selection_option
from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import STATE, run


def argument_spec() -> Dict[str, Any]:
    return {
        "name": {"required": True},
        "state": STATE,
        "comment": {"default": ""},
        "min_ttl": {"type": "int", "default": 0},
        "default_ttl": {"type": "int", "default": 86400},
        "max_ttl": {"type": "int", "default": 31536000},
        "gzip": {"type": "bool", "default": True},
        "brotli": {"type": "bool", "default": True},
        "headers": selection_option(["none", "whitelist"]),
        "cookies": selection_option(),
        "query_strings": selection_option(),
    }


def main() -> None:
    module = AnsibleAWSModule(argument_spec=argument_spec(), supports_check_mode=True)
    run(module, CachePolicy)


if __name__ == "__main__":
    main()
