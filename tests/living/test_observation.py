# SPDX-License-Identifier: GPL-3.0-or-later
"""What the machine tells of itself arrives: metrics and logs, from an agent that stays up."""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any

import pytest

from tests.living.production import Production, eventually

pytestmark = pytest.mark.living
AGENT = "amazon-cloudwatch-agent.service"
WANTED = {("cpu_usage_active", None), ("mem_used_percent", None)} | {
    ("disk_used_percent", path) for path in ("/", "/data")
}


def metrics(production: Production) -> set[tuple[str, str | None]]:
    """Names of the serving machine's metrics, with the path of those that have one."""
    pages = production.operator.client("cloudwatch").get_paginator("list_metrics")
    machine = [{"Name": "InstanceId", "Value": production.machine()}]
    found = [
        one for page in pages.paginate(Namespace="Zmanim", Dimensions=machine) for one in page["Metrics"]
    ]
    labels = [
        (one["MetricName"], {each["Name"]: each["Value"] for each in one["Dimensions"]}) for one in found
    ]
    return {(name, label.get("path")) for name, label in labels if label.get("Environment") == "lab"}


def messages(production: Production, name: str) -> list[str]:
    """What the serving machine has written to a log group."""
    logs = production.operator.client("logs")
    group: dict[str, Any] = {"logGroupName": f"/zmanim/lab/{name}", "logStreamNames": [production.machine()]}
    try:
        pages = logs.get_paginator("filter_log_events").paginate(**group)
        return [event["message"] for page in pages for event in page["events"]]
    except logs.exceptions.ResourceNotFoundException:
        return []


def test_metrics_of_the_machine_arrive(production: Production) -> None:
    eventually(lambda: metrics(production), lambda found: found >= WANTED, 150)


def test_what_the_api_and_the_front_log_arrives(production: Production) -> None:
    mark = str(uuid.uuid4())
    assert production.operator.viewer().ask("GET", f"/api/v1/writes/{mark}")[0] == 404
    for group in ("api", "front"):
        eventually(
            partial(messages, production, group), lambda found: any(mark in message for message in found)
        )


def test_the_agent_stays_up(production: Production) -> None:
    show = ("systemctl", "show", AGENT, "--property=ActiveState,NRestarts")
    found = production.operator.on_machine(production.machine(), *show)
    assert sorted(found.split()) == ["ActiveState=active", "NRestarts=0"]
