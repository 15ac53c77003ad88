#!/usr/bin/python
# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: edge_info
version_added: 0.1.0
short_description: Find an environment's HTTP API and CloudFront distribution
description:
  - Finds the HTTP API by its name and the distribution by its comment, which are both C(zmanim-<env>).
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - shtetl.zmanim.attributes.info_module
  - shtetl.zmanim.environment
author:
  - The shtetl.zmanim authors
"""

EXAMPLES = r"""
- name: Find the edge
  shtetl.zmanim.edge_info:
    env: production
  register: edge
"""

RETURN = r"""
api:
  description: The HTTP API, with C(id), C(endpoint) and C(host); null when there is none.
  type: dict
  returned: always
distribution:
  description: The distribution, with C(id), C(domain_name), C(aliases) and C(status); null when there is
    none.
  type: dict
  returned: always
"""

from typing import Any, Dict

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import (
    DeclaredResourceError,
)
from ansible_collections.shtetl.zmanim.plugins.module_utils.named_resources import distributions, http_apis


def api_facts(api: Dict[str, Any]) -> Dict[str, Any]:
    endpoint = api.get("ApiEndpoint", "")
    return {"id": api["ApiId"], "endpoint": endpoint, "host": endpoint.partition("://")[2]}


def distribution_facts(distribution: Dict[str, Any]) -> Dict[str, Any]:
    return {
        "id": distribution["Id"],
        "domain_name": distribution["DomainName"],
        "aliases": distribution.get("Aliases", {}).get("Items", []),
        "status": distribution.get("Status"),
    }


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={"env": {"type": "str", "required": True}}, supports_check_mode=True
    )
    name = f"zmanim-{module.params['env']}"
    try:
        apis = [api_facts(one) for one in http_apis(module.client("apigatewayv2"), name)]
        found = [distribution_facts(one) for one in distributions(module.client("cloudfront"), name)]
    except DeclaredResourceError as error:
        module.fail_json(msg=error.message)
    else:
        module.exit_json(changed=False, api=next(iter(apis), None), distribution=next(iter(found), None))


if __name__ == "__main__":
    main()
