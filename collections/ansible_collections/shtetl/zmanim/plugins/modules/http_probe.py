#!/usr/bin/python
# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: http_probe
version_added: 0.1.0
short_description: Ask a list of HTTP hops once, and compare status and headers
description:
  - Sends one GET to each hop, in order, and fails when any answer differs from what is expected.
  - A hop can be asked at another address than its name resolves to, which tests a path before DNS points
    at it.
options:
  hops:
    description: The hops, in the order in which they are asked.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: What the hop is called in the table.
        type: str
        required: true
      url:
        description: The URL; its host name is sent as C(Host), and checked against the certificate.
        type: str
        required: true
      address:
        description: The address to connect to instead of what the host name resolves to.
        type: str
        default: ""
      headers:
        description: Headers to send.
        type: dict
        default: {}
      status:
        description: The statuses that are right.
        type: list
        elements: int
        default: [200]
      expect_headers:
        description: Headers that the answer must have, each with a part of its value.
        type: dict
        default: {}
      ca_file:
        description: A PEM file of the authorities to trust instead of the system's.
        type: str
        default: ""
  timeout:
    description: Seconds for each hop.
    type: int
    default: 10
extends_documentation_fragment:
  - shtetl.zmanim.attributes.info_module
author:
  - The shtetl.zmanim authors
"""

EXAMPLES = r"""
- name: Ask the front
  shtetl.zmanim.http_probe:
    hops:
      - name: front
        url: http://192.0.2.10:8080/health
"""

RETURN = r"""
rows:
  description: One row for each hop, with C(name), C(url), C(status), C(milliseconds) and C(problems).
  type: list
  elements: dict
  returned: always
table:
  description: The rows as lines of text.
  type: list
  elements: str
  returned: always
"""

from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shtetl.zmanim.plugins.module_utils.http_probe import table, walk


def options() -> Dict[str, Any]:
    hop = {
        "name": {"type": "str", "required": True},
        "url": {"type": "str", "required": True},
        "address": {"type": "str", "default": ""},
        "headers": {"type": "dict", "default": {}},
        "status": {"type": "list", "elements": "int", "default": [200]},
        "expect_headers": {"type": "dict", "default": {}},
        "ca_file": {"type": "str", "default": ""},
    }
    return {
        "hops": {"type": "list", "elements": "dict", "required": True, "options": hop},
        "timeout": {"type": "int", "default": 10},
    }


def main() -> None:
    module = AnsibleModule(argument_spec=options(), supports_check_mode=True)
    rows = walk(module.params["hops"], module.params["timeout"])
    wrong = [f"{row['name']} ({row['url']}): {'; '.join(row['problems'])}" for row in rows if row["problems"]]
    if wrong:
        module.fail_json(
            msg=f"{len(wrong)} of {len(rows)} hops: {' | '.join(wrong)}", rows=rows, table=table(rows)
        )
    module.exit_json(changed=False, rows=rows, table=table(rows))


if __name__ == "__main__":
    main()
