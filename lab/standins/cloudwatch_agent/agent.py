#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's stand-in for the CloudWatch agent.

Reads the real agent's configuration and sends real metrics (cpu, mem, disk, swap) and logs (files,
journald) with the machine's role, to `endpoint_override` or the region's own endpoint.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pwd
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

HOME = Path("/opt/aws/amazon-cloudwatch-agent")
FILE = HOME / "etc/amazon-cloudwatch-agent.json"
DIRECTORY = HOME / "etc/amazon-cloudwatch-agent.d"
METADATA = "169.254.169.254"
PSEUDO = {"tmpfs", "devtmpfs", "proc", "sysfs", "cgroup", "cgroup2", "devpts", "mqueue", "overlay", "nsfs"}
DEFAULT_MEASUREMENTS = {
    "cpu": ["usage_idle"],
    "mem": ["used_percent"],
    "disk": ["used_percent"],
    "swap": ["used_percent"],
}
BATCH = 500
REFUSED = (BotoCoreError, ClientError, ResponseParserError)
"""What an endpoint that is ill answers; the next round tries again."""

Document = dict[str, Any]
Readings = list[tuple[dict[str, str], dict[str, float]]]
Line = tuple[int, str]
"""Milliseconds since the epoch, and the text."""


# --- configuration -----------------------------------------------------------------------------------


def merge(into: Document, other: Document) -> Document:
    """Merge two documents as append-config does: objects by key, lists one after the other."""
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        elif isinstance(value, list) and isinstance(into.get(key), list):
            into[key] = into[key] + value
        else:
            into[key] = value
    return into


def configuration() -> Document:
    """Read the one file and all that was fetched, as the agent's translator does at each start."""
    found: Document = {}
    for path in (FILE, *sorted(DIRECTORY.glob("*"))):
        if path.exists():
            merge(found, json.loads(path.read_text()))
    return found


class Machine:
    """What the instance metadata service (IMDSv2) says of this machine."""

    def __init__(self) -> None:
        lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": "300"}
        self._token = {"X-aws-ec2-metadata-token": self._ask("PUT", "api/token", lifetime)}
        identity = json.loads(self._ask("GET", "dynamic/instance-identity/document", self._token))
        self.region = identity["region"]
        self.names = {
            "InstanceId": identity["instanceId"],
            "InstanceType": identity.get("instanceType", ""),
            "ImageId": identity.get("imageId", ""),
        }

    @staticmethod
    def _ask(method: str, path: str, headers: dict[str, str]) -> str:
        connection = http.client.HTTPConnection(METADATA, timeout=5)
        try:
            connection.request(method, f"/latest/{path}", headers=headers)
            answer = connection.getresponse()
            content = answer.read().decode()
        finally:
            connection.close()
        if answer.status != 200:
            raise OSError(f"the metadata service answers {answer.status} to {path}")
        return content

    def fill(self, text: str) -> str:
        """Replace ${aws:InstanceId} and {instance_id}, {hostname} and their kin."""
        filled = re.sub(r"\$\{aws:(\w+)\}", lambda found: self.names.get(found.group(1), ""), text)
        places = {"instance_id": self.names["InstanceId"], "hostname": os.uname().nodename}
        places["local_hostname"] = places["hostname"]
        return re.sub(r"\{(\w+)\}", lambda found: places.get(found.group(1), found.group(0)), filled)


def wait_for_machine() -> Machine:
    """The metadata service may be late; systemd's restart would wait a minute."""
    for _ in range(60):
        with contextlib.suppress(OSError, ValueError):
            return Machine()
        time.sleep(1)
    return Machine()


def client(service: Any, machine: Machine, config: Document, section: Document) -> Any:
    """Return a boto3 client for the section's endpoint."""
    region = config.get("agent", {}).get("region") or machine.region
    endpoint = section.get("endpoint_override") or None
    if endpoint and "://" not in endpoint:
        endpoint = f"https://{endpoint}"
    return boto3.client(service, region_name=region, endpoint_url=endpoint)


# --- metrics -----------------------------------------------------------------------------------------


class Cpu:
    """Shares of time since the last reading, from /proc/stat."""

    FIELDS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guest_nice")

    def __init__(self) -> None:
        self._last = self._read()

    @staticmethod
    def _read() -> dict[str, list[int]]:
        lines = [
            line.split() for line in Path("/proc/stat").read_text().splitlines() if line.startswith("cpu")
        ]
        return {words[0]: [int(word) for word in words[1:11]] for words in lines}

    def read(self, plugin: Document) -> Readings:
        """Return the shares of the whole machine and, when asked for, of each CPU."""
        now, last = self._read(), self._last
        self._last = now
        wanted = {"cpu": "cpu-total"} if plugin.get("totalcpu", True) else {}
        if "*" in plugin.get("resources", []):
            wanted.update({name: name for name in now if name != "cpu"})
        return [
            ({"cpu": shown}, self._shares(last.get(name, now[name]), now[name]))
            for name, shown in wanted.items()
        ]

    def _shares(self, before: list[int], after: list[int]) -> dict[str, float]:
        spent = [max(0, new - old) for old, new in zip(before, after, strict=False)]
        total = sum(spent[:8]) or 1
        shares = {
            f"usage_{name}": 100.0 * part / total for name, part in zip(self.FIELDS, spent, strict=False)
        }
        shares["usage_active"] = 100.0 - shares["usage_idle"]
        return shares


def meminfo() -> dict[str, int]:
    """Return /proc/meminfo in bytes."""
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines}


def memory(_plugin: Document) -> Readings:
    """Return the memory's use."""
    found = meminfo()
    used = found["MemTotal"] - found["MemAvailable"]
    values = {
        "used_percent": 100.0 * used / found["MemTotal"],
        "available_percent": 100.0 * found["MemAvailable"] / found["MemTotal"],
        "used": used,
        "available": found["MemAvailable"],
        "free": found["MemFree"],
        "cached": found["Cached"],
        "buffered": found["Buffers"],
        "total": found["MemTotal"],
    }
    return [({}, values)]


def swap(_plugin: Document) -> Readings:
    """Return the swap's use."""
    found = meminfo()
    used = found["SwapTotal"] - found["SwapFree"]
    percent = 100.0 * used / found["SwapTotal"] if found["SwapTotal"] else 0.0
    return [({}, {"used_percent": percent, "used": used, "free": found["SwapFree"]})]


def mounts() -> list[tuple[str, str, str]]:
    """Return (device, path, file system type), the last mount of each path."""
    by_path = {}
    for line in Path("/proc/self/mounts").read_text().splitlines():
        device, path, kind = line.split()[:3]
        by_path[path] = (device, path, kind)
    return list(by_path.values())


def disks(plugin: Document) -> Readings:
    """Return the use of the named file systems, or of all real ones."""
    resources = plugin.get("resources", ["*"])
    ignored = set(plugin.get("ignore_file_system_types") or [])
    found = []
    for device, path, kind in mounts():
        named = path in resources
        if kind in ignored or not (named or ("*" in resources and kind not in PSEUDO)):
            continue
        dimensions = {"path": path, "fstype": kind}
        if not plugin.get("drop_device", False):
            dimensions["device"] = device.removeprefix("/dev/")
        found.append((dimensions, disk_values(path)))
    return found


def disk_values(path: str) -> dict[str, float]:
    """Return one file system's use."""
    state = os.statvfs(path)
    total, free = state.f_blocks * state.f_frsize, state.f_bavail * state.f_frsize
    used = (state.f_blocks - state.f_bfree) * state.f_frsize
    inodes = state.f_files or 1
    return {
        "used_percent": 100.0 * used / ((used + free) or 1),
        "used": used,
        "free": free,
        "total": total,
        "inodes_used_percent": 100.0 * (state.f_files - state.f_ffree) / inodes,
        "inodes_free": state.f_ffree,
        "inodes_total": state.f_files,
        "inodes_used": state.f_files - state.f_ffree,
    }


def unit(measurement: str) -> str:
    """Return CloudWatch's unit of a measurement."""
    if measurement.endswith("percent") or measurement.startswith("usage_"):
        return "Percent"
    return "Count" if "inodes" in measurement else "Bytes"


def data(plugin_name: str, plugin: Document, readings: Readings, extra: dict[str, str]) -> list[Document]:
    """Turn a plugin's readings into CloudWatch's metric data, one per measurement and resource."""
    found = []
    for item in plugin.get("measurement") or DEFAULT_MEASUREMENTS[plugin_name]:
        wanted = item if isinstance(item, dict) else {"name": item}
        short = wanted["name"].removeprefix(f"{plugin_name}_")
        metric = {
            "MetricName": wanted.get("rename") or f"{plugin_name}_{short}",
            "Unit": wanted.get("unit") or unit(short),
        }
        found += [
            datum(metric, {**plugin.get("append_dimensions", {}), **dimensions, **extra}, values[short])
            for dimensions, values in readings
            if short in values
        ]
    return found


def datum(metric: Document, labels: dict[str, str], value: float) -> Document:
    """Return one value of a metric, as of now; a label without a value is left out."""
    return {
        **metric,
        "Dimensions": [{"Name": name, "Value": text} for name, text in labels.items() if text],
        "Value": float(value),
        "Timestamp": time.time(),
    }


def aggregated(found: list[Document], dimension_sets: list[list[str]]) -> list[Document]:
    """Add each datum once more for every declared set of dimensions that it has."""
    return [
        narrowed(one, wanted)
        for one in found
        for wanted in dimension_sets
        if set(wanted) < {dimension["Name"] for dimension in one["Dimensions"]}
    ]


def narrowed(one: Document, names: list[str]) -> Document:
    """Return a datum with no dimensions but the named ones."""
    kept = [dimension for dimension in one["Dimensions"] if dimension["Name"] in names]
    return {**one, "Dimensions": kept}


def send_metrics(config: Document, machine: Machine, stopped: threading.Event) -> None:
    """Send the configured metrics until stopped; what an endpoint refuses is reported and lost."""
    section = config["metrics"]
    cloudwatch = client("cloudwatch", machine, config, section)
    plugins = section.get("metrics_collected", {})
    readers = {"cpu": Cpu().read, "mem": memory, "disk": disks, "swap": swap}
    extra = {name: machine.fill(value) for name, value in section.get("append_dimensions", {}).items()}
    interval = float(config.get("agent", {}).get("metrics_collection_interval", 60))
    for name in sorted(set(plugins) - set(readers)):
        print(f"the stand-in does not collect {name!r}", flush=True)
    while not stopped.wait(interval):
        found: list[Document] = []
        for name in sorted(set(plugins) & set(readers)):
            found += data(name, plugins[name], readers[name](plugins[name]), extra)
        found += aggregated(found, section.get("aggregation_dimensions", []))
        try:
            for start in range(0, len(found), BATCH):
                cloudwatch.put_metric_data(
                    Namespace=section.get("namespace", "CWAgent"), MetricData=found[start : start + BATCH]
                )
        except REFUSED as error:
            print(f"metrics not sent: {error}", flush=True)


# --- logs --------------------------------------------------------------------------------------------


class Stream:
    """One log stream, made when its first events are sent."""

    def __init__(self, logs: Any, item: Document, machine: Machine, default_stream: str) -> None:
        self._logs = logs
        self.group = machine.fill(item["log_group_name"])
        self.name = machine.fill(item.get("log_stream_name") or default_stream or "{instance_id}")
        self._retention = int(item.get("retention_in_days", -1))
        self._ready = False

    def _prepare(self) -> None:
        exists = self._logs.exceptions.ResourceAlreadyExistsException
        try:
            self._logs.create_log_group(logGroupName=self.group)
            if self._retention > 0:
                self._logs.put_retention_policy(logGroupName=self.group, retentionInDays=self._retention)
        except exists:
            pass
        except ClientError as error:  # the role may not make log groups, when they are there already
            if error.response["Error"]["Code"] not in ("AccessDeniedException", "AccessDenied"):
                raise
        with contextlib.suppress(exists):
            self._logs.create_log_stream(logGroupName=self.group, logStreamName=self.name)
        self._ready = True

    def send(self, lines: list[Line]) -> None:
        """Send (milliseconds, text) pairs; raises botocore's errors."""
        if not self._ready:
            self._prepare()
        for start in range(0, len(lines), BATCH):
            events = [
                {"timestamp": when, "message": text} for when, text in lines[start : start + BATCH] if text
            ]
            if events:
                self._logs.put_log_events(logGroupName=self.group, logStreamName=self.name, logEvents=events)


class Files:
    """New lines of the files that a pattern names."""

    def __init__(self, item: Document) -> None:
        self._pattern = item["file_path"]
        self._places: dict[Path, tuple[int, int]] = {}

    def read(self) -> list[Line]:
        """Return what was written since the last reading."""
        found = []
        for path in sorted(Path("/").glob(self._pattern.lstrip("/"))):
            found += self._read_one(path)
        return found

    def _read_one(self, path: Path) -> list[Line]:
        try:
            state = path.stat()
            inode, offset = self._places.get(path, (state.st_ino, 0))
            if inode != state.st_ino or state.st_size < offset:
                offset = 0  # rotated or cut
            with path.open("rb") as stream:
                stream.seek(offset)
                content = stream.read(1 << 20)
        except OSError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._places[path] = (state.st_ino, offset + len(whole))
        now = int(time.time() * 1000)
        return [(now, line) for line in whole.decode("utf-8", "replace").splitlines()]


class Journal:
    """New entries of the journal, of some units or of all."""

    def __init__(self, item: Document) -> None:
        self._units = item.get("units") or []
        self._after = [f"--since=@{int(time.time())}"]

    def read(self) -> list[Line]:
        """Return the entries since the last reading."""
        command = ["journalctl", "--quiet", "--output=json", "--no-pager", *self._after]
        command += [f"--unit={unit}" for unit in self._units]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        entries = [json.loads(line) for line in answer.stdout.splitlines() if line]
        if entries:
            self._after = [f"--after-cursor={entries[-1]['__CURSOR']}"]
        return [(int(entry["__REALTIME_TIMESTAMP"]) // 1000, message(entry)) for entry in entries]


def message(entry: Document) -> str:
    """Return an entry's text; the journal writes what is no text as numbers."""
    text = entry.get("MESSAGE")
    return bytes(text).decode("utf-8", "replace") if isinstance(text, list) else str(text or "")


READERS: dict[str, type[Files] | type[Journal]] = {"files": Files, "journald": Journal}


def send_logs(config: Document, machine: Machine, stopped: threading.Event) -> None:
    """Send the configured logs until stopped; what an endpoint refuses is sent again."""
    section = config["logs"]
    logs = client("logs", machine, config, section)
    default_stream = section.get("log_stream_name", "")
    sources: list[tuple[Files | Journal, Stream, list[Line]]] = []
    for kind, reader in READERS.items():
        for item in section.get("logs_collected", {}).get(kind, {}).get("collect_list", []):
            sources.append((reader(item), Stream(logs, item, machine, default_stream), []))
    interval = float(section.get("force_flush_interval", 5))
    while not stopped.wait(interval):
        for source, stream, waiting in sources:
            waiting += sorted(source.read())
            try:
                stream.send(waiting)
                waiting.clear()
            except REFUSED as error:
                del waiting[:-10_000]  # what an endpoint that stays away may cost
                print(f"logs of {stream.group} not sent: {error}", flush=True)


# --- life --------------------------------------------------------------------------------------------


def drop_rights(user: str) -> None:
    """Run as the configured user, as the agent does."""
    if user != "root" and os.getuid() == 0:
        entry = pwd.getpwnam(user)
        os.initgroups(user, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)


def main() -> int:
    """Send until asked to stop."""
    config = configuration()
    if not config:
        print(f"no configuration in {FILE} or {DIRECTORY}", file=sys.stderr)
        return 1
    drop_rights(config.get("agent", {}).get("run_as_user", "root"))
    machine = wait_for_machine()
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    senders = {"metrics": send_metrics, "logs": send_logs}
    for section in sorted(set(senders) & set(config)):
        threading.Thread(target=senders[section], args=(config, machine, stopped), daemon=True).start()
    stopped.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
