# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the lab keeps things, and the fixed addresses and names it answers on."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / "build" / "lab"
VOLUMES = STATE / "volumes"
CACHE = Path(os.environ.get("ZMANIM_CACHE") or Path.home() / ".cache" / "shtetl-zmanim")
CONTAINERS_CONF = ROOT / "lab" / "containers.conf"

LOCK_FILE = Path("/run/lock/zmanim-lab.lock")
"""Machine-wide: two labs would fight for the same addresses."""

PID_FILE = STATE / "pid"
LOG_FILE = STATE / "lab.log"
ENV_FILE = STATE / "env"
EVENTS_FILE = STATE / "events.jsonl"
CONTROL_SOCKET = STATE / "control.sock"

REGION = "eu-west-1"
ACCOUNT = "123456789012"
DEBIAN_OWNER = "136693071363"
"""Debian's own AWS account, which publishes its AMIs (https://wiki.debian.org/Cloud/AmazonEC2Image)."""

LINK = "zlab0"
IMDS_ADDRESS = "169.254.169.254"
GATEWAY_ADDRESS = "169.254.169.1"
GATEWAY_PORT = 4566
ENDPOINT = f"http://{GATEWAY_ADDRESS}:{GATEWAY_PORT}"

LABEL = "zmanim.lab"
"""Label of every container and image that belongs to the lab."""
IMAGE_PREFIX = "localhost/zlab-ami/"
"""Images made in a run; removed by `down`."""
BASE_PREFIX = "localhost/zmanim-base-"
"""Base images; they stay."""
VETH_PREFIX = "zv"
NETNS_PREFIX = "zlab-"
NFT_TABLE = "zlab"
