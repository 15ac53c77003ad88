#!/usr/bin/python
# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: cloudfront_origin_access_control
version_added: 0.1.0
short_description: Declare a CloudFront origin access control
description:
  - Creates, updates and deletes an origin access control, with which CloudFront signs its requests to an
    origin such as a private S3 bucket.
author: The shtetl.zmanim authors
options:
  description:
    description: What it is for.
    type: str
    default: ''
  origin_type:
    description: Kind of the origin.
    type: str
    choices: [s3, lambda, mediastore, mediapackagev2]
    default: s3
  signing_behavior:
    description: When requests are signed.
    type: str
    choices: [always, never, no-override]
    default: always
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - shtetl.zmanim.attributes
  - shtetl.zmanim.cloudfront.name
  - shtetl.zmanim.state
"""

EXAMPLES = r"""
- name: Let CloudFront read the private bucket
  shtetl.zmanim.cloudfront_origin_access_control:
    name: zmanim-production-static
"""

RETURN = r"""
origin_access_control:
  description: The origin access control. The id is empty when it does not exist.
  returned: always
  type: dict
  contains:
    id:
      description: Id.
      type: str
      sample: E327GJI25M56DG
    name:
      description: Name.
      type: str
      sample: zmanim-production
"""

from typing import Any, Dict

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.shtetl.zmanim.plugins.module_utils.cloudfront import OriginAccessControl
from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import STATE, run


def argument_spec() -> Dict[str, Any]:
    return {
        "name": {"required": True},
        "state": STATE,
        "description": {"default": ""},
        "origin_type": {"choices": ["s3", "lambda", "mediastore", "mediapackagev2"], "default": "s3"},
        "signing_behavior": {"choices": ["always", "never", "no-override"], "default": "always"},
    }


def main() -> None:
    module = AnsibleAWSModule(argument_spec=argument_spec(), supports_check_mode=True)
    run(module, OriginAccessControl)


if __name__ == "__main__":
    main()
