# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's process: puts the parts together, and takes them apart.

Import it after lab.moto_settings.apply: moto reads its settings when it is imported.
"""

from __future__ import annotations

import base64
import os
import signal
import threading
from pathlib import Path
from typing import Any

from moto.ec2.models import ec2_backends
from moto.server import DomainDispatcherApplication, create_backend_app

from lab import cleanup, control, edge, gateway, imds, network
from lab.ec2_addresses import Addresses
from lab.ec2_images import Images
from lab.ec2_instances import Instances
from lab.ec2_volumes import Volumes
from lab.events import Events
from lab.faults import Faults
from lab.full_disks import FullDisks
from lab.jobs import Workers
from lab.paths import ACCOUNT, ENDPOINT, ENV_FILE, GATEWAY_ADDRESS, GATEWAY_PORT, REGION, STATE
from lab.profile import Profile
from lab.ssm import RunCommand

CONTROLLER_KEY = "AKIAZMANIMLAB0000000"


class Lab:
    """A running lab."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.faults = Faults()
        self.full_disks = FullDisks()
        self.events = Events()
        self._backend: Any = ec2_backends[ACCOUNT][REGION]
        self._workers = Workers(self._failed)
        parts = (self._backend, profile, self.events)
        self.addresses = Addresses(*parts)
        self.images = Images(*parts, self._workers)
        self.volumes = Volumes(*parts, self._workers, self.faults)
        self.instances = Instances(
            *parts, self._workers, self.faults, self.images, self.volumes, self.addresses
        )
        self.metadata = imds.Metadata(self.instances.by_address, self.events, self.faults)
        self.run_command = RunCommand(self._backend.get_instance, self._backend.all_instances, self.events)
        self._edge: edge.Edge | None = None
        self._stop = threading.Event()

    def start(self) -> None:
        """Bring everything up; returns when the endpoint answers."""
        network.raise_service_link()
        for part in (self.addresses, self.images, self.volumes, self.instances):
            part.install()
        self.addresses.sync()
        imds.serve(self.metadata)
        self._edge = edge.start(STATE, region=REGION, account=ACCOUNT, aws_endpoint_url=ENDPOINT)
        front = gateway.Gateway(
            moto=DomainDispatcherApplication(create_backend_app),
            ministack=self._edge.settings.api,
            events=self.events,
            faults=self.faults,
            name_caller=self._name_caller,
            before=self._before,
            after=self._after,
        )
        for action, handler in self.run_command.handlers().items():
            front.handlers["ssm", action] = handler
        gateway.serve(front, GATEWAY_ADDRESS, GATEWAY_PORT)
        _write_environment(ENV_FILE)
        control.serve(self._commands())

    def wait(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())
        self._stop.wait()

    def stop(self) -> None:
        """End the child processes; cleanup removes the rest."""
        self.instances.close()
        if self._edge is not None:
            self._edge.stop()
        cleanup.clean()

    def _commands(self) -> dict[str, control.Command]:
        return {
            "status": self.status,
            "fault": self._fault,
            "clear-faults": self._clear_faults,
            "register-image": self.images.register,
        }

    def status(self) -> dict[str, Any]:
        """What runs now."""
        return {
            "running": True,
            "pid": os.getpid(),
            "profile": self.profile.name,
            "endpoint": ENDPOINT,
            "faults": self.faults.listed(),
            "instances": [
                {
                    "id": instance.id,
                    "state": instance.state,
                    "name": next((tag["value"] for tag in instance.get_tags() if tag["key"] == "Name"), ""),
                    "ami": instance.image_id,
                    "private": instance.private_ip,
                    "public": instance.public_ip,
                }
                for instance in self._backend.all_instances()
            ],
            "volumes": [
                {"id": volume.id, "size": volume.size, "state": volume.status}
                for volume in self._backend.volumes.values()
            ],
        }

    def _fault(self, name: str, argument: str = "") -> str:
        if name == "full-disk":
            self.full_disks.fill(argument)
        if name == "power-off":
            self.instances.power_off(argument)
        else:
            self.faults.set(name, argument)
        self.events.act("fault", name, argument=argument)
        return name

    def _clear_faults(self) -> None:
        self.faults.clear()
        self.full_disks.clear()

    def _name_caller(self, access_key: str) -> str | None:
        return "controller" if access_key == CONTROLLER_KEY else self.metadata.caller(access_key)

    def _before(self, call: gateway.Call) -> None:
        """Note what moto's models are not told."""
        if call.parameters.get("Force") == "true" and call.action == "DetachVolume":
            self.volumes.force_detach(call.parameters.get("VolumeId", ""))
        if call.parameters.get("Encrypted") == "true" and call.action == "CopyImage":
            self.images.encrypt_copy(call.parameters.get("SourceImageId", ""))

    def _after(self, call: gateway.Call) -> None:
        if call.service == "ec2":
            self.addresses.sync()

    def _failed(self, subject: str, error: BaseException) -> None:
        self.instances.failed(subject, error)


def _write_environment(path: Path) -> None:
    exports = {
        "AWS_ENDPOINT_URL": ENDPOINT,
        "AWS_ACCESS_KEY_ID": CONTROLLER_KEY,
        "AWS_SECRET_ACCESS_KEY": base64.b64encode(os.urandom(30)).decode(),
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    path.touch(mode=0o600)
    path.write_text("".join(f"export {name}={value}\n" for name, value in exports.items()))
