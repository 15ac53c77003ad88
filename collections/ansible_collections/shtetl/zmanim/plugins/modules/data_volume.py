#!/usr/bin/python
# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declare the EBS volume that outlives every instance."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: data_volume
version_added: 0.1.0
short_description: Declare the EBS volume that holds the data
description:
  - Finds the volume by its C(Name) tag and creates it when there is none. An existing volume is never
    replaced, shrunk or grown, and never gets the tags of a fresh one.
  - Refuses to create an empty volume while snapshots of an earlier one with the same name exist.
  - With I(state=absent) the volume's id must be given, and a volume in use is refused.
options:
  name:
    description: The C(Name) tag of the volume.
    type: str
    required: true
  volume_id:
    description: Id of the volume to delete; it must be the one that has the name.
    type: str
  availability_zone:
    description: Zone of the volume.
    type: str
  size_gib:
    description: Size of a new volume in GiB.
    type: int
    default: 30
  iops:
    description: Provisioned operations a second of the gp3 volume.
    type: int
    default: 3000
  throughput:
    description: Provisioned throughput of the gp3 volume in MiB/s.
    type: int
    default: 125
  kms_key_id:
    description: KMS key of a new volume. The account's default key for EBS when not given.
    type: str
  snapshot_id:
    description: Snapshot that a new volume is made from.
    type: str
  accept_empty:
    description: Whether an empty volume may be created although snapshots of an earlier one exist.
    type: bool
    default: false
  first_tags:
    description: Tags that an empty volume gets when it is created, and that are left to others afterwards.
    type: dict
    default: {}
  wait_timeout:
    description: Seconds to wait for the volume to be available or deleted.
    type: int
    default: 120
author:
  - The shtetl.zmanim authors (@shtetl)
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - shtetl.zmanim.attributes
  - shtetl.zmanim.state
  - shtetl.zmanim.tags.added
"""

EXAMPLES = r"""
- name: Keep the data volume
  shtetl.zmanim.data_volume:
    name: zmanim-data-production
    availability_zone: eu-west-1a
    tags: {Persistent: "true", Environment: production}
    first_tags: {Fresh: "true"}
"""

RETURN = r"""
volume_id:
  description: Id of the volume, empty in check mode before it exists.
  returned: always
  type: str
"""

from typing import Any, Dict, List, Optional

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import (
    STATE,
    DeclaredResource,
    DeclaredResourceError,
    State,
    add_ec2_tags,
    call,
    desired_tags,
    run,
    tag_dict,
    tag_list,
    wait_until,
)
from ansible_collections.shtetl.zmanim.plugins.module_utils.named_resources import named, the_only

# States of a volume that is not on its way out.
KEPT = ["creating", "available", "in-use", "error"]

GONE = ("InvalidVolume.NotFound",)


class DataVolume(DeclaredResource):
    """The one volume with the declared name."""

    kind = "EBS volume"

    def __init__(self, module: Any) -> None:
        super().__init__(module)
        self.ec2 = module.client("ec2")
        self.name: str = self.params["name"]
        self.volume_id = ""
        self.attached_to: List[str] = []

    def current(self) -> Optional[State]:
        """Read the volume that has the name; more than one is an error."""
        volumes = named(self.ec2.describe_volumes, "Volumes", self.name, {"status": KEPT})
        volume = the_only("volumes", self.name, volumes, "VolumeId", "take the Name tag off the others")
        return self._state_of(volume) if volume else None

    def _state_of(self, volume: Dict[str, Any]) -> State:
        self.volume_id = volume["VolumeId"]
        self.attached_to = [attachment["InstanceId"] for attachment in volume.get("Attachments", [])]
        return {
            "availability_zone": volume["AvailabilityZone"],
            "encrypted": volume["Encrypted"],
            "iops": volume.get("Iops"),
            "size_gib": volume["Size"],
            "tags": tag_dict(volume.get("Tags")),
            "throughput": volume.get("Throughput"),
            "volume_type": volume["VolumeType"],
        }

    def desired(self, current: Optional[State]) -> State:
        """Return the declared volume; an existing one keeps its size, type, zone and encryption."""
        tags = dict(self.params["tags"], Name=self.name)
        if current is None:
            self._refuse_loss()
            first = {} if self.params["snapshot_id"] else self.params["first_tags"]
            return dict(self._new_shape(), tags=desired_tags({}, dict(tags, **first), purge=True))
        self._report_differences(current)
        speed = (
            {key: self.params[key] for key in ("iops", "throughput")}
            if current["volume_type"] == "gp3"
            else {}
        )
        return dict(current, tags=desired_tags(current["tags"], tags, purge=False), **speed)

    def _new_shape(self) -> State:
        return {
            "availability_zone": self.params["availability_zone"],
            "encrypted": True,
            "iops": self.params["iops"],
            "size_gib": self.params["size_gib"],
            "throughput": self.params["throughput"],
            "volume_type": "gp3",
        }

    def _refuse_loss(self) -> None:
        """Fail when the volume is missing but its snapshots exist and nobody said which of both to use."""
        if self.params["snapshot_id"] or self.params["accept_empty"]:
            return
        snapshots = named(self.ec2.describe_snapshots, "Snapshots", self.name, OwnerIds=["self"])
        found = sorted(snapshots, key=lambda snapshot: snapshot["StartTime"])
        if found:
            newest = found[-1]
            raise DeclaredResourceError(
                f"there is no volume named {self.name}, but {len(found)} snapshot(s) of an earlier one, "
                "the newest "
                f"{newest['SnapshotId']} of {newest['StartTime']:%Y-%m-%d %H:%M} UTC: give snapshot_id "
                "to restore "
                "it, or accept_empty to start with an empty database"
            )

    def _report_differences(self, current: State) -> None:
        zone = self.params["availability_zone"]
        if current["availability_zone"] != zone:
            raise DeclaredResourceError(
                f"the volume {self.volume_id} is in {current['availability_zone']}, expected {zone}: "
                "a volume can't change its zone; correct the variable, or restore a snapshot there"
            )
        if current["size_gib"] != self.params["size_gib"]:
            self.module.warn(
                f"the volume {self.volume_id} has {current['size_gib']} GiB, declared are "
                f"{self.params['size_gib']}: the size of an existing volume is left alone"
            )
        if not current["encrypted"]:
            self.module.warn(
                f"the volume {self.volume_id} is not encrypted: restore an encrypted copy of a snapshot"
            )

    def create(self, desired: State) -> None:
        """Create the volume and wait until it is available."""
        arguments: Dict[str, Any] = {
            "AvailabilityZone": desired["availability_zone"],
            "Encrypted": True,
            "Iops": desired["iops"],
            "Size": desired["size_gib"],
            "TagSpecifications": [{"ResourceType": "volume", "Tags": tag_list(desired["tags"])}],
            "Throughput": desired["throughput"],
            "VolumeType": desired["volume_type"],
        }
        if self.params["kms_key_id"]:
            arguments["KmsKeyId"] = self.params["kms_key_id"]
        if self.params["snapshot_id"]:
            arguments["SnapshotId"] = self.params["snapshot_id"]
        self.volume_id = call(f"create the volume {self.name}", self.ec2.create_volume, **arguments)[
            "VolumeId"
        ]
        self._wait("is available", lambda status: status == "available")

    def _status(self) -> str:
        answer = call("read the volume", self.ec2.describe_volumes, missing=GONE, VolumeIds=[self.volume_id])
        volumes = (answer or {}).get("Volumes") or [{"State": "deleted"}]
        return str(volumes[0]["State"])

    def _wait(self, condition: str, reached: Any) -> None:
        what = f"the volume {self.volume_id} {condition}"
        wait_until(what, self._status, reached, deadline=self.params["wait_timeout"])

    def update(self, current: State, desired: State) -> None:
        """Set tags and speed."""
        add_ec2_tags(self.ec2, self.volume_id, current["tags"], desired["tags"])
        if (current["iops"], current["throughput"]) != (desired["iops"], desired["throughput"]):
            call(
                "change the speed of the volume",
                self.ec2.modify_volume,
                VolumeId=self.volume_id,
                Iops=desired["iops"],
                Throughput=desired["throughput"],
            )

    def delete(self, current: State) -> None:
        """Delete the volume that was named by its id and is attached nowhere."""
        if self.attached_to:
            raise DeclaredResourceError(
                f"the volume {self.volume_id} is attached to {', '.join(self.attached_to)}: end that "
                "instance first"
            )
        call(f"delete {self.volume_id}", self.ec2.delete_volume, missing=GONE, VolumeId=self.volume_id)
        self._wait("is deleted", lambda status: status == "deleted")

    def result(self) -> State:
        """Return the volume's id."""
        return {"volume_id": self.volume_id}


class NamedDeletion(DataVolume):
    """A data volume that may be deleted only when it is the one that was named."""

    def current(self) -> Optional[State]:
        """Read the volume and compare its id with the named one."""
        found = super().current()
        if found is not None and self.params["volume_id"] != self.volume_id:
            raise DeclaredResourceError(
                f"the volume named {self.name} is {self.volume_id}, but {self.params['volume_id']} is to "
                "be deleted: "
                "name the right one"
            )
        return found


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": STATE,
            "volume_id": {"type": "str"},
            "availability_zone": {"type": "str"},
            "size_gib": {"type": "int", "default": 30},
            "iops": {"type": "int", "default": 3000},
            "throughput": {"type": "int", "default": 125},
            "kms_key_id": {"type": "str"},
            "snapshot_id": {"type": "str"},
            "accept_empty": {"type": "bool", "default": False},
            "tags": {"type": "dict", "default": {}},
            "first_tags": {"type": "dict", "default": {}},
            "wait_timeout": {"type": "int", "default": 120},
        },
        required_if=[("state", "present", ["availability_zone"]), ("state", "absent", ["volume_id"])],
        supports_check_mode=True,
    )
    run(module, NamedDeletion if module.params["state"] == "absent" else DataVolume)


if __name__ == "__main__":
    main()
