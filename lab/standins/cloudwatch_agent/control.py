#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Control program of the lab's stand-in for the CloudWatch agent."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

HOME = Path("/opt/aws/amazon-cloudwatch-agent")
DIRECTORY = HOME / "etc/amazon-cloudwatch-agent.d"
SERVICE = "amazon-cloudwatch-agent"
SECTIONS = {"agent", "metrics", "logs", "traces", "csm"}


def systemctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Ask systemd."""
    return subprocess.run(["systemctl", *arguments], capture_output=True, text=True, check=False)


def problems(config: object) -> list[str]:
    """Return what the agent's own schema would refuse, as far as the stand-in reads the document."""
    if not isinstance(config, dict):
        return ["the configuration is no JSON object"]
    found = [f"unknown section {name!r}" for name in sorted(set(config) - SECTIONS)]
    if not {"metrics", "logs"} & set(config):
        found.append("neither 'metrics' nor 'logs' is configured")
    for group in (config.get("logs") or {}).get("logs_collected", {}).values():
        for item in group.get("collect_list", []):
            if not item.get("log_group_name"):
                found.append(f"no log_group_name in {json.dumps(item)}")
    return found


def fetch(source: str, append: bool) -> int:
    """Check the named configuration and put it where the agent reads it."""
    scheme, _, name = source.partition(":")
    if scheme != "file" or not name:
        print(f"only file:PATH is known to the stand-in, not {source!r}", file=sys.stderr)
        return 1
    try:
        config = json.loads(Path(name).read_text())
    except (OSError, ValueError) as error:
        print(f"Configuration validation first phase failed: {name}: {error}", file=sys.stderr)
        return 1
    found = problems(config)
    if found:
        print(f"Configuration validation first phase failed: {name}: {'; '.join(found)}", file=sys.stderr)
        return 1
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    target = DIRECTORY / f"file_{Path(name).name}"
    for other in DIRECTORY.iterdir():
        if not append and other != target:
            other.unlink()
    target.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    print(f"Successfully fetched the config and saved in {target}")
    print("Configuration validation succeeded")
    return 0


def start() -> int:
    """Start the agent, now and at every boot."""
    answer = systemctl("enable", SERVICE)
    if answer.returncode == 0:
        answer = systemctl("restart", SERVICE)
    sys.stderr.write(answer.stderr)
    return answer.returncode


def status() -> int:
    """Print the agent's state as JSON."""
    running = systemctl("is-active", "--quiet", SERVICE).returncode == 0
    since = systemctl("show", SERVICE, "--property=ActiveEnterTimestamp", "--value").stdout.strip()
    configured = DIRECTORY.is_dir() and any(DIRECTORY.iterdir())
    print(
        json.dumps(
            {
                "status": "running" if running else "stopped",
                "starttime": since if running else "",
                "configstatus": "configured" if configured else "not configured",
                "version": (HOME / "bin/CWAGENT_VERSION").read_text().strip(),
            },
            indent=2,
        )
    )
    return 0


def act(options: argparse.Namespace) -> int:
    """Do what was asked for; returns the exit status."""
    if options.a in ("fetch-config", "append-config"):
        return fetch(options.c, options.a == "append-config") or (start() if options.s else 0)
    if options.a == "start":
        return start()
    if options.a == "stop":
        return systemctl("stop", SERVICE).returncode
    return status()


def main() -> int:
    """Read the command line as the real program does."""
    parser = argparse.ArgumentParser(description=__doc__)
    actions = ["fetch-config", "append-config", "start", "stop", "status"]
    parser.add_argument("-a", choices=actions, default="status")
    parser.add_argument("-m", choices=["ec2", "onPremise", "onPrem", "auto"], default="ec2")
    parser.add_argument("-c", default="")
    parser.add_argument("-s", action="store_true")
    return act(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
