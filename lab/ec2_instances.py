# SPDX-License-Identifier: GPL-3.0-or-later
"""EC2 instances: what moto says of one is what its machine is."""

from __future__ import annotations

import copy
import threading
from typing import Any

from moto.core.types import Base64EncodedString
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.instances import Instance, InstanceBackend, InstanceState, Reservation, StateReason
from moto.ec2.responses.general import General

from lab import machines, network
from lab.ec2_addresses import Addresses
from lab.ec2_images import ROOT_GIB, Images
from lab.ec2_volumes import Volumes
from lab.errors import LabError
from lab.events import Events
from lab.faults import Faults
from lab.jobs import Workers
from lab.machines import Machine
from lab.patching import wrap
from lab.profile import Profile

CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}
CONSOLE_KEPT = 64 * 1024
REACHABLE = 60.0
"""Seconds after which an instance whose systemd has not finished starting counts as impaired."""
EMERGENCY = ("/sbin/init", "systemd.unit=emergency.target")


class Instances:
    """Launches, stops, starts, reboots and terminates machines as EC2 is told to."""

    def __init__(
        self,
        backend: Any,
        profile: Profile,
        events: Events,
        workers: Workers,
        faults: Faults,
        images: Images,
        volumes: Volumes,
        addresses: Addresses,
    ) -> None:
        self._backend = backend
        self._profile = profile
        self._events = events
        self._workers = workers
        self._faults = faults
        self._images = images
        self._volumes = volumes
        self._addresses = addresses
        self._intended: set[str] = set()
        self._closing = False
        self._lock = threading.Lock()

    def install(self) -> None:
        """Take over the life of instances."""
        wrap(InstanceBackend, "run_instances", self._run)
        wrap(Instance, "setup_defaults", _root_volume)
        wrap(Instance, "start", self._start)
        wrap(Instance, "stop", self._stop)
        wrap(Instance, "reboot", self._reboot)
        wrap(Instance, "terminate", self._terminate)
        wrap(General, "get_console_output", _console_output)
        Instance.instance_status = property(_status_check)  # type: ignore[method-assign,assignment]

    def by_address(self, private: str) -> Instance | None:
        """The instance that speaks from this private address."""
        for instance in self._backend.all_instances():
            if instance.private_ip == private and instance.state in ("pending", "running", "stopping"):
                return instance  # type: ignore[no-any-return]
        return None

    def close(self) -> None:
        """From now on machines that go off are no news: the lab takes them down."""
        with self._lock:
            self._closing = True

    def power_off(self, instance_id: str) -> None:
        """Cut an instance's power, as a failing host does."""
        self._backend.get_instance(instance_id)
        Machine(instance_id).power_off()

    def failed(self, subject: str, error: BaseException) -> None:
        """A job of an instance went wrong: an instance that never ran ends with the reason."""
        self._events.act(subject, "failed", reason=str(error))
        for instance in self._backend.all_instances():
            if instance.id == subject and instance.state == "pending":
                _enter(instance, "terminated")
                instance.state_reason = StateReason(f"Server.InternalError: {error}", "Server.InternalError")
                self._dismantle(instance)

    def _run(
        self,
        original: Any,
        backend: Any,
        image_id: str,
        count: int,
        user_data: Any,
        group_names: list[str],
        **more: Any,
    ) -> Reservation:
        template = (
            more.get("launch_template") and backend._get_template_from_args(more["launch_template"]).data
        )
        inherited = template or {}
        self._images.require_available(image_id or inherited.get("ImageId", ""))
        key_name = more.get("key_name") or inherited.get("KeyName")
        if key_name and key_name not in backend.key_pairs:
            raise EC2ClientError("InvalidKeyPair.NotFound", f"The key pair '{key_name}' does not exist")
        _inherit(more, inherited)
        _place(backend, more)
        reservation: Reservation = original(backend, image_id, count, user_data, group_names, **more)
        for instance in reservation.instances:
            _associate_profile(backend, instance, inherited)
            _enter(instance, "pending")
            instance.launched = True  # type: ignore[attr-defined]
            self._submit(instance, self._launch)
        return reservation

    def _submit(self, instance: Instance, job: Any) -> None:
        self._workers.submit(instance.id, lambda: job(instance))

    def _launch(self, instance: Instance) -> None:
        image = self._images.podman_image(instance.image_id)
        self._profile.delay("boot")
        subnet = self._backend.get_subnet(instance.subnet_id)
        interface = network.Interface(
            instance_id=instance.id,
            address=str(instance.private_ip),
            prefix_length=subnet.cidr.prefixlen,
            router=str(subnet.cidr[1]),
            mac=instance.nics[0].mac_address,
        )
        network.plug(interface)
        broken = self._faults.names("boot-fail", instance.image_id)
        machines.create(
            instance.id,
            image,
            namespace=interface.namespace,
            address=interface.address,
            hostname=f"ip-{interface.address.replace('.', '-')}",
            init=EMERGENCY if broken else machines.INIT,
        )
        self._power_on(instance)

    def _power_on(self, instance: Instance) -> None:
        machine = Machine(instance.id)
        self._addresses.sync()
        machine.start()
        self._volumes.show_all(instance)
        with self._lock:
            self._intended.discard(instance.id)
        machine.watch(lambda: self._went_off(instance))
        _enter(instance, "running")
        threading.Thread(target=self._check, args=(instance, machine), daemon=True).start()
        self._addresses.sync()
        self._events.act(instance.id, "running", address=str(instance.private_ip))

    def _check(self, instance: Instance, machine: Machine) -> None:
        """EC2's reachability check: impaired when the operating system does not come up."""
        instance.impaired = False  # type: ignore[attr-defined]
        try:
            instance.impaired = machine.wait_booted(REACHABLE) == "maintenance"  # type: ignore[attr-defined]
        except LabError:
            instance.impaired = instance.state == "running"  # type: ignore[attr-defined]

    def _went_off(self, instance: Instance) -> None:
        with self._lock:
            if self._closing or instance.id in self._intended:
                return
        self._submit(instance, self._follow)

    def _follow(self, instance: Instance) -> None:
        """The machine went off by itself: after its own reboot it starts again, else EC2 calls it stopped."""
        if instance.state != "running" or Machine(instance.id).pid:
            return
        if Machine(instance.id).exit_status() == machines.REBOOTED:
            self._power_on(instance)
        elif instance.instance_initiated_shutdown_behavior == "terminate":
            instance.terminate()
        else:
            _enter(instance, "stopped")
            instance.state_reason = StateReason(
                "Client.InstanceInitiatedShutdown: Instance initiated shutdown",
                "Client.InstanceInitiatedShutdown",
            )
            self._events.act(instance.id, "went off")
            self._addresses.sync()

    def _intend(self, instance: Instance) -> None:
        with self._lock:
            self._intended.add(instance.id)

    def _start(self, original: Any, instance: Instance) -> InstanceState:
        before = copy.copy(instance._state)
        if before.name == "running" or before.name == "pending":
            return before
        _require(instance, "stopped", "start")
        original(instance)
        _enter(instance, "pending")
        self._submit(instance, self._started)
        return before

    def _started(self, instance: Instance) -> None:
        self._profile.delay("boot")
        self._power_on(instance)

    def _stop(self, original: Any, instance: Instance) -> InstanceState:
        before = copy.copy(instance._state)
        if before.name in ("stopped", "stopping"):
            return before
        if before.name != "pending":
            _require(instance, "running", "stop")
        original(instance)
        _enter(instance, "stopping")
        self._submit(instance, self._stopped)
        return before

    def _stopped(self, instance: Instance) -> None:
        self._intend(instance)
        Machine(instance.id).stop()
        self._profile.delay("stop")
        _enter(instance, "stopped")
        self._addresses.sync()
        self._events.act(instance.id, "stopped")

    def _reboot(self, original: Any, instance: Instance) -> None:
        _require(instance, "running", "reboot")
        original(instance)
        self._submit(instance, self._rebooted)

    def _rebooted(self, instance: Instance) -> None:
        if instance.state != "running":
            return
        self._intend(instance)
        Machine(instance.id).stop()
        self._power_on(instance)

    def _terminate(self, original: Any, instance: Instance) -> InstanceState:
        before = copy.copy(instance._state)
        if before.name in ("terminated", "shutting-down"):
            return before
        _enter(instance, "shutting-down")
        self._workers.submit(instance.id, lambda: self._terminated(original, instance))
        return before

    def _terminated(self, original: Any, instance: Instance) -> None:
        self._intend(instance)
        machine = Machine(instance.id)
        if machine.pid:
            machine.stop(grace=15)
        self._dismantle(instance)
        original(instance)
        for address in self._backend.addresses:
            if address.instance is instance:
                self._backend.disassociate_address(association_id=address.association_id)
        self._addresses.sync()
        self._events.act(instance.id, "terminated")

    def _dismantle(self, instance: Instance) -> None:
        Machine(instance.id).remove()
        network.unplug(instance.id)
        self._volumes.release_all(instance)


def _enter(instance: Instance, state: str) -> None:
    instance._state.name = state
    instance._state.code = CODES[state]


def _status_check(instance: Instance) -> dict[str, Any]:
    if instance.state != "running":
        return {"Status": "not-applicable"}
    impaired = getattr(instance, "impaired", False)
    return {
        "Details": [{"Name": "reachability", "Status": "failed" if impaired else "passed"}],
        "Status": "impaired" if impaired else "ok",
    }


def _console_output(original: Any, response: Any) -> Any:
    answer = original(response)
    text = Machine(answer.result["InstanceId"]).console()[-CONSOLE_KEPT:]
    answer.result["Output"] = Base64EncodedString.from_raw_string(text)
    return answer


def _require(instance: Instance, state: str, verb: str) -> None:
    if instance.state != state:
        raise EC2ClientError(
            "IncorrectInstanceState",
            f"The instance '{instance.id}' is {instance.state}; to {verb} it, it must be {state}.",
        )


def _root_volume(original: Any, instance: Instance) -> None:
    """moto gives every instance an 8 GiB /dev/sda1; the root device of ours is what the AMI says."""
    backend = instance.ec2_backend
    volume = backend.create_volume(size=ROOT_GIB, zone_name=instance.availability_zone, volume_type="gp3")
    backend.attach_volume(volume.id, instance.id, instance.root_device_name, True)


def _inherit(more: dict[str, Any], template: dict[str, Any]) -> None:
    """What moto does not take from a launch template."""
    if not more.get("block_device_mappings") and template.get("BlockDeviceMappings"):
        more["block_device_mappings"] = [
            {
                **mapping,
                "Ebs": {**mapping.get("Ebs", {}), "DeleteOnTermination": _deleted_with_instance(mapping)},
            }
            for mapping in template["BlockDeviceMappings"]
        ]
    if not more.get("nics") and not more.get("subnet_id") and template.get("NetworkInterfaces"):
        more["nics"] = copy.deepcopy(template["NetworkInterfaces"])
    for ours, theirs in (
        ("metadata_options", "MetadataOptions"),
        ("instance_initiated_shutdown_behavior", "InstanceInitiatedShutdownBehavior"),
    ):
        if not more.get(ours) and template.get(theirs):
            more[ours] = template[theirs]


def _deleted_with_instance(mapping: dict[str, Any]) -> bool:
    return str(mapping.get("Ebs", {}).get("DeleteOnTermination", "false")).lower() == "true"


def _place(backend: Any, more: dict[str, Any]) -> None:
    """Without a subnet EC2 takes the zone's default subnet; moto would invent an address outside of any."""
    if more.get("subnet_id") or any(
        nic.get("SubnetId") or nic.get("NetworkInterfaceId") for nic in more["nics"]
    ):
        return
    zone = more.get("placement") or f"{backend.region_name}a"
    subnet = backend.get_default_subnets().get(zone)
    if subnet is None:
        raise EC2ClientError("MissingInput", f"No default subnet for availability zone: '{zone}'.")
    more["subnet_id"] = None if more["nics"] else subnet.id
    for nic in more["nics"]:
        nic["SubnetId"] = subnet.id


def _associate_profile(backend: Any, instance: Instance, template: dict[str, Any]) -> None:
    profile = template.get("IamInstanceProfile")
    if profile and instance.id not in backend.iam_instance_profile_associations:
        backend.associate_iam_instance_profile(
            instance_id=instance.id,
            iam_instance_profile_name=profile.get("Name"),
            iam_instance_profile_arn=profile.get("Arn"),
        )
