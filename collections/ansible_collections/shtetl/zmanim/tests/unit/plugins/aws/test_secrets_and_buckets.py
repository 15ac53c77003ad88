# SPDX-License-Identifier: GPL-3.0-or-later
"""What must never be shown, overwritten or taken from others."""

from __future__ import annotations

import json
from typing import Any

import boto3


def value_of(name: str) -> str:
    return boto3.client("ssm").get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]


def test_a_generated_secret_is_long_random_hidden_and_kept(aws: Any) -> None:
    generated = [{"name": "jwt-secret", "length": 64}, {"name": "redis-password"}]
    first = aws("ssm_parameters", path="/zmanim/unit", generated=generated)
    secret = value_of("/zmanim/unit/jwt-secret")
    assert len(secret) == 64 and secret.isalnum() and secret != value_of("/zmanim/unit/redis-password")
    again = aws("ssm_parameters", path="/zmanim/unit", generated=generated)
    assert value_of("/zmanim/unit/jwt-secret") == secret
    assert secret not in json.dumps([first, again])


def test_neither_the_old_nor_the_new_value_of_a_secret_is_shown(aws: Any) -> None:
    def declare(secret: str) -> dict[str, Any]:
        return aws(
            "ssm_parameters", path="/zmanim/unit", secrets=[{"name": "resend-api-key", "secret": secret}]
        )

    shown = json.dumps([declare("first-planted"), declare("second-planted"), declare("second-planted")])
    assert "planted" not in shown
    assert "differs" in shown
    assert value_of("/zmanim/unit/resend-api-key") == "second-planted"


def test_a_pointer_that_is_not_to_be_overwritten_stays(aws: Any) -> None:
    def point(value: str, overwrite: bool) -> dict[str, Any]:
        pointer = {"name": "ami-id", "value": value, "overwrite": overwrite}
        return aws("ssm_parameters", path="/zmanim/unit", values=[pointer])

    assert point("ami-1", False)["changed"]
    assert not point("ami-2", False)["changed"]
    assert value_of("/zmanim/unit/ami-id") == "ami-1"
    assert point("ami-2", True)["changed"]


def test_deleting_all_parameters_spares_the_kept_ones_and_other_environments(aws: Any) -> None:
    for path in ("/zmanim/unit", "/zmanim/unit-two"):
        aws("ssm_parameters", path=path, generated=[{"name": "restic-password"}, {"name": "jwt-secret"}])
    aws("ssm_parameters", path="/zmanim/unit", state="absent", keep=["restic-password"])
    names = {one["Name"] for one in boto3.client("ssm").describe_parameters()["Parameters"]}
    assert names == {
        "/zmanim/unit/restic-password",
        "/zmanim/unit-two/restic-password",
        "/zmanim/unit-two/jwt-secret",
    }


def test_the_bucket_is_closed_and_keeps_statements_of_others(aws: Any) -> None:
    aws("private_bucket", name="zmanim-static-unit")
    s3 = boto3.client("s3")
    block = s3.get_public_access_block(Bucket="zmanim-static-unit")["PublicAccessBlockConfiguration"]
    assert set(block.values()) == {True} and len(block) == 4
    policy = json.loads(s3.get_bucket_policy(Bucket="zmanim-static-unit")["Policy"])
    assert [statement["Sid"] for statement in policy["Statement"]] == ["TlsOnly"]
    foreign = {
        "Sid": "AllowDistribution",
        "Effect": "Allow",
        "Principal": {"Service": "cloudfront.amazonaws.com"},
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::zmanim-static-unit/*",
    }
    policy["Statement"] = [foreign]
    s3.put_bucket_policy(Bucket="zmanim-static-unit", Policy=json.dumps(policy))
    assert aws("private_bucket", name="zmanim-static-unit")["changed"]
    policy = json.loads(s3.get_bucket_policy(Bucket="zmanim-static-unit")["Policy"])
    assert [statement["Sid"] for statement in policy["Statement"]] == ["AllowDistribution", "TlsOnly"]
    assert not aws("private_bucket", name="zmanim-static-unit")["changed"]


def test_a_full_bucket_is_deleted_only_when_it_may_be_emptied(aws: Any) -> None:
    aws("private_bucket", name="zmanim-releases-unit", versioning=True, tls_only=False)
    s3 = boto3.client("s3")
    for body in (b"1", b"2"):
        s3.put_object(Bucket="zmanim-releases-unit", Key="current.json", Body=body)
    s3.delete_object(Bucket="zmanim-releases-unit", Key="current.json")
    assert (
        "BucketNotEmpty"
        in aws("private_bucket", name="zmanim-releases-unit", state="absent", fails=True)["msg"]
    )
    assert aws("private_bucket", name="zmanim-releases-unit", state="absent", empty=True)["changed"]
    assert s3.list_buckets()["Buckets"] == []


def test_alarms_of_an_environment_whose_name_begins_alike_are_spared(aws: Any) -> None:
    alarm = {"name": "cpu", "description": "busy", "namespace": "n", "metric": "m", "threshold": 1}
    for env in ("prod", "prod-eu"):
        aws("metric_alarms", prefix=f"zmanim-{env}/", alarms=[alarm])
    aws("metric_alarms", prefix="zmanim-prod/", state="absent")
    names = [one["AlarmName"] for one in boto3.client("cloudwatch").describe_alarms()["MetricAlarms"]]
    assert names == ["zmanim-prod-eu/cpu"]


def test_a_zone_with_records_of_others_is_kept(aws: Any) -> None:
    def record(name: str) -> dict[str, Any]:
        return {"name": name, "type": "A", "values": ["203.0.113.7"]}

    records = [
        record("zmanim.example.com"),
        record("origin.zmanim.example.com"),
        record("notzmanim.example.com"),
    ]
    aws("hosted_zone", name="example.com", records=records)
    gone = aws("hosted_zone", name="example.com", domain="zmanim.example.com", state="absent")
    assert gone["changed"]
    assert not aws("hosted_zone", name="example.com", domain="zmanim.example.com", state="absent")["changed"]
    route53 = boto3.client("route53")
    zone = route53.list_hosted_zones()["HostedZones"][0]["Id"]
    left = [one["Name"] for one in route53.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]]
    assert "notzmanim.example.com." in left
    assert not [
        name for name in left if name.endswith(".zmanim.example.com.") or name == "zmanim.example.com."
    ]
