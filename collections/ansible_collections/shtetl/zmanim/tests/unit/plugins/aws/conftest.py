# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules run in-process against an emulated AWS that lives and dies with each test."""

from __future__ import annotations

import importlib
import io
import json
from contextlib import redirect_stdout
from typing import Any, Callable

import boto3
import pytest

MODULES = "ansible_collections.shtetl.zmanim.plugins.modules"
REGION = "eu-west-1"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch):
    """Run modules by name: aws("elastic_ip", name="x", check=True)."""
    from moto import mock_aws

    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAUNITTESTS")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "unit-tests")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")  # 1300 of them for every test
    with mock_aws():
        yield run_module


def run_module(name: str, /, *, check: bool = False, fails: bool = False, **params: Any) -> dict[str, Any]:
    """Run a module and return its answer; a failure raises unless it is expected."""
    from ansible.module_utils.testing import patch_module_args

    module = importlib.import_module(f"{MODULES}.{name}")
    arguments = {"_ansible_check_mode": check, "_ansible_diff": True, **params}
    if name != "wait_for_health":
        arguments.setdefault("region", REGION)
    output = io.StringIO()
    with patch_module_args(arguments), redirect_stdout(output), pytest.raises(SystemExit):
        module.main()
    answer: dict[str, Any] = json.loads(output.getvalue())
    assert bool(answer.get("failed")) is fails, answer.get("msg", answer)
    return answer


@pytest.fixture
def bake(aws: Any) -> Callable[[str], str]:
    """Make an image for x86_64 and return its id."""

    def bake_image(name: str) -> str:
        ec2 = boto3.client("ec2")
        builder = ec2.run_instances(ImageId="ami-0", MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
        image: str = ec2.create_image(InstanceId=builder, Name=name)["ImageId"]
        ec2.terminate_instances(InstanceIds=[builder])
        return image

    return bake_image
