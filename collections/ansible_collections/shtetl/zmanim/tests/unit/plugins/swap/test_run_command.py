# SPDX-License-Identifier: GPL-3.0-or-later
"""SSM Run Command against botocore's Stubber: answers, and the ways in which there is none."""

from __future__ import annotations

import boto3
import pytest
from ansible_collections.shtetl.zmanim.plugins.module_utils.run_command import (
    CommandTimeoutError,
    NotManagedError,
    RunCommand,
    RunCommandError,
    json_document,
    shell_line,
)
from botocore.stub import ANY, Stubber

INSTANCE, COMMAND = "i-0123456789abcdef0", "11111111-2222-3333-4444-555555555555"


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def pause(self, seconds):
        self.now += seconds


@pytest.fixture
def ssm():
    client = boto3.client("ssm", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
    with Stubber(client) as stub:
        yield client, stub
        stub.assert_no_pending_responses()


def sent(stub, line="true", seconds="10"):
    stub.add_response(
        "send_command",
        {"Command": {"CommandId": COMMAND}},
        {
            "InstanceIds": [INSTANCE],
            "DocumentName": "AWS-RunShellScript",
            "Parameters": {"commands": [line], "executionTimeout": [seconds]},
            "TimeoutSeconds": 30,
            "Comment": ANY,
        },
    )


def answered(stub, status, rc=-1, out="", err=""):
    stub.add_response(
        "get_command_invocation",
        {
            "Status": status,
            "StatusDetails": status,
            "ResponseCode": rc,
            "StandardOutputContent": out,
            "StandardErrorContent": err,
        },
    )


def run(client, clock=None, deadline=10.0):
    clock = clock or Clock()
    return RunCommand(client, clock, clock.pause).run(INSTANCE, "true", deadline=deadline, comment="test")


def test_waits_for_the_answer(ssm):
    client, stub = ssm
    clock = Clock()
    sent(stub)
    stub.add_client_error("get_command_invocation", "InvocationDoesNotExist")
    answered(stub, "InProgress")
    answered(stub, "Success", 0, '{"phase": "serving"}\n')
    answer = run(client, clock)
    assert (answer.rc, answer.document, clock.now) == (0, {"phase": "serving"}, 1.0)


def test_a_failure_is_an_answer_with_its_last_line(ssm):
    client, stub = ssm
    sent(stub)
    answered(stub, "Failed", 1, "", "noise\nzmanimctl: a backup is running\n")
    answer = run(client)
    assert (answer.rc, answer.complaint) == (1, "zmanimctl: a backup is running")


def test_an_unmanaged_instance_is_named(ssm):
    client, stub = ssm
    stub.add_client_error("send_command", "InvalidInstanceId")
    with pytest.raises(
        NotManagedError, match=f"{INSTANCE} is not managed by SSM: expected a running instance"
    ):
        run(client)


def test_an_agent_that_does_not_pick_up_is_named(ssm):
    client, stub = ssm
    sent(stub)
    answered(stub, "DeliveryTimedOut")
    with pytest.raises(NotManagedError, match="did not pick up the command within 30 s"):
        run(client)


def test_the_deadline_is_kept(ssm):
    client, stub = ssm
    clock = Clock()
    sent(stub, seconds="5")
    for _ in range(4):
        answered(stub, "InProgress")
    with pytest.raises(CommandTimeoutError, match=r"'true' on i-.* had not ended after 1.5 s"):
        run(client, clock, deadline=1.5)
    assert clock.now <= 1.5


def test_throttling_is_waited_for(ssm):
    client, stub = ssm
    stub.add_client_error("send_command", "ThrottlingException")
    sent(stub)
    stub.add_client_error("get_command_invocation", "ThrottlingException")
    answered(stub, "Success", 0)
    assert run(client).rc == 0


def test_throttling_past_the_deadline_is_said(ssm):
    client, stub = ssm
    for _ in range(6):
        stub.add_client_error("send_command", "ThrottlingException")
    with pytest.raises(RunCommandError, match=r"because of throttling.*again in a minute"):
        run(client, deadline=0.1)


@pytest.mark.parametrize(
    ("text", "document"),
    [
        ('{"a": 1}', {"a": 1}),
        ('log line\n{"a": 1}\n', {"a": 1}),
        ("[1]", [1]),
        ("no", None),
        ("", None),
        ("{", None),
    ],
)
def test_json_on_standard_output(text, document):
    assert json_document(text) == document


def test_words_are_quoted_for_the_shell():
    assert shell_line(["zmanimctl", "restore", "--into", "a b;c"]) == "zmanimctl restore --into 'a b;c'"
