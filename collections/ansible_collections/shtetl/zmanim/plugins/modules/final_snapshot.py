#!/usr/bin/python
# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take the last snapshot of a data volume before everything around it is taken down."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: final_snapshot
version_added: 0.1.0
short_description: Take a final snapshot of a data volume that is attached nowhere
description:
  - Takes a snapshot of the volume with the name, waits until it is complete, and notes its id in a tag of the
    volume. A volume with that tag has not been used since, so a second run takes no other one.
  - Does nothing when there is no volume with the name.
  - Refuses a volume that is still attached, because what the machine hasn't written yet would be missing.
options:
  volume_name:
    description: The C(Name) tag of the volume.
    type: str
    required: true
  tags:
    description: Tags of the snapshot.
    type: dict
    default: {}
  wait_timeout:
    description: Seconds to wait until the snapshot is complete.
    type: int
    default: 3600
attributes:
  diff_mode:
    description: Shows the snapshot that would be taken.
author:
  - The shtetl.zmanim authors (@shtetl)
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - shtetl.zmanim.attributes
"""

EXAMPLES = r"""
- name: Keep what the volume holds
  shtetl.zmanim.final_snapshot:
    volume_name: zmanim-data-production
"""

RETURN = r"""
snapshot_id:
  description: Id of the final snapshot, empty in check mode before it exists and without a volume.
  returned: always
  type: str
volume_id:
  description: Id of the volume, empty when there is none.
  returned: always
  type: str
"""

from typing import Any, Optional

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import (
    DeclaredResource,
    DeclaredResourceError,
    State,
    call,
    run,
    tag_dict,
    tag_list,
    wait_until,
)
from ansible_collections.shtetl.zmanim.plugins.module_utils.named_resources import named, the_only
from ansible_collections.shtetl.zmanim.plugins.module_utils.volume_tags import FINAL_SNAPSHOT


class FinalSnapshot(DeclaredResource):
    """The snapshot that a volume's tag names."""

    kind = "EBS snapshot"

    def __init__(self, module: Any) -> None:
        super().__init__(module)
        self.ec2 = module.client("ec2")
        self.name: str = self.params["volume_name"]
        self.volume_id = ""
        self.snapshot_id = ""
        self.holders = ""

    def current(self) -> Optional[State]:
        """Read which snapshot the volume's tag names."""
        volumes = named(self.ec2.describe_volumes, "Volumes", self.name)
        volume = the_only("volumes", self.name, volumes, "VolumeId", "take the Name tag off the others")
        if volume is None:
            return {"volume_id": "", "final": True}
        self.volume_id = volume["VolumeId"]
        self.holders = ", ".join(one["InstanceId"] for one in volume.get("Attachments", []))
        self.snapshot_id = tag_dict(volume.get("Tags")).get(FINAL_SNAPSHOT, "")
        return {"volume_id": self.volume_id, "final": self._complete()}

    def _complete(self) -> bool:
        if not self.snapshot_id or self.holders:
            return False
        return self._state() == "completed"

    def _state(self) -> str:
        answer = call(
            f"read the snapshot {self.snapshot_id}",
            self.ec2.describe_snapshots,
            missing=("InvalidSnapshot.NotFound",),
            SnapshotIds=[self.snapshot_id],
        )
        snapshots = (answer or {}).get("Snapshots") or [{"State": "gone"}]
        return str(snapshots[0]["State"])

    def desired(self, current: Optional[State]) -> State:
        """Return that the volume, if there is one, has its final snapshot."""
        return {"volume_id": self.volume_id, "final": True}

    def update(self, current: State, desired: State) -> None:
        """Take the snapshot, wait for it, note it in the volume's tags."""
        if self.holders:
            raise DeclaredResourceError(
                f"the volume {self.volume_id} is attached to {self.holders}, expected it free: end that "
                "instance first"
            )
        tags = dict(self.params["tags"], Name=self.name, Final="true")
        answer = call(
            f"take a snapshot of {self.volume_id}",
            self.ec2.create_snapshot,
            VolumeId=self.volume_id,
            Description=f"Last state of {self.name}",
            TagSpecifications=[{"ResourceType": "snapshot", "Tags": tag_list(tags)}],
        )
        self.snapshot_id = answer["SnapshotId"]
        wait_until(
            f"the snapshot {self.snapshot_id} complete",
            self._state_or_failure,
            lambda state: state == "completed",
            deadline=self.params["wait_timeout"],
        )
        note = tag_list({FINAL_SNAPSHOT: self.snapshot_id})
        call("note the snapshot", self.ec2.create_tags, Resources=[self.volume_id], Tags=note)

    def _state_or_failure(self) -> str:
        state = self._state()
        if state in ("error", "gone"):
            raise DeclaredResourceError(
                f"the snapshot {self.snapshot_id} failed ({state}); nothing else was touched"
            )
        return state

    def result(self) -> State:
        """Return the snapshot's and the volume's ids."""
        return {"snapshot_id": self.snapshot_id, "volume_id": self.volume_id}


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec={
            "volume_name": {"type": "str", "required": True},
            "tags": {"type": "dict", "default": {}},
            "wait_timeout": {"type": "int", "default": 3600},
        },
        supports_check_mode=True,
    )
    run(module, FinalSnapshot)


if __name__ == "__main__":
    main()
