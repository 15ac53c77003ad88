# SPDX-License-Identifier: GPL-3.0-or-later
"""Alarms follow the machine that took over, and stay as they are otherwise."""

from __future__ import annotations

from typing import Any

import boto3

OLD, NEW = "i-00000000000000001", "i-00000000000000002"
SET = {"prefix": "zmanim-unit/"}


def alarm(name: str, **what: Any) -> dict[str, Any]:
    request = {
        "AlarmName": name,
        "AlarmDescription": "kept",
        "ComparisonOperator": "GreaterThanThreshold",
        "Threshold": 80.0,
        "EvaluationPeriods": 3,
        "AlarmActions": ["arn:aws:sns:eu-west-1:123456789012:zmanim-unit"],
        "TreatMissingData": "breaching",
        **what,
    }
    boto3.client("cloudwatch").put_metric_alarm(**request)
    return request


def plain(name: str, instance: str) -> dict[str, Any]:
    dimensions = [{"Name": "InstanceId", "Value": instance}]
    return alarm(
        name, Namespace="AWS/EC2", MetricName="CPUUtilization", Statistic="Average", Period=60,
        Dimensions=dimensions,
    )  # fmt: skip


def found(name: str) -> dict[str, Any]:
    alarms = boto3.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
    assert len(alarms) == 1
    return dict(alarms[0])


def test_alarms_of_the_prefix_follow_and_keep_the_rest(aws: Any) -> None:
    declared = plain("zmanim-unit/cpu", OLD)
    plain("somebody-elses/cpu", OLD)
    alarm(
        "zmanim-unit/health", Namespace="AWS/Route53", MetricName="HealthCheckStatus", Statistic="Minimum",
        Period=60, Dimensions=[{"Name": "HealthCheckId", "Value": "h"}],
    )  # fmt: skip
    predicted = aws("instance_alarms", check=True, instance_id=NEW, **SET)
    assert found("zmanim-unit/cpu")["Dimensions"][0]["Value"] == OLD, "check mode has written"
    done = aws("instance_alarms", instance_id=NEW, **SET)
    assert done["changed"]
    assert done["diff"] == predicted["diff"]
    assert done["diff"]["before"] == {"zmanim-unit/cpu": [OLD]}
    assert done["diff"]["after"] == {"zmanim-unit/cpu": [NEW]}
    after = found("zmanim-unit/cpu")
    expected = {**declared, "Dimensions": [{"Name": "InstanceId", "Value": NEW}]}
    assert {key: after[key] for key in expected} == expected
    assert found("somebody-elses/cpu")["Dimensions"][0]["Value"] == OLD
    assert found("zmanim-unit/health")["Dimensions"][0]["Value"] == "h"
    assert not aws("instance_alarms", instance_id=NEW, **SET)["changed"]


def test_an_alarm_on_a_metric_query_follows_too(aws: Any) -> None:
    metric = {
        "Namespace": "AWS/EC2",
        "MetricName": "CPUUtilization",
        "Dimensions": [{"Name": "InstanceId", "Value": OLD}],
    }
    alarm(
        "zmanim-unit/query",
        Metrics=[
            {"Id": "m", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "p99"}, "ReturnData": True}
        ],
    )
    assert aws("instance_alarms", instance_id=NEW, **SET)["changed"]
    query = found("zmanim-unit/query")["Metrics"][0]["MetricStat"]
    assert query["Metric"]["Dimensions"] == [{"Name": "InstanceId", "Value": NEW}]
    assert query["Stat"] == "p99"


def test_without_alarms_there_is_nothing_to_do(aws: Any) -> None:
    answer = aws("instance_alarms", instance_id=NEW, **SET)
    assert (answer["changed"], answer["names"]) == (False, [])
