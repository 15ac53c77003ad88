#!/usr/bin/python
# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declare the CloudWatch log groups under one prefix as a set."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: log_groups
version_added: 0.1.0
short_description: Declare a set of CloudWatch log groups
description:
  - Keeps the named log groups under a prefix, all with the same retention, and reads them in one call.
  - Log groups under the prefix that are not named are left alone; they hold evidence.
  - With I(state=absent) and no names, every log group under the prefix is deleted.
options:
  prefix:
    description: Beginning of the names, ending with a slash.
    type: str
    required: true
  names:
    description: Names below the prefix.
    type: list
    elements: str
    default: []
  retention_days:
    description: Days that entries are kept, one of the values that CloudWatch accepts.
    type: int
    default: 30
author:
  - The shtetl.zmanim authors (@shtetl)
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - shtetl.zmanim.attributes
  - shtetl.zmanim.state
  - shtetl.zmanim.tags.initial
"""

EXAMPLES = r"""
- name: Keep the log groups of production
  shtetl.zmanim.log_groups:
    prefix: /zmanim/production/
    names: [api, front, postgresql]
    retention_days: 30
"""

RETURN = r"""
names:
  description: Full names of the declared log groups.
  returned: always
  type: list
  elements: str
"""

from typing import Any, Dict, List, Optional

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import (
    STATE,
    DeclaredResource,
    State,
    call,
    pages,
    run,
)

NEXT = ("nextToken", lambda page: page.get("nextToken"))


class LogGroups(DeclaredResource):
    """Log groups under one prefix: full name -> retention in days."""

    kind = "log groups"

    def __init__(self, module: Any) -> None:
        super().__init__(module)
        self.logs = module.client("logs")
        self.prefix: str = self.params["prefix"]
        self.names: List[str] = sorted(self.prefix + name for name in self.params["names"])

    def current(self) -> Optional[State]:
        """Read the declared log groups that exist, or all under the prefix when none is declared."""
        found = pages(
            f"read the log groups under {self.prefix}",
            self.logs.describe_log_groups,
            lambda page: page["logGroups"],
            NEXT,
            logGroupNamePrefix=self.prefix,
        )
        state = {
            group["logGroupName"]: group.get("retentionInDays", 0)
            for group in found
            if not self.names or group["logGroupName"] in self.names
        }
        return state or None

    def desired(self, current: Optional[State]) -> State:
        """Return the declared log groups."""
        return dict.fromkeys(self.names, self.params["retention_days"])

    def create(self, desired: State) -> None:
        """Create all log groups."""
        self.update({}, desired)

    def update(self, current: State, desired: State) -> None:
        """Create what is missing and set the retention."""
        tags: Dict[str, Any] = {"tags": self.params["tags"]} if self.params["tags"] else {}
        for name in sorted(set(desired) - set(current)):
            call(f"create the log group {name}", self.logs.create_log_group, logGroupName=name, **tags)
        for name, days in desired.items():
            if current.get(name) != days:
                group = {"logGroupName": name, "retentionInDays": days}
                call(f"set the retention of {name}", self.logs.put_retention_policy, **group)

    def delete(self, current: State) -> None:
        """Delete the log groups."""
        for name in sorted(current):
            call(
                f"delete the log group {name}",
                self.logs.delete_log_group,
                missing=("ResourceNotFoundException",),
                logGroupName=name,
            )

    def result(self) -> State:
        """Return the declared names."""
        return {"names": self.names}


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec={
            "prefix": {"type": "str", "required": True},
            "names": {"type": "list", "elements": "str", "default": []},
            "state": STATE,
            "retention_days": {"type": "int", "default": 30},
            "tags": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    run(module, LogGroups)


if __name__ == "__main__":
    main()
