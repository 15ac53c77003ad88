# SPDX-License-Identifier: GPL-3.0-or-later
"""The CloudWatch agent's stand-in: one package, always the same, that sends what its configuration says."""

from __future__ import annotations

import importlib
import json
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

CONFIG: dict[str, Any] = {
    "agent": {"metrics_collection_interval": 0.2, "region": "eu-west-1"},
    "metrics": {
        "namespace": "ZmanimTest",
        "append_dimensions": {"InstanceId": "${aws:InstanceId}"},
        "aggregation_dimensions": [["InstanceId"]],
        "metrics_collected": {
            "cpu": {"measurement": ["usage_active", {"name": "cpu_usage_idle", "rename": "Idle"}]},
            "mem": {"measurement": ["mem_used_percent"]},
            "disk": {"measurement": ["used_percent"], "resources": ["/"], "drop_device": True},
        },
    },
    "logs": {
        "force_flush_interval": 0.2,
        "logs_collected": {
            "files": {
                "collect_list": [
                    {"log_group_name": "/zmanim/test/files", "log_stream_name": "{instance_id}/app"}
                ]
            }
        },
    },
}


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "agent")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "agent")
    return importlib.import_module("lab.standins.cloudwatch_agent.agent")


@pytest.fixture
def machine(agent: Any) -> Any:
    machine = object.__new__(agent.Machine)
    machine.region = "eu-west-1"
    machine.names = {"InstanceId": "i-0123456789abcdef0", "InstanceType": "m7g.medium", "ImageId": "ami-1"}
    return machine


def wait_for(probe: Callable[[], Any], deadline: float = 20) -> Any:
    end = time.monotonic() + deadline
    while not (found := probe()) and time.monotonic() < end:
        time.sleep(0.2)
    return found


def run(target: Callable[..., None], *arguments: Any) -> threading.Event:
    stopped = threading.Event()
    threading.Thread(target=target, args=(*arguments, stopped), daemon=True).start()
    return stopped


def test_the_package_is_the_same_every_time(tmp_path: Path) -> None:
    packages = importlib.import_module("lab.standins.packages")
    packages.build_agent(tmp_path / "one.deb")
    packages.build_agent(tmp_path / "two.deb")
    assert (tmp_path / "one.deb").read_bytes() == (tmp_path / "two.deb").read_bytes()


def test_the_package_holds_what_the_real_one_is_called_by(tmp_path: Path) -> None:
    importlib.import_module("lab.standins.packages").build_agent(tmp_path / "agent.deb")
    listing = subprocess.run(
        ["dpkg-deb", "--contents", str(tmp_path / "agent.deb")], capture_output=True, text=True, check=True
    ).stdout
    assert "./opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl" in listing
    assert "./usr/lib/systemd/system/amazon-cloudwatch-agent.service" in listing
    assert " root/root " in listing


def test_metrics_arrive(agent: Any, machine: Any, aws: Any) -> None:
    config = json.loads(json.dumps(CONFIG))
    config["metrics"]["endpoint_override"] = aws.endpoint
    stopped = run(agent.send_metrics, config, machine)
    cloudwatch = aws.boto("cloudwatch")
    try:
        names = wait_for(
            lambda: {
                (item["MetricName"], tuple(sorted(pair["Name"] for pair in item["Dimensions"])))
                for item in cloudwatch.list_metrics(Namespace="ZmanimTest")["Metrics"]
            }
        )
    finally:
        stopped.set()
    assert ("cpu_usage_active", ("InstanceId", "cpu")) in names
    assert ("Idle", ("InstanceId", "cpu")) in names
    assert ("mem_used_percent", ("InstanceId",)) in names
    assert ("disk_used_percent", ("InstanceId", "fstype", "path")) in names
    assert ("disk_used_percent", ("InstanceId",)) in names


def test_lines_arrive_once_and_a_rotated_file_is_followed(
    agent: Any, machine: Any, aws: Any, tmp_path: Path
) -> None:
    path = tmp_path / "app.log"
    path.write_text("one\ntwo\nunfinished")
    config = json.loads(json.dumps(CONFIG))
    config["logs"]["endpoint_override"] = aws.endpoint
    config["logs"]["logs_collected"]["files"]["collect_list"][0]["file_path"] = str(tmp_path / "*.log")
    logs = aws.boto("logs")

    def messages() -> list[str]:
        try:
            events = logs.get_log_events(
                logGroupName="/zmanim/test/files", logStreamName="i-0123456789abcdef0/app", startFromHead=True
            )
        except logs.exceptions.ResourceNotFoundException:
            return []
        return [event["message"] for event in events["events"]]

    stopped = run(agent.send_logs, config, machine)
    try:
        assert wait_for(messages) == ["one", "two"]
        path.rename(tmp_path / "app.log.1")
        path.write_text("three\n")
        assert wait_for(lambda: messages()[2:]) == ["three"]
    finally:
        stopped.set()


def test_the_journal_is_read_from_its_cursor_on(agent: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    begun = int(time.time())
    entry = {"__CURSOR": "c1", "__REALTIME_TIMESTAMP": "1700000000000000", "MESSAGE": [104, 105]}

    def journalctl(command: list[str], **_: Any) -> Any:
        asked.append(command)
        return SimpleNamespace(stdout=json.dumps(entry) + "\n" if len(asked) > 1 else "")

    monkeypatch.setattr(agent.subprocess, "run", journalctl)
    journal = agent.Journal({"units": ["haproxy.service"]})
    assert journal.read() == []
    assert journal.read() == [(1700000000000, "hi")]
    journal.read()
    assert asked[0] == asked[1], "what is written between two readings must not be lost"
    (since,) = [word for word in asked[0] if word.startswith("--since=@")]
    assert begun <= int(since.removeprefix("--since=@")) <= time.time()
    assert "--unit=haproxy.service" in asked[0]
    assert "--after-cursor=c1" in asked[2]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"metric": {}, "logs": {}}, "unknown section 'metric'"),
        ({"agent": {}}, "neither 'metrics' nor 'logs' is configured"),
        (
            {"logs": {"logs_collected": {"files": {"collect_list": [{"file_path": "/x"}]}}}},
            "no log_group_name",
        ),
    ],
)
def test_a_wrong_configuration_is_refused(
    config: Any,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    control = importlib.import_module("lab.standins.cloudwatch_agent.control")
    monkeypatch.setattr(control, "DIRECTORY", tmp_path / "agent.d")
    source = tmp_path / "config.json"
    source.write_text(json.dumps(config))
    assert control.fetch(f"file:{source}", append=False) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "agent.d").exists()


def test_fetch_replaces_and_append_adds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, agent: Any) -> None:
    control = importlib.import_module("lab.standins.cloudwatch_agent.control")
    monkeypatch.setattr(agent, "FILE", tmp_path / "absent.json")
    for module in (control, agent):
        monkeypatch.setattr(module, "DIRECTORY", tmp_path / "agent.d")
    for name, append in (("old", False), ("metrics", False), ("logs", True)):
        section = {"metrics": {"namespace": name}} if name != "logs" else {"logs": {"logs_collected": {}}}
        (tmp_path / name).write_text(json.dumps(section))
        assert control.fetch(f"file:{tmp_path / name}", append=append) == 0
    assert agent.configuration() == {"metrics": {"namespace": "metrics"}, "logs": {"logs_collected": {}}}


def test_the_one_file_counts_without_any_fetch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, agent: Any
) -> None:
    monkeypatch.setattr(agent, "FILE", tmp_path / "amazon-cloudwatch-agent.json")
    monkeypatch.setattr(agent, "DIRECTORY", tmp_path / "agent.d")
    assert agent.configuration() == {}
    agent.FILE.write_text(json.dumps({"metrics": {"namespace": "Zmanim"}}))
    assert agent.configuration() == {"metrics": {"namespace": "Zmanim"}}
