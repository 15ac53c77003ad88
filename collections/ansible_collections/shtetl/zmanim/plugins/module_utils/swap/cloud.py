# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment's instances, address and volume in EC2, found by tags; waits poll every 0.3-1 s."""

from __future__ import annotations

import base64
import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import (
    call as call_aws,
)
from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import (
    pages,
    tag_dict,
    tag_list,
)

from .phases import SwapError

LONGEST_PAUSE = 0.5  # seconds between two tries of a call that AWS could not answer: requests may be waiting

Found = Dict[str, Any]
LIVING = ("pending", "running", "stopping", "stopped")


def instance_state(instance: Optional[Mapping[str, Any]]) -> str:
    """Return an instance's state name, C(gone) for None."""
    return str(instance["State"]["Name"]) if instance else "gone"


def user_data_values(text: str) -> Dict[str, str]:
    """Return the KEY=VALUE lines of a user-data document."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, _sign, value in pairs}


def launch_request(
    template: Mapping[str, Any], swap: Mapping[str, Any], tags: Mapping[str, str]
) -> Dict[str, Any]:
    """Return the RunInstances request for green: the launch template with another AMI, in blue's subnet.

    C(template) is LaunchTemplateData.  EC2 refuses SubnetId beside network interfaces, so it goes where the
    template has them.  C(swap) gives C(template_name), C(template_version), C(to_ami), C(subnet_id) and
    C(swap_id).
    """
    request: Dict[str, Any] = {
        "LaunchTemplate": {"LaunchTemplateName": swap["template_name"], "Version": swap["template_version"]},
        "ImageId": swap["to_ami"],
        "MinCount": 1,
        "MaxCount": 1,
        "ClientToken": swap["swap_id"],
        "TagSpecifications": [
            {"ResourceType": kind, "Tags": tag_list(tags)} for kind in ("instance", "volume")
        ],
    }
    # The root volume is not the data volume: its name must not be found by the data volume's tags.
    root = dict(tags, Name="{0}-root".format(tags["Name"]))
    request["TagSpecifications"][1]["Tags"] = tag_list(root)
    interfaces = template.get("NetworkInterfaces")
    if interfaces:
        request["NetworkInterfaces"] = [dict(interfaces[0], SubnetId=swap["subnet_id"])]
    else:
        request["SubnetId"] = swap["subnet_id"]
    return request


def call(action: str, method: Callable[..., Any], **arguments: Any) -> Any:
    """Call EC2, repeating a transient failure after at most half a second."""
    return call_aws(
        action, method, pause=lambda seconds: time.sleep(min(seconds, LONGEST_PAUSE)), **arguments
    )


class Cloud:
    """EC2 as a swap sees it.  C(ec2) is a boto3 client; C(on_poll) is called in every wait (it renews
    the lock).
    """

    def __init__(
        self,
        ec2: Any,
        environment: str,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._ec2 = ec2
        self.environment = environment
        self.clock = clock
        self.pause = pause
        self.on_poll: Callable[[], None] = lambda: None

    @property
    def name(self) -> str:
        """Return the Name tag shared by the environment's instances, template and address."""
        return "zmanim-{0}".format(self.environment)

    def wait(self, what: str, probe: Callable[[], bool], deadline: float, interval: float = 0.3) -> None:
        """Poll C(probe) until it is true; raises SwapError that names C(what) after C(deadline) seconds."""
        end = self.clock() + deadline
        while not probe():
            if self.clock() + interval > end:
                raise SwapError("{0} did not happen within {1:g} s".format(what, deadline))
            self.on_poll()
            self.pause(interval)

    # Instances

    def instances(
        self, filters: Optional[Mapping[str, Sequence[str]]] = None, states: Sequence[str] = LIVING
    ) -> List[Found]:
        """Return the environment's instances in C(states) that match C(filters), oldest first."""
        wanted: Dict[str, Sequence[str]] = {
            "tag:Name": [self.name],
            "tag:Environment": [self.environment],
            "instance-state-name": list(states),
        }
        wanted.update(filters or {})
        found = pages(
            "list the instances of {0}".format(self.name),
            self._ec2.describe_instances,
            lambda page: [one for group in page.get("Reservations", []) for one in group["Instances"]],
            Filters=[{"Name": key, "Values": list(values)} for key, values in wanted.items()],
        )
        return sorted(found, key=lambda one: str(one.get("LaunchTime")))

    def instance(self, instance_id: str) -> Optional[Found]:
        """Return one instance, None when it does not exist (any more)."""
        page = call(
            "look at instance {0}".format(instance_id),
            self._ec2.describe_instances,
            missing=("InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed"),
            InstanceIds=[instance_id],
        )
        groups = (page or {}).get("Reservations", [])
        return groups[0]["Instances"][0] if groups else None

    def template(self) -> Found:
        """Return the launch template's default version: {"version", "data"}.  Raises SwapError when
        there is none.
        """
        page = call(
            "read launch template {0}".format(self.name),
            self._ec2.describe_launch_template_versions,
            missing=("InvalidLaunchTemplateName.NotFoundException",),
            LaunchTemplateName=self.name,
            Versions=["$Default"],
        )
        versions = (page or {}).get("LaunchTemplateVersions", [])
        if not versions:
            raise SwapError("launch template {0} does not exist: run site.yml first".format(self.name))
        return {
            "version": str(versions[0]["VersionNumber"]),
            "data": versions[0].get("LaunchTemplateData", {}),
        }

    @staticmethod
    def template_volume(template: Mapping[str, Any]) -> Optional[str]:
        """Return the data volume that the template's user-data names, None when it names none."""
        text = base64.b64decode(template["data"].get("UserData") or "").decode("utf-8", "replace")
        return user_data_values(text).get("ZMANIM_VOLUME_ID")

    def launch(self, request: Mapping[str, Any]) -> str:
        """Launch one instance and return its id; the client token makes a repetition return the same one."""
        answer = call("launch the new instance", self._ec2.run_instances, **dict(request))
        return str((answer or {})["Instances"][0]["InstanceId"])

    def start(self, instance_id: str) -> None:
        """Start a stopped instance."""
        call("start {0}".format(instance_id), self._ec2.start_instances, InstanceIds=[instance_id])

    def stop(self, instance_id: str) -> None:
        """Stop an instance, without waiting."""
        call("stop {0}".format(instance_id), self._ec2.stop_instances, InstanceIds=[instance_id])

    def terminate(self, instance_id: str) -> None:
        """Terminate an instance, without waiting; one that is gone is fine."""
        call(
            "terminate {0}".format(instance_id),
            self._ec2.terminate_instances,
            missing=("InvalidInstanceID.NotFound",),
            InstanceIds=[instance_id],
        )

    def wait_for_state(self, instance_id: str, states: Sequence[str], deadline: float) -> None:
        """Wait until an instance is in one of C(states); C(gone) counts as terminated."""
        wanted = [*states, "gone"] if "terminated" in states else list(states)
        self.wait(
            "{0} becoming {1}".format(instance_id, " or ".join(states)),
            lambda: instance_state(self.instance(instance_id)) in wanted,
            deadline,
            interval=1.0,
        )

    def tag(self, resource_id: str, tags: Mapping[str, str]) -> None:
        """Set tags on an instance, volume or snapshot."""
        call(
            "tag {0}".format(resource_id), self._ec2.create_tags, Resources=[resource_id], Tags=tag_list(tags)
        )

    def untag(self, resource_id: str, keys: Sequence[str]) -> None:
        """Remove tags; those that are not there are no error."""
        call(
            "remove tags from {0}".format(resource_id),
            self._ec2.delete_tags,
            Resources=[resource_id],
            Tags=[{"Key": key} for key in keys],
        )

    # Images

    def image(self, image_id: str) -> Optional[Found]:
        """Return an AMI, None when it does not exist or is not ours to see."""
        page = call(
            "look at AMI {0}".format(image_id),
            self._ec2.describe_images,
            missing=("InvalidAMIID.NotFound", "InvalidAMIID.Malformed", "InvalidAMIID.Unavailable"),
            ImageIds=[image_id],
        )
        images = (page or {}).get("Images", [])
        return images[0] if images else None

    # The data volume

    def data_volume(self) -> Found:
        """Return the environment's one data volume.  Raises SwapError unless there is exactly one."""
        name = "zmanim-data-{0}".format(self.environment)
        filters = {"tag:Name": name, "tag:Environment": self.environment, "tag:Persistent": "true"}
        found = list(
            pages(
                "find the data volume",
                self._ec2.describe_volumes,
                lambda page: page.get("Volumes", []),
                Filters=[{"Name": key, "Values": [value]} for key, value in filters.items()],
            )
        )
        if len(found) != 1:
            names = ", ".join(str(one["VolumeId"]) for one in found) or "none"
            raise SwapError(
                "expected exactly one volume tagged Name={0}, Persistent=true in {1}, found {2}: {3}".format(
                    name,
                    self._ec2.meta.region_name,
                    names,
                    "remove the tags from the others"
                    if found
                    else "check zmanim_region and the account, and only then run site.yml",
                )
            )
        return found[0]

    def volume(self, volume_id: str) -> Found:
        """Return one volume as EC2 describes it now."""
        page = call("look at volume {0}".format(volume_id), self._ec2.describe_volumes, VolumeIds=[volume_id])
        return (page or {})["Volumes"][0]

    def attachment(self, volume_id: str) -> Tuple[Optional[str], str]:
        """Return a volume's instance and the attachment's state (attaching, attached, detaching,
        busy), (None, "") when free.
        """
        for one in self.volume(volume_id).get("Attachments") or []:
            if one.get("State") != "detached":
                return str(one["InstanceId"]), str(one.get("State"))
        return None, ""

    def holder(self, volume_id: str) -> Optional[str]:
        """Return the instance that a volume is attached (or being attached, detached) to, None when free."""
        return self.attachment(volume_id)[0]

    def detach(self, volume_id: str, instance_id: str, deadline: float) -> None:
        """Detach and wait until the volume is free.  Never by force.  Raises SwapError past
        C(deadline) seconds.
        """
        call(
            "detach {0} from {1}".format(volume_id, instance_id),
            self._ec2.detach_volume,
            VolumeId=volume_id,
            InstanceId=instance_id,
        )
        self.wait_until_free(volume_id, deadline)

    def wait_until_free(self, volume_id: str, deadline: float) -> None:
        """Wait until a volume is attached to nothing."""
        self.wait(
            "volume {0} becoming free".format(volume_id),
            lambda: self.volume(volume_id)["State"] == "available",
            deadline,
        )

    def attach(self, volume_id: str, instance_id: str, device: str) -> None:
        """Ask for an attachment; the machine sees it by itself, so nothing waits here."""
        call(
            "attach {0} to {1}".format(volume_id, instance_id),
            self._ec2.attach_volume,
            VolumeId=volume_id,
            InstanceId=instance_id,
            Device=device,
        )

    def start_snapshot(self, volume_id: str, swap_id: str) -> str:
        """Start a snapshot of the data volume and return its id, without waiting for it to complete."""
        tags = {
            "Name": "{0}-before-swap".format(self.name),
            "Environment": self.environment,
            "ZmanimSwap": swap_id,
        }
        answer = call(
            "start a snapshot of {0}".format(volume_id),
            self._ec2.create_snapshot,
            VolumeId=volume_id,
            Description="{0} before {1}".format(self.name, swap_id),
            TagSpecifications=[{"ResourceType": "snapshot", "Tags": tag_list(tags)}],
        )
        return str((answer or {})["SnapshotId"])

    def snapshot(self, snapshot_id: str) -> Optional[Found]:
        """Return one snapshot, None when it is gone."""
        page = call(
            "look at snapshot {0}".format(snapshot_id),
            self._ec2.describe_snapshots,
            missing=("InvalidSnapshot.NotFound",),
            SnapshotIds=[snapshot_id],
        )
        found = (page or {}).get("Snapshots", [])
        return found[0] if found else None

    # The address

    def address(self) -> Found:
        """Return the environment's Elastic IP.  Raises SwapError unless there is exactly one."""
        page = call(
            "find the Elastic IP",
            self._ec2.describe_addresses,
            Filters=[{"Name": "tag:Name", "Values": [self.name]}],
        )
        found = (page or {}).get("Addresses", [])
        if len(found) != 1:
            raise SwapError(
                "expected exactly one Elastic IP tagged Name={0}, found {1}: {2}".format(
                    self.name, len(found), "remove the tag from the others" if found else "run site.yml first"
                )
            )
        return found[0]

    def move_address(self, allocation_id: str, instance_id: str) -> None:
        """Put the Elastic IP on an instance, taking it from whichever has it."""
        call(
            "move the Elastic IP to {0}".format(instance_id),
            self._ec2.associate_address,
            AllocationId=allocation_id,
            InstanceId=instance_id,
            AllowReassociation=True,
        )


def tags_of(found: Optional[Mapping[str, Any]]) -> Dict[str, str]:
    """Return the tags of anything that EC2 describes."""
    return tag_dict((found or {}).get("Tags"))
