#!/usr/bin/python
# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: cloudfront_function
version_added: 0.1.0
short_description: Declare a CloudFront function
description:
  - Creates, updates, publishes and deletes a CloudFront function, found by its name.
author: The shtetl.zmanim authors
options:
  code:
    description: The function's JavaScript. Required when O(state=present).
    type: str
  runtime:
    description: Runtime.
    type: str
    choices: [cloudfront-js-1.0, cloudfront-js-2.0]
    default: cloudfront-js-2.0
  publish:
    description: Whether the code is published to the live stage, which distributions use.
    type: bool
    default: true
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
- name: Route the paths of the single-page application
  shtetl.zmanim.cloudfront_function:
    name: zmanim-production-pages
    code: "{{ lookup('ansible.builtin.file', 'pages.js') }}"
"""

RETURN = r"""
function:
  description: The function. The ARN is empty when it does not exist.
  returned: always
  type: dict
  contains:
    name:
      description: Name.
      type: str
      sample: zmanim-production-pages
    arn:
      description: ARN for a distribution's behaviors.
      type: str
      sample: arn:aws:cloudfront::123456789012:function/zmanim-production-pages
"""

from typing import Any, Dict

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.shtetl.zmanim.plugins.module_utils.cloudfront import Function
from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import STATE, run


def argument_spec() -> Dict[str, Any]:
    return {
        "name": {"required": True},
        "state": STATE,
        "comment": {"default": ""},
        "code": {},
        "runtime": {"choices": ["cloudfront-js-1.0", "cloudfront-js-2.0"], "default": "cloudfront-js-2.0"},
        "publish": {"type": "bool", "default": True},
    }


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec=argument_spec(),
        supports_check_mode=True,
        required_if=[("state", "present", ["code"])],
    )
    run(module, Function)


if __name__ == "__main__":
    main()
