# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules create, modify, delete, each twice and first in check mode, which writes nothing."""

from __future__ import annotations

from typing import Any

import pytest

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}


def policy(action: str) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}]}


ALARM = {
    "name": "cpu",
    "description": "busy",
    "namespace": "AWS/EC2",
    "metric": "CPUUtilization",
    "dimensions": {"InstanceId": "i-1"},
    "threshold": 80,
}
ORIGIN = {"name": "origin.zmanim.example", "type": "A", "ttl": 60, "values": ["203.0.113.7"]}
SITE = {"name": "zmanim.example", "type": "A", "alias": {"domain": "d1.cloudfront.net"}}

# module, what it is called by, the first declaration, what the second has differently, extras of the deletion
CASES = [
    (
        "service_role",
        {"name": "machine"},
        {
            "trust": TRUST,
            "policies": {"a": policy("s3:GetObject")},
            "instance_profile": True,
            "tags": {"k": "1"},
        },
        {"policies": {"b": policy("s3:PutObject")}, "description": "other", "tags": {"k": "2"}},
        {},
    ),
    (
        "private_bucket",
        {"name": "zmanim-backups-unit"},
        {"versioning": True, "lifecycle_rules": [{"id": "old", "noncurrent_days": 30}], "tags": {"k": "1"}},
        {"lifecycle_rules": [{"id": "old", "noncurrent_days": 7, "abort_multipart_days": 3}], "tags": {}},
        {"empty": True},
    ),
    (
        "ssm_parameters",
        {"path": "/zmanim/unit"},
        {
            "generated": [{"name": "jwt-secret"}],
            "values": [{"name": "config", "value": "1"}],
            "secrets": [{"name": "resend-api-key", "secret": "first-planted"}],
        },
        {
            "values": [{"name": "config", "value": "2"}],
            "secrets": [{"name": "resend-api-key", "secret": "second-planted"}],
        },
        {"generated": [], "values": [], "secrets": []},
    ),
    (
        "elastic_ip",
        {"name": "zmanim-unit"},
        {"tags": {"k": "1"}},
        {"tags": {"k": "2"}},
        {},
    ),
    (
        "launch_template",
        {"name": "zmanim-unit"},
        {
            "instance_type": "m7g.medium",
            "instance_profile": "p",
            "security_group_ids": ["sg-1"],
            "user_data": "A=1\n",
        },
        {"instance_type": "m7g.large", "user_data": "A=2\n"},
        {},
    ),
    (
        "hosted_zone",
        {"name": "zmanim.example"},
        {"records": [ORIGIN], "tags": {"k": "1"}, "comment": "one"},
        {"records": [dict(ORIGIN, ttl=30), SITE], "comment": "two"},
        {"records": []},
    ),
    (
        "log_groups",
        {"prefix": "/zmanim/unit/"},
        {"names": ["api", "front"], "retention_days": 30},
        {"names": ["api", "front", "boot"], "retention_days": 7},
        {"names": []},
    ),
    (
        "metric_alarms",
        {"prefix": "zmanim-unit/"},
        {"alarms": [ALARM]},
        {"alarms": [dict(ALARM, threshold=90), dict(ALARM, name="other")]},
        {"alarms": []},
    ),
    (
        "alarm_topic",
        {"name": "zmanim-unit"},
        {"emails": ["one@example.com"]},
        {"emails": ["one@example.com", "two@example.com"]},
        {},
    ),
    (
        "oidc_provider",
        {"url": "https://token.actions.githubusercontent.com"},
        {"tags": {"k": "1"}},
        {"tags": {"k": "2"}},
        {},
    ),
]


@pytest.mark.parametrize(("name", "key", "first", "second", "end"), CASES, ids=[case[0] for case in CASES])
def test_each_step_changes_once_and_check_mode_writes_nothing(
    aws: Any, name: str, key: dict, first: dict, second: dict, end: dict
) -> None:
    declared = {**key, **first}
    modified = {**declared, **second}
    for wanted in (declared, modified, {**modified, **end, "state": "absent"}):
        predicted = aws(name, check=True, **wanted)
        assert predicted["changed"], f"{name}: nothing to do for {wanted}"
        assert aws(name, check=True, **wanted)["changed"], "check mode has written"
        done = aws(name, **wanted)
        assert done["changed"]
        assert done["diff"] == predicted["diff"], "check mode has announced something else"
        again = aws(name, **wanted)
        assert not again["changed"], again["diff"]
        assert not aws(name, check=True, **wanted)["changed"]


def test_the_mail_identity_is_created_once(aws: Any) -> None:
    assert aws("sesv2_identity", domain="zmanim.example", check=True)["changed"]
    assert aws("sesv2_identity", domain="zmanim.example")["changed"]
    assert not aws("sesv2_identity", domain="zmanim.example")["changed"]
    assert aws("sesv2_identity", domain="zmanim.example", state="absent")["changed"]
    assert not aws("sesv2_identity", domain="zmanim.example", state="absent")["changed"]
