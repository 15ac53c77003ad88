#!/usr/bin/python
# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declare the SNS topic of alarms and the address that it mails to."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: alarm_topic
version_added: 0.1.0
short_description: Declare an SNS topic with its e-mail subscriptions
description:
  - Keeps a topic and the e-mail addresses that are subscribed to it; each address confirms
    once, by a mail of AWS.
  - Other subscriptions are left alone.
  - Works in check mode before the topic exists, where C(community.aws.sns_topic) fails.
options:
  name:
    description: Name of the topic.
    type: str
    required: true
  emails:
    description: Addresses that are subscribed.
    type: list
    elements: str
    default: []
attributes:
  diff_mode:
    description: Shows the subscriptions before and after.
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
- name: Declare the topic of the alarms
  shtetl.zmanim.alarm_topic:
    name: zmanim-production
    emails: [operations@example.com]
"""

RETURN = r"""
arn:
  description: ARN of the topic, empty in check mode before it exists.
  returned: always
  type: str
"""

from typing import Any, Optional

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


class AlarmTopic(DeclaredResource):
    """An SNS topic and the e-mail addresses subscribed to it."""

    kind = "SNS topic"

    def __init__(self, module: Any) -> None:
        super().__init__(module)
        self.sns = module.client("sns")
        self.name: str = self.params["name"]
        self.arn = ""

    def current(self) -> Optional[State]:
        """Read the topic that has the name."""
        topics = pages("list the topics", self.sns.list_topics, lambda page: page.get("Topics", []))
        arns = [topic["TopicArn"] for topic in topics if topic["TopicArn"].split(":")[-1] == self.name]
        if not arns:
            return None
        self.arn = arns[0]
        subscriptions = pages(
            "list the subscriptions",
            self.sns.list_subscriptions_by_topic,
            lambda page: page.get("Subscriptions", []),
            TopicArn=self.arn,
        )
        return {"emails": sorted(one["Endpoint"] for one in subscriptions if one["Protocol"] == "email")}

    def desired(self, current: Optional[State]) -> State:
        """Return the declared addresses beside those that somebody else subscribed."""
        held = (current or {}).get("emails", [])
        return {"emails": sorted(set(held) | set(self.params["emails"]))}

    def create(self, desired: State) -> None:
        """Create the topic and subscribe the addresses."""
        tags = tag_list(self.params["tags"])
        answer = call(f"create the topic {self.name}", self.sns.create_topic, Name=self.name, Tags=tags)
        self.arn = answer["TopicArn"]
        self.update({"emails": []}, desired)

    def update(self, current: State, desired: State) -> None:
        """Subscribe the addresses that are missing."""
        for email in sorted(set(desired["emails"]) - set(current["emails"])):
            subscription = {"TopicArn": self.arn, "Protocol": "email", "Endpoint": email}
            call(f"subscribe {email}", self.sns.subscribe, **subscription)

    def delete(self, current: State) -> None:
        """Delete the topic with its subscriptions."""
        call(f"delete the topic {self.name}", self.sns.delete_topic, TopicArn=self.arn)

    def result(self) -> State:
        """Return the topic's ARN."""
        return {"arn": self.arn}


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": STATE,
            "emails": {"type": "list", "elements": "str", "default": []},
            "tags": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    run(module, AlarmTopic)


if __name__ == "__main__":
    main()
