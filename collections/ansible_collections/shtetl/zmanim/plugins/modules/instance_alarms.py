#!/usr/bin/python
# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Point the alarms that watch an instance to the instance that serves."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: instance_alarms
version_added: 0.1.0
short_description: Let CloudWatch alarms follow an instance that took over
description:
  - An alarm on an instance's metric names the instance. After a swap that is the stopped one.
  - Every metric alarm whose name begins with the prefix and that has a dimension C(InstanceId) is pointed to
    O(instance_id); all else of it stays, alarms that were added by hand included.
  - Nothing is created and nothing is deleted.
options:
  prefix:
    description: Beginning of the names of the alarms.
    type: str
    required: true
  instance_id:
    description: The instance that the alarms are to watch.
    type: str
    required: true
attributes:
  diff_mode:
    description: Shows which instance each alarm watches, before and after.
author:
  - The shtetl.zmanim authors (@shtetl)
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - shtetl.zmanim.attributes
"""

EXAMPLES = r"""
- name: Watch the instance that serves now
  shtetl.zmanim.instance_alarms:
    prefix: zmanim-production/
    instance_id: i-0123456789abcdef0
"""

RETURN = r"""
names:
  description: Names of the alarms that watch the instance.
  returned: success
  type: list
  elements: str
"""

import copy
from typing import Any, Dict, Iterator, List, Mapping, Optional

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import (
    DeclaredResource,
    State,
    call,
    pages,
    run,
)

DIMENSION = "InstanceId"


def dimensions_of(alarm: Mapping[str, Any]) -> Iterator[Dict[str, str]]:
    """Yield every dimension of an alarm, those of its metric queries included."""
    yield from alarm.get("Dimensions", [])
    for query in alarm.get("Metrics", []):
        yield from query.get("MetricStat", {}).get("Metric", {}).get("Dimensions", [])


def watched(alarm: Mapping[str, Any]) -> List[str]:
    """Return the sorted ids of the instances that an alarm watches; empty when it watches none."""
    return sorted({one["Value"] for one in dimensions_of(alarm) if one["Name"] == DIMENSION})


def pointed(alarm: Mapping[str, Any], instance_id: str, members: Mapping[str, Any]) -> State:
    """Return the PutMetricAlarm request that repeats C(alarm) but watches C(instance_id).

    C(members) are the request's fields: an alarm's description holds others too, such as its state.
    """
    request = {key: copy.deepcopy(value) for key, value in alarm.items() if key in members}
    for dimension in dimensions_of(request):
        if dimension["Name"] == DIMENSION:
            dimension["Value"] = instance_id
    return request


class InstanceAlarms(DeclaredResource):
    """The instances that the alarms with one prefix watch, by the alarm's name."""

    kind = "instance alarms"

    def __init__(self, module: Any) -> None:
        super().__init__(module)
        self.cloudwatch = module.client("cloudwatch")
        self.alarms: Dict[str, Mapping[str, Any]] = {}

    def current(self) -> Optional[State]:
        """Read which instances the alarms watch."""
        found = pages(
            f"read the alarms {self.params['prefix']}*",
            self.cloudwatch.describe_alarms,
            lambda page: page.get("MetricAlarms", []),
            AlarmNamePrefix=self.params["prefix"],
            AlarmTypes=["MetricAlarm"],
        )
        self.alarms = {alarm["AlarmName"]: alarm for alarm in found if watched(alarm)}
        return {name: watched(alarm) for name, alarm in self.alarms.items()}

    def desired(self, current: Optional[State]) -> State:
        """Return the one instance for every alarm."""
        return {name: [self.params["instance_id"]] for name in current or {}}

    def update(self, current: State, desired: State) -> None:
        """Write the alarms that watch another instance."""
        operation = self.cloudwatch.meta.service_model.operation_model("PutMetricAlarm")
        for name in desired:
            if current[name] != desired[name]:
                request = pointed(
                    self.alarms[name], self.params["instance_id"], operation.input_shape.members
                )
                call(f"write the alarm {name}", self.cloudwatch.put_metric_alarm, **request)

    def result(self) -> State:
        """Return the names."""
        return {"names": sorted(self.alarms)}


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec={
            "prefix": {"type": "str", "required": True},
            "instance_id": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    run(module, InstanceAlarms)


if __name__ == "__main__":
    main()
