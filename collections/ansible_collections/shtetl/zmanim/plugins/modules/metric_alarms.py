#!/usr/bin/python
# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declare the CloudWatch metric alarms whose names share a prefix as a set."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: metric_alarms
version_added: 0.1.0
short_description: Declare a set of CloudWatch metric alarms
description:
  - Keeps the alarms whose names begin with a prefix exactly as declared; others with the prefix are deleted.
  - All alarms are read in one call, and the diff shows every difference.
options:
  prefix:
    description: Beginning of the names of all alarms of the set.
    type: str
    required: true
  alarms:
    description: The alarms.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name after the prefix.
        type: str
        required: true
      description:
        description: What is wrong, and what to do.
        type: str
        required: true
      namespace:
        description: Namespace of the metric.
        type: str
        required: true
      metric:
        description: Name of the metric.
        type: str
        required: true
      dimensions:
        description: Dimensions of the metric.
        type: dict
        default: {}
      statistic:
        description: Statistic of a period.
        type: str
        choices: [Average, Maximum, Minimum, SampleCount, Sum]
        default: Average
      comparison:
        description: How the statistic compares with the threshold.
        type: str
        choices:
          - GreaterThanOrEqualToThreshold
          - GreaterThanThreshold
          - LessThanThreshold
          - LessThanOrEqualToThreshold
        default: GreaterThanThreshold
      threshold:
        description: Value that is compared with.
        type: float
        required: true
      period:
        description: Seconds of a period.
        type: int
        default: 60
      periods:
        description: Number of periods in a row.
        type: int
        default: 5
      missing:
        description: What a period without data counts as.
        type: str
        choices: [breaching, ignore, missing, notBreaching]
        default: missing
  actions:
    description: ARNs that are told of an alarm and of its end.
    type: list
    elements: str
    default: []
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
- name: Keep the alarms of production
  shtetl.zmanim.metric_alarms:
    prefix: zmanim-production-
    actions: ["arn:aws:sns:eu-west-1:123456789012:zmanim-production"]
    alarms:
      - name: cpu
        description: The CPU has been busy for five minutes
        namespace: AWS/EC2
        metric: CPUUtilization
        dimensions: {InstanceId: i-0123456789abcdef0}
        threshold: 80
"""

RETURN = r"""
names:
  description: Full names of the declared alarms.
  returned: always
  type: list
  elements: str
"""

from typing import Any, Dict, List, Mapping, Optional

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import (
    STATE,
    DeclaredResource,
    State,
    call,
    pages,
    run,
    tag_list,
)

COMPARISONS = [
    "GreaterThanOrEqualToThreshold",
    "GreaterThanThreshold",
    "LessThanThreshold",
    "LessThanOrEqualToThreshold",
]


def read_alarm(answer: Mapping[str, Any]) -> Dict[str, Any]:
    """Return CloudWatch's alarm as it stands in the state."""
    return {
        "actions": sorted(answer.get("AlarmActions", [])),
        "comparison": answer["ComparisonOperator"],
        "description": answer.get("AlarmDescription", ""),
        "dimensions": {one["Name"]: one["Value"] for one in answer.get("Dimensions", [])},
        "metric": answer.get("MetricName", ""),
        "missing": answer.get("TreatMissingData") or "missing",
        "namespace": answer.get("Namespace", ""),
        "ok_actions": sorted(answer.get("OKActions", [])),
        "period": answer.get("Period", 0),
        "periods": answer["EvaluationPeriods"],
        "statistic": answer.get("Statistic", ""),
        "threshold": float(answer.get("Threshold", 0)),
    }


def declared_alarm(alarm: Mapping[str, Any], actions: List[str]) -> Dict[str, Any]:
    """Return an option's alarm as it stands in the state."""
    state = {key: value for key, value in alarm.items() if key != "name"}
    state["dimensions"] = {str(key): str(value) for key, value in alarm["dimensions"].items()}
    return dict(state, actions=sorted(actions), ok_actions=sorted(actions))


def request_for(name: str, alarm: Mapping[str, Any]) -> Dict[str, Any]:
    """Return an alarm of the state in the form of CloudWatch."""
    return {
        "AlarmActions": alarm["actions"],
        "AlarmDescription": alarm["description"],
        "AlarmName": name,
        "ComparisonOperator": alarm["comparison"],
        "Dimensions": [{"Name": key, "Value": value} for key, value in sorted(alarm["dimensions"].items())],
        "EvaluationPeriods": alarm["periods"],
        "MetricName": alarm["metric"],
        "Namespace": alarm["namespace"],
        "OKActions": alarm["ok_actions"],
        "Period": alarm["period"],
        "Statistic": alarm["statistic"],
        "Threshold": alarm["threshold"],
        "TreatMissingData": alarm["missing"],
    }


class MetricAlarms(DeclaredResource):
    """Metric alarms with one prefix: full name -> alarm."""

    kind = "metric alarms"

    def __init__(self, module: Any) -> None:
        super().__init__(module)
        self.cloudwatch = module.client("cloudwatch")
        self.prefix: str = self.params["prefix"]
        self.names: List[str] = sorted(self.prefix + alarm["name"] for alarm in self.params["alarms"])

    def current(self) -> Optional[State]:
        """Read all alarms with the prefix."""
        found = pages(
            f"read the alarms {self.prefix}*",
            self.cloudwatch.describe_alarms,
            lambda page: page.get("MetricAlarms", []),
            AlarmNamePrefix=self.prefix,
            AlarmTypes=["MetricAlarm"],
        )
        return {alarm["AlarmName"]: read_alarm(alarm) for alarm in found} or None

    def desired(self, current: Optional[State]) -> State:
        """Return the declared alarms."""
        actions = self.params["actions"]
        return {
            self.prefix + alarm["name"]: declared_alarm(alarm, actions) for alarm in self.params["alarms"]
        }

    def create(self, desired: State) -> None:
        """Create all alarms."""
        self.update({}, desired)

    def update(self, current: State, desired: State) -> None:
        """Write the alarms that differ and delete those that are not declared."""
        for name, alarm in desired.items():
            if current.get(name) == alarm:
                continue
            request = request_for(name, alarm)
            if name not in current and self.params["tags"]:
                request["Tags"] = tag_list(self.params["tags"])
            call(f"write the alarm {name}", self.cloudwatch.put_metric_alarm, **request)
        self._delete(sorted(set(current) - set(desired)))

    def _delete(self, names: List[str]) -> None:
        for start in range(0, len(names), 100):
            call("delete alarms", self.cloudwatch.delete_alarms, AlarmNames=names[start : start + 100])

    def delete(self, current: State) -> None:
        """Delete all alarms with the prefix."""
        self._delete(sorted(current))

    def result(self) -> State:
        """Return the declared names."""
        return {"names": self.names}


def main() -> None:
    """Run the module."""
    alarm = {
        "name": {"type": "str", "required": True},
        "description": {"type": "str", "required": True},
        "namespace": {"type": "str", "required": True},
        "metric": {"type": "str", "required": True},
        "dimensions": {"type": "dict", "default": {}},
        "statistic": {
            "type": "str",
            "choices": ["Average", "Maximum", "Minimum", "SampleCount", "Sum"],
            "default": "Average",
        },
        "comparison": {"type": "str", "choices": COMPARISONS, "default": "GreaterThanThreshold"},
        "threshold": {"type": "float", "required": True},
        "period": {"type": "int", "default": 60},
        "periods": {"type": "int", "default": 5},
        "missing": {
            "type": "str",
            "choices": ["breaching", "ignore", "missing", "notBreaching"],
            "default": "missing",
        },
    }
    module = AnsibleAWSModule(
        argument_spec={
            "prefix": {"type": "str", "required": True},
            "state": STATE,
            "alarms": {"type": "list", "elements": "dict", "default": [], "options": alarm},
            "actions": {"type": "list", "elements": "str", "default": []},
            "tags": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    run(module, MetricAlarms)


if __name__ == "__main__":
    main()
