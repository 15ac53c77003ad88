# SPDX-License-Identifier: GPL-3.0-or-later
"""IMDSv2 on 169.254.169.254:80; which instance asks is known by the source address."""

from __future__ import annotations

import base64
import datetime
import json
import os
import re
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from moto.ec2.models.instances import Instance
from moto.iam.models import iam_backends
from moto.sts.models import sts_backends

from lab.events import Events
from lab.faults import Faults
from lab.paths import ACCOUNT, IMDS_ADDRESS, REGION

Tree = dict[str, Any]

LONGEST_TOKEN = 21600
CREDENTIALS_LAST = 6 * 3600
CREDENTIALS_RENEWED = 3600
VERSION = re.compile(r"^/(latest|20[0-9]{2}-[0-9]{2}-[0-9]{2})(/.*)?$")


class Metadata:
    """What IMDS answers, by instance."""

    def __init__(self, find: Callable[[str], Instance | None], events: Events, faults: Faults) -> None:
        self._find = find
        self._events = events
        self._faults = faults
        self._tokens: dict[str, tuple[str, float]] = {}
        self._credentials: dict[str, tuple[float, Tree]] = {}
        self._callers: dict[str, str] = {}
        self._lock = threading.Lock()

    def caller(self, access_key: str) -> str | None:
        """``role/instance`` for credentials that IMDS gave out."""
        return self._callers.get(access_key)

    def answer(self, method: str, path: str, source: str, headers: Any) -> tuple[int, str]:
        """Status and body for one request."""
        if self._faults.strikes("imds-down"):
            return 503, "Service Unavailable"
        instance = self._find(source)
        matched = VERSION.match(path.split("?")[0])
        if instance is None or matched is None:
            return 404, "Not Found"
        below = matched[2] or "/"
        if instance.metadata_options.http_endpoint == "disabled":
            return 403, "Forbidden"
        if below == "/api/token":
            return self._issue(method, instance, headers)
        if not self._valid(headers.get("X-aws-ec2-metadata-token"), instance.id):
            return 401, "Unauthorized"
        return self._read(instance, below)

    def _issue(self, method: str, instance: Instance, headers: Any) -> tuple[int, str]:
        if method != "PUT":
            return 405, "Method Not Allowed"
        lifetime = headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
        if not lifetime.isdigit() or not 1 <= int(lifetime) <= LONGEST_TOKEN:
            return 400, "Bad Request"
        token = base64.b64encode(os.urandom(40)).decode()
        with self._lock:
            self._tokens[token] = (instance.id, time.monotonic() + int(lifetime))
        return 200, token

    def _valid(self, token: str | None, instance_id: str) -> bool:
        owner, until = self._tokens.get(token or "", ("", 0.0))
        return owner == instance_id and time.monotonic() < until

    def _read(self, instance: Instance, path: str) -> tuple[int, str]:
        if path == "/user-data":
            text = user_data(instance)
            return (200, text) if text else (404, "Not Found")
        return lookup(self._tree(instance), path)

    def _tree(self, instance: Instance) -> Tree:
        tree: Tree = {
            "meta-data": meta_data(instance),
            "dynamic": {"instance-identity": {"document": json.dumps(identity_document(instance), indent=2)}},
        }
        role = role_of(instance)
        if role is not None:
            tree["meta-data"]["iam"] = self._iam(instance, role)
        if user_data(instance):
            tree["user-data"] = ""
        return tree

    def _iam(self, instance: Instance, role: Any) -> Tree:
        profile = profile_of(instance)
        updated = _stamp(instance.launch_time)
        info = {
            "Code": "Success",
            "LastUpdated": updated,
            "InstanceProfileArn": profile.arn,
            "InstanceProfileId": profile.id,
        }
        return {
            "info": json.dumps(info, indent=2),
            "security-credentials": {
                role.name: lambda: json.dumps(self._role_credentials(instance, role), indent=2)
            },
        }

    def _role_credentials(self, instance: Instance, role: Any) -> Tree:
        with self._lock:
            made, current = self._credentials.get(instance.id, (0.0, {}))
            if not current or time.monotonic() - made > CREDENTIALS_RENEWED:
                current = self._assume(instance, role)
                self._credentials[instance.id] = (time.monotonic(), current)
            return current

    def _assume(self, instance: Instance, role: Any) -> Tree:
        session = sts_backends[ACCOUNT]["aws"].assume_role(
            region_name=REGION,
            role_session_name=instance.id,
            role_arn=role.arn,
            policy="",
            duration=CREDENTIALS_LAST,
            external_id="",
        )
        self._callers[session.access_key_id] = f"{role.name}/{instance.id}"
        self._events.act(instance.id, "credentials issued", role=role.name)
        return {
            "Code": "Success",
            "LastUpdated": _stamp(datetime.datetime.now(datetime.UTC)),
            "Type": "AWS-HMAC",
            "AccessKeyId": session.access_key_id,
            "SecretAccessKey": session.secret_access_key,
            "Token": session.session_token,
            "Expiration": _stamp(session.expiration),
        }


def lookup(tree: Tree, path: str) -> tuple[int, str]:
    """A leaf's text, or a directory's listing with a slash after each sub-directory."""
    node: Any = tree
    for part in filter(None, path.split("/")):
        if not isinstance(node, dict) or part not in node:
            return 404, "Not Found"
        node = node[part]
    if isinstance(node, dict):
        return 200, node.get("", None) or "\n".join(
            _listed(name, below) for name, below in node.items() if name
        )
    return 200, str(node() if callable(node) else node)


def _listed(name: str, below: Any) -> str:
    return f"{name}/" if isinstance(below, dict) else name


def user_data(instance: Instance) -> str:
    """The instance's user-data, decoded; empty when it has none."""
    given: Any = instance.user_data
    if not given:
        return ""
    if isinstance(given, str):
        return base64.b64decode(given).decode()
    return str(given.decode())


def meta_data(instance: Instance) -> Tree:
    """The meta-data tree without the role."""
    interface = instance.nics[0]
    subnet = interface.subnet
    mac = str(interface.mac_address)
    groups = sorted(group.name for group in interface.group_set)
    name = str(instance.private_dns_name)
    zone = str(instance.availability_zone)
    tree: Tree = {
        "ami-id": instance.image_id,
        "ami-launch-index": str(instance.ami_launch_index),
        "ami-manifest-path": "(unknown)",
        "block-device-mapping": {"ami": instance.root_device_name, "root": instance.root_device_name},
        "hostname": name,
        "instance-action": "none",
        "instance-id": instance.id,
        "instance-life-cycle": "on-demand",
        "instance-type": instance.instance_type,
        "local-hostname": name,
        "local-ipv4": instance.private_ip,
        "mac": mac,
        "network": {"interfaces": {"macs": {mac: _interface(instance, interface, subnet, groups)}}},
        "placement": {"availability-zone": zone, "availability-zone-id": "euw1-az1", "region": zone[:-1]},
        "profile": "default-hvm",
        "reservation-id": "r-" + instance.id[2:],
        "security-groups": "\n".join(groups),
        "services": {"domain": "amazonaws.com", "partition": "aws"},
        "system": "nitro",
    }
    if instance.public_ip:
        tree["public-ipv4"] = instance.public_ip
        tree["public-hostname"] = instance.public_dns_name
    key = instance.ec2_backend.key_pairs.get(instance.key_name)
    if key:
        tree["public-keys"] = {"": f"0={key.key_name}", "0": {"openssh-key": key.public_key.strip() + "\n"}}
    if instance.metadata_options.instance_metadata_tags == "enabled":
        tree["tags"] = {"instance": {tag["key"]: tag["value"] for tag in instance.get_tags()}}
    return tree


def _interface(instance: Instance, interface: Any, subnet: Any, groups: list[str]) -> Tree:
    vpc = instance.ec2_backend.get_vpc(subnet.vpc_id)
    tree: Tree = {
        "device-number": "0",
        "interface-id": interface.id,
        "local-hostname": instance.private_dns_name,
        "local-ipv4s": instance.private_ip,
        "mac": interface.mac_address,
        "owner-id": ACCOUNT,
        "security-groups": "\n".join(groups),
        "subnet-id": subnet.id,
        "subnet-ipv4-cidr-block": str(subnet.cidr_block),
        "vpc-id": subnet.vpc_id,
        "vpc-ipv4-cidr-block": vpc.cidr_block,
        "vpc-ipv4-cidr-blocks": vpc.cidr_block,
    }
    if instance.public_ip:
        tree["public-ipv4s"] = instance.public_ip
    return tree


def identity_document(instance: Instance) -> Tree:
    """The instance identity document (unsigned here)."""
    zone = str(instance.availability_zone)
    return {
        "accountId": ACCOUNT,
        "architecture": instance.architecture,
        "availabilityZone": zone,
        "billingProducts": None,
        "imageId": instance.image_id,
        "instanceId": instance.id,
        "instanceType": instance.instance_type,
        "pendingTime": _stamp(instance.launch_time),
        "privateIp": instance.private_ip,
        "region": zone[:-1],
        "version": "2017-09-30",
    }


def profile_of(instance: Instance) -> Any:
    """The instance profile associated with the instance, or None."""
    association = instance.ec2_backend.iam_instance_profile_associations.get(instance.id)
    return association.iam_instance_profile if association else None


def role_of(instance: Instance) -> Any:
    """The role of the instance's profile, or None."""
    profile = profile_of(instance)
    if profile is None:
        return None
    current = iam_backends[ACCOUNT]["aws"].instance_profiles.get(profile.id, profile)
    return current.roles[0] if current.roles else None


def _stamp(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def serve(metadata: Metadata) -> ThreadingHTTPServer:
    """Listen on the link-local address; returns the server, which runs in a thread."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version = "EC2ws"
        sys_version = ""

        def do_GET(self) -> None:
            self._respond()

        def do_PUT(self) -> None:
            self._respond()

        def _respond(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, text = metadata.answer(self.command, self.path, self.client_address[0], self.headers)
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
            if self.command == "PUT" and status == 200:
                self.send_header(
                    "X-aws-ec2-metadata-token-ttl-seconds",
                    self.headers["X-aws-ec2-metadata-token-ttl-seconds"],
                )
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing: a machine asks often."""

    server = ThreadingHTTPServer((IMDS_ADDRESS, 80), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="imds", daemon=True).start()
    return server
