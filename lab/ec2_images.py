# SPDX-License-Identifier: GPL-3.0-or-later
"""AMIs: the base images that stand for Debian's, and what CreateImage makes of a machine."""

from __future__ import annotations

from typing import Any

from moto.core.exceptions import ServiceException
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.amis import Ami, AmiBackend

from lab import images
from lab.errors import LabError
from lab.events import Events
from lab.jobs import Workers
from lab.patching import wrap
from lab.paths import DEBIAN_OWNER
from lab.profile import Profile

ROOT_DEVICE = "/dev/xvda"
ROOT_GIB = 8


class Images:
    """Knows which podman image an AMI stands for."""

    def __init__(self, backend: Any, profile: Profile, events: Events, workers: Workers) -> None:
        self._backend = backend
        self._profile = profile
        self._events = events
        self._workers = workers
        self._podman: dict[str, str] = {}
        self._encrypts: dict[str, bool] = {}

    def install(self) -> None:
        """Register the base AMIs and take over CreateImage and DeregisterImage."""
        wrap(AmiBackend, "create_image", self._create)
        wrap(AmiBackend, "copy_image", self._copy)
        wrap(AmiBackend, "deregister_image", self._deregister)
        Ami.block_device_mappings = property(_block_devices)  # type: ignore[method-assign,assignment]
        for base in images.BASES.values():
            self._backend.amis[base.ami_id] = Ami(
                self._backend,
                base.ami_id,
                name=base.ami_name,
                description=f"Debian {base.suite} (shtetl.zmanim lab)",
                owner_id=DEBIAN_OWNER,
                public=True,
                virtualization_type="hvm",
                architecture="x86_64",
                hypervisor="xen",
                root_device_type="ebs",
                root_device_name=ROOT_DEVICE,
                region_name=f"{self._backend.region_name}a",
            )

    def register(self, name: str, podman_image: str) -> str:
        """Register a podman image as an AMI of this account and return its id."""
        if not images.exists(podman_image):
            raise LabError(f"podman has no image {podman_image!r}; `podman images` lists them")
        ami_id = "ami-" + "".join(f"{ord(char):02x}" for char in name)[-17:].rjust(17, "0")
        self._backend.amis[ami_id] = Ami(
            self._backend, ami_id, name=name, architecture="x86_64", virtualization_type="hvm",
            root_device_type="ebs", root_device_name=ROOT_DEVICE, region_name=f"{self._backend.region_name}a",
        )  # fmt: skip
        self._podman[ami_id] = podman_image
        return ami_id

    def podman_image(self, ami_id: str) -> str:
        """The podman image of an AMI; builds a base image that is not there yet."""
        for base in images.BASES.values():
            if base.ami_id == ami_id:
                return images.base_image(base.distribution)
        if ami_id not in self._podman:
            raise LabError(f"{ami_id} has no image; it was deregistered or its creation failed")
        return self._podman[ami_id]

    def require_available(self, ami_id: str) -> None:
        """Refuse an AMI that is missing, failed or still being made, as RunInstances does."""
        ami = self._backend.amis.get(ami_id)
        if ami is None:
            raise EC2ClientError("InvalidAMIID.NotFound", f"The image id '[{ami_id}]' does not exist")
        if ami.state != "available":
            raise EC2ClientError("InvalidAMIID.Unavailable", f"The image ID '{ami_id}' is not available")

    def _create(
        self,
        original: Any,
        backend: Any,
        instance_id: str,
        name: str,
        description: str,
        tag_specifications: Any,
    ) -> Ami:
        _require_unused(backend, name)
        of_image = [spec for spec in tag_specifications if spec["ResourceType"] == "image"]
        ami: Ami = original(backend, instance_id, name, description, of_image)
        ami.state = "pending"
        ami.root_device_type, ami.root_device_name = "ebs", ROOT_DEVICE
        ami.hypervisor, ami.virtualization_type = "xen", "hvm"
        of_snapshot = (spec["Tags"] for spec in tag_specifications if spec["ResourceType"] == "snapshot")
        for tags in of_snapshot:
            ami.ebs_snapshot.add_tags({tag["Key"]: tag["Value"] for tag in tags})
        ami.ebs_snapshot.status = "pending"
        ami.ebs_snapshot.encrypted = _root_is_encrypted(backend, instance_id)
        self._workers.submit(instance_id, lambda: self._commit(instance_id, ami))
        return ami

    def _commit(self, instance_id: str, ami: Ami) -> None:
        try:
            self._profile.delay("snapshot")
            self._podman[ami.id] = images.commit(instance_id, ami.id)
        except (LabError, ServiceException):
            ami.state = "failed"
            ami.ebs_snapshot.status = "error"
            raise
        ami.ebs_snapshot.status = "completed"
        ami.state = "available"
        self._events.act(ami.id, "committed", source=instance_id)

    def _copy(self, original: Any, backend: Any, source_image_id: str, *args: Any, **kwargs: Any) -> Ami:
        source = self.podman_image(source_image_id)
        ami: Ami = original(backend, source_image_id, *args, **kwargs)
        before = backend.amis[source_image_id]
        ami.root_device_type, ami.root_device_name = "ebs", before.root_device_name
        ami.hypervisor = before.hypervisor
        ami.ebs_snapshot.encrypted = before.ebs_snapshot.encrypted or self._encrypts.pop(
            source_image_id, False
        )
        self._podman[ami.id] = images.tag(source, ami.id)
        return ami

    def encrypt_copy(self, source_image_id: str) -> None:
        """The next copy of this AMI is encrypted (CopyImage's Encrypted=true, which moto drops)."""
        self._encrypts[source_image_id] = True

    def _deregister(self, original: Any, backend: Any, ami_id: str) -> None:
        original(backend, ami_id)
        image = self._podman.pop(ami_id, None)
        if image:
            images.remove(image)


def _block_devices(ami: Ami) -> list[dict[str, Any]]:
    return [
        {
            "DeviceName": ami.root_device_name,
            "Ebs": {
                "SnapshotId": ami.ebs_snapshot.id,
                "VolumeSize": ROOT_GIB,
                "DeleteOnTermination": True,
                "VolumeType": "gp3",
                "Encrypted": bool(ami.ebs_snapshot.encrypted),
            },
        }
    ]


def _require_unused(backend: Any, name: str) -> None:
    if any(ami.name == name and ami.owner_id == backend.account_id for ami in backend.amis.values()):
        raise EC2ClientError("InvalidAMIName.Duplicate", f"AMI name {name} is already in use")


def _root_is_encrypted(backend: Any, instance_id: str) -> bool:
    instance = backend.get_instance(instance_id)
    block = instance.block_device_mapping.get(instance.root_device_name)
    return bool(block and backend.get_volume(block.volume_id).encrypted)
