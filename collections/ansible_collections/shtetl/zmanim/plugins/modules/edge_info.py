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

from typing import Any, Dict, Optional

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import (
    DeclaredResourceError,
    call,
    pages,
)


def find_api(client: Any, name: str) -> Optional[Dict[str, Any]]:
    for found in pages("list the HTTP APIs", client.get_apis, lambda page: page.get("Items", [])):
        if found.get("Name") == name:
            endpoint = found.get("ApiEndpoint", "")
            return {"id": found["ApiId"], "endpoint": endpoint, "host": endpoint.partition("://")[2]}
    return None


def find_distribution(client: Any, name: str) -> Optional[Dict[str, Any]]:
    marker: Dict[str, str] = {}
    while True:
        page = call("list the distributions", client.list_distributions, **marker)["DistributionList"]
        for found in page.get("Items", []):
            if found.get("Comment") == name:
                return {
                    "id": found["Id"],
                    "domain_name": found["DomainName"],
                    "aliases": found.get("Aliases", {}).get("Items", []),
                    "status": found.get("Status"),
                }
        if not page.get("IsTruncated"):
            return None
        marker = {"Marker": page["NextMarker"]}


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={"env": {"type": "str", "required": True}}, supports_check_mode=True
    )
    name = f"zmanim-{module.params['env']}"
    try:
        api = find_api(module.client("apigatewayv2"), name)
        distribution = find_distribution(module.client("cloudfront"), name)
    except DeclaredResourceError as error:
        module.fail_json(msg=error.message)
    else:
        module.exit_json(changed=False, api=api, distribution=distribution)


if __name__ == "__main__":
    main()
