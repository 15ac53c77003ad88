# SPDX-License-Identifier: GPL-3.0-or-later
"""EBS: volumes and snapshots that exist as files, attachments that appear in the machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from moto.ec2.exceptions import EC2ClientError, VolumeInUseError
from moto.ec2.models.elastic_block_store import EBSBackend, Snapshot, Volume
from moto.ec2.models.instances import Instance

from lab import devices
from lab.devices import Disk
from lab.events import Events
from lab.faults import Faults
from lab.jobs import Workers
from lab.machines import Machine
from lab.patching import wrap
from lab.profile import Profile
from lab.volumes import VolumeStore

DECOY_GIB = 1
POLL = 0.2


class Volumes:
    """Attaches and detaches what EC2 says is attached and detached."""

    def __init__(
        self, backend: Any, profile: Profile, events: Events, workers: Workers, faults: Faults
    ) -> None:
        self._backend = backend
        self._profile = profile
        self._events = events
        self._workers = workers
        self._faults = faults
        self._store = VolumeStore()
        self._disks: dict[str, Disk] = {}
        self._decoys: dict[str, list[Disk]] = {}
        self._forced: set[str] = set()

    def install(self) -> None:
        """Take over the calls that make, move and delete volumes and snapshots."""
        for name, wrapper in (
            ("create_volume", self._create),
            ("delete_volume", self._delete),
            ("attach_volume", self._attach),
            ("detach_volume", self._detach),
            ("create_snapshot", self._snapshot),
            ("delete_snapshot", self._delete_snapshot),
        ):
            wrap(EBSBackend, name, wrapper)
        wrap(Volume, "modify", self._modify)
        threading.Thread(target=self._refresh_forever, name="udev", daemon=True).start()

    def force_detach(self, volume_id: str) -> None:
        """The next detachment of this volume does not wait until it is unmounted (Force=true)."""
        self._forced.add(volume_id)

    def show_all(self, instance: Instance) -> None:
        """Make all attached volumes appear in a machine that has just been powered on."""
        for device, block in instance.get_block_device_mapping:
            if device != instance.root_device_name:
                self._appear(block.volume_id, instance.id)
                _mark(self._backend, instance, device, "attached")

    def release_all(self, instance: Instance) -> None:
        """Free the loop devices of a machine that is gone."""
        for _, block in instance.get_block_device_mapping:
            self._unbind(block.volume_id)
        for decoy in self._decoys.pop(instance.id, []):
            devices.release(decoy.loop)

    def _create(self, original: Any, backend: Any, *args: Any, **kwargs: Any) -> Volume:
        if kwargs.get("size") is not None:
            kwargs["size"] = int(kwargs["size"])
        return original(backend, *args, **kwargs)  # type: ignore[no-any-return]

    def _delete(self, original: Any, backend: Any, volume_id: str) -> Volume:
        volume: Volume = original(backend, volume_id)
        self._store.delete(volume_id)
        return volume

    def _modify(self, original: Any, volume: Volume, **kwargs: Any) -> None:
        target = kwargs.get("target_size")
        if target is not None and int(target) < volume.size:
            raise EC2ClientError(
                "InvalidParameterValue", f"New size cannot be smaller than existing size {volume.size} GiB"
            )
        original(volume, **{**kwargs, "target_size": int(target) if target else None})
        if self._store.path(volume.id).exists():
            self._store.resize(volume.id, int(volume.size))
        if volume.id in self._disks:
            devices.grow(self._disks[volume.id].loop)

    def _snapshot(self, original: Any, backend: Any, volume_id: str, *args: Any, **kwargs: Any) -> Snapshot:
        snapshot: Snapshot = original(backend, volume_id, *args, **kwargs)
        if not self._store.path(volume_id).exists():
            return snapshot
        snapshot.status = "pending"
        self._workers.submit(snapshot.id, lambda: self._copy(volume_id, snapshot))
        return snapshot

    def _copy(self, volume_id: str, snapshot: Snapshot) -> None:
        with self._frozen(volume_id):
            self._store.snapshot(volume_id, snapshot.id)
        self._profile.delay("snapshot")
        snapshot.status = "completed"
        self._events.act(snapshot.id, "completed", source=volume_id)

    @contextmanager
    def _frozen(self, volume_id: str) -> Iterator[None]:
        """Hold the file system still while it is copied: EBS copies one instant, cp does not."""
        disk, volume = self._disks.get(volume_id), self._backend.get_volume(volume_id)
        machine = Machine(volume.attachment.instance.id) if volume.attachment else None
        place = devices.mount_point(machine, disk) if machine and disk and machine.pid else None
        if machine is None or place is None:
            yield
            return
        machine.execute("fsfreeze", "--freeze", place)
        try:
            yield
        finally:
            machine.execute("fsfreeze", "--unfreeze", place)

    def _delete_snapshot(self, original: Any, backend: Any, snapshot_id: str) -> Snapshot:
        snapshot: Snapshot = original(backend, snapshot_id)
        self._store.delete(snapshot_id)
        return snapshot

    def _attach(
        self,
        original: Any,
        backend: Any,
        volume_id: str,
        instance_id: str,
        device_path: str,
        *rest: Any,
        **more: Any,
    ) -> Any:
        volume, instance = backend.get_volume(volume_id), backend.get_instance(instance_id)
        if volume.attachment:
            raise VolumeInUseError(volume_id, volume.attachment.instance.id)
        if instance.state not in ("pending", "running", "stopped"):
            raise EC2ClientError("IncorrectState", f"Instance '{instance_id}' is not 'running'.")
        if volume.availability_zone != instance.availability_zone:
            raise EC2ClientError(
                "InvalidVolume.ZoneMismatch", f"The volume '{volume_id}' is not in the same availability zone"
            )
        attachment = original(backend, volume_id, instance_id, device_path, *rest, **more)
        if device_path != instance.root_device_name and _is_launched(instance):
            _mark(backend, instance, device_path, "attaching")
            queue = volume_id if instance.state == "running" else instance.id  # else it follows the power-on
            self._workers.submit(queue, lambda: self._attached(volume_id, instance, device_path))
        return attachment

    def _attached(self, volume_id: str, instance: Instance, device: str) -> None:
        time.sleep(self._faults.seconds("attach-hang"))
        self._profile.delay("attach")
        late = self._faults.seconds("late-device")
        if not late and instance.state == "running":
            self._appear(volume_id, instance.id)
        _mark(self._backend, instance, device, "attached")
        if late:
            time.sleep(late)
            self._appear(volume_id, instance.id)

    def _appear(self, volume_id: str, instance_id: str) -> None:
        machine = Machine(instance_id)
        if self._faults.once("decoy-disk"):
            self._decoys.setdefault(instance_id, []).append(devices.show(machine, self._decoy()))
        serial = devices.serial_of(volume_id)
        if self._faults.once("wrong-serial"):
            serial = "vol" + serial[3:][::-1]
        disk = devices.show(machine, Disk(self._bind(volume_id), serial))
        self._disks[volume_id] = disk
        self._events.act(volume_id, "appeared", instance=instance_id, node=disk.node, loop=disk.loop)

    def _decoy(self) -> Disk:
        name = "vol-0decoy" + f"{time.time_ns():x}"[-11:]
        self._store.create(name, DECOY_GIB)
        return Disk(devices.bind(self._store.path(name)), devices.serial_of(name))

    def _bind(self, volume_id: str) -> str:
        if volume_id in self._disks:
            return self._disks[volume_id].loop
        volume = self._backend.get_volume(volume_id)
        if not self._store.path(volume_id).exists():
            self._store.create(volume_id, int(volume.size), volume.snapshot_id)
        return devices.bind(self._store.path(volume_id))

    def _detach(
        self, original: Any, backend: Any, volume_id: str, instance_id: str | None, device_path: str | None
    ) -> Any:
        attachment = backend.get_volume(volume_id).attachment
        if attachment is None:
            raise EC2ClientError("IncorrectState", f"Volume '{volume_id}' is in the 'available' state.")
        instance: Instance = attachment.instance
        if instance_id not in (None, instance.id):
            raise EC2ClientError(
                "InvalidAttachment.NotFound", f"Volume '{volume_id}' is not attached to '{instance_id}'"
            )
        if (
            instance.state in ("shutting-down", "terminated")
            or attachment.device == instance.root_device_name
        ):
            return original(backend, volume_id, instance.id, attachment.device)
        if attachment.status != "detaching":
            _mark(backend, instance, attachment.device, "detaching")
            self._workers.submit(
                volume_id, lambda: self._detached(original, volume_id, instance, attachment.device)
            )
        return attachment

    def _detached(self, original: Any, volume_id: str, instance: Instance, device: str) -> None:
        time.sleep(self._faults.seconds("detach-hang"))
        disk = self._disks.get(volume_id)
        while disk and devices.is_mounted(disk) and volume_id not in self._forced:
            time.sleep(POLL)
        self._profile.delay("detach")
        if instance.state == "terminated":
            return
        if disk and instance.state == "running":
            devices.hide(Machine(instance.id), disk)
        self._unbind(volume_id)
        self._forced.discard(volume_id)
        original(self._backend, volume_id, instance.id, device)
        self._events.act(volume_id, "detached", instance=instance.id)

    def _unbind(self, volume_id: str) -> None:
        disk = self._disks.pop(volume_id, None)
        if disk:
            devices.release(disk.loop)

    def _refresh_forever(self) -> None:
        """udev notices a new file system when its writer closes the device; there is no udevd, so look."""
        while True:
            time.sleep(1)
            for volume_id, disk in list(self._disks.items()):
                self._refresh(volume_id, disk)

    def _refresh(self, volume_id: str, disk: Disk) -> None:
        volume = self._backend.volumes.get(volume_id)
        if volume is None or volume.attachment is None or volume.attachment.status != "attached":
            return
        if volume.attachment.instance.state == "running":
            try:
                devices.describe(Machine(volume.attachment.instance.id), disk)
            except Exception as error:  # the machine may go away at any moment; the next round looks again
                self._events.act(volume_id, "not described", reason=str(error))


def _is_launched(instance: Instance) -> bool:
    return bool(getattr(instance, "launched", False))


def _mark(backend: Any, instance: Instance, device: str, status: str) -> None:
    block = instance.block_device_mapping.get(device)
    if block is None:
        return
    block.status = "in-use" if status == "attached" else status
    attachment = backend.get_volume(block.volume_id).attachment
    if attachment:
        attachment.status = status
