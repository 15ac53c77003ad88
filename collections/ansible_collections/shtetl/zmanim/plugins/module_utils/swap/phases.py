# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a swap may do next, and what it must undo: pure tables and functions, no AWS.

Blue is the instance that serves when a swap begins, green the one that is to take over.  A phase is
written to the state parameter before the work that it names, so the phase that a killed run left says
what may have been touched.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Tuple

PLANNED = "planned"  # guards passed, snapshot started
LAUNCHING = "launching"  # green may exist
PREPARING = "preparing"  # green boots, prepares all but the data volume
RELEASING = "releasing"  # blue may have stopped PostgreSQL
MOVING = "moving"  # the volume may be anywhere between blue and green
RELAYING = "relaying"  # green serves, blue forwards to it
FLIPPING = "flipping"  # the address may be on green
SOAKING = "soaking"  # the address is on green, blue can still take back
KEEPING = "keeping"  # blue is being stopped: only forward from here
DONE = "done"
ROLLED_BACK = "rolled-back"

PHASES = (
    PLANNED,
    LAUNCHING,
    PREPARING,
    RELEASING,
    MOVING,
    RELAYING,
    FLIPPING,
    SOAKING,
    KEEPING,
    DONE,
    ROLLED_BACK,
)
FINISHED = (DONE, ROLLED_BACK)

# Undo actions, in the order in which they are done.  Each looks at the real state and does nothing when
# there is nothing to undo.
FLIP_BACK = "flip_back"  # pointers, tags and the address back to blue
TAKE_FROM_GREEN = "take_from_green"  # green stops and unmounts; detach
GIVE_TO_BLUE = "give_to_blue"  # attach to blue
RECLAIM = "reclaim"  # blue mounts and serves
DISCARD_GREEN = "discard_green"  # terminate green, or stop it when it is a kept instance

_MOVE_BACK = (TAKE_FROM_GREEN, GIVE_TO_BLUE, RECLAIM, DISCARD_GREEN)
UNDO: Dict[str, Tuple[str, ...]] = {
    PLANNED: (),
    LAUNCHING: (DISCARD_GREEN,),
    PREPARING: (DISCARD_GREEN,),
    RELEASING: (RECLAIM, DISCARD_GREEN),
    MOVING: _MOVE_BACK,
    RELAYING: _MOVE_BACK,
    FLIPPING: (FLIP_BACK, *_MOVE_BACK),
    SOAKING: (FLIP_BACK, *_MOVE_BACK),
}

# The step that each phase makes possible, and the phase that it must find.
STEP_NEEDS: Dict[str, Tuple[str, ...]] = {
    "launch": (PLANNED,),
    "standby": (LAUNCHING, PREPARING),
    "handover": (PREPARING,),
    "flip": (RELAYING, FLIPPING),
    "keep": (SOAKING, KEEPING),
}

# Green serves the data from here on; a killed run is finished rather than undone.
_FORWARD_STEPS: Dict[str, Tuple[str, ...]] = {
    MOVING: ("flip", "keep"),
    RELAYING: ("flip", "keep"),
    FLIPPING: ("flip", "keep"),
    SOAKING: ("keep",),
    KEEPING: ("keep",),
}


class SwapError(Exception):
    """A step of a swap cannot be done; the message says what was found, expected, and what to do."""


def undo_actions(phase: str) -> Tuple[str, ...]:
    """Return what must be undone when a run ends in C(phase), in order.

    Raises SwapError for C(keeping): blue may already be stopped, so the way is forward.
    """
    if phase in FINISHED:
        return ()
    if phase == KEEPING:
        raise SwapError(
            "the swap is past its point of return (phase keeping: the old instance is being stopped): "
            "run swap.yml again to finish it, then rollback.yml to go back"
        )
    if phase not in UNDO:
        raise SwapError(
            "phase {0!r} in the state parameter is unknown; expected one of {1}".format(phase, PHASES)
        )
    return UNDO[phase]


def resume(phase: str, green_serves: bool) -> Tuple[str, Tuple[str, ...]]:
    """Decide what a new run does with what a killed one left.

    Returns ("none", ()), ("forward", steps to run) or ("back", undo actions).
    """
    if phase in FINISHED:
        return "none", ()
    if phase == KEEPING or (green_serves and phase in _FORWARD_STEPS):
        return "forward", _FORWARD_STEPS[phase]
    return "back", undo_actions(phase)


def require_phase(step: str, phase: Optional[str]) -> None:
    """Raise SwapError unless C(step) may run in C(phase)."""
    wanted = STEP_NEEDS[step]
    if phase not in wanted:
        raise SwapError(
            "step {0} needs a swap in phase {1}, found {2}: "
            "run swap.yml, which takes the steps in order".format(
                step, " or ".join(wanted), phase or "no swap at all"
            )
        )


def release_problems(answer: Any, volume_status: Mapping[str, Any]) -> List[str]:
    """Return why the volume must not be detached, [] when blue has proven that it let go.

    C(answer) is the JSON of C(zmanimctl handover release), C(volume_status) the C(volume) part of a later
    C(zmanimctl status), {} when the release's own answer is the proof.
    """
    if not isinstance(answer, Mapping):
        return ["the old instance gave no JSON answer to 'zmanimctl handover release'"]
    problems = []
    if answer.get("phase") != "released":
        problems.append(
            "the old instance reports phase {0!r}, expected 'released'".format(answer.get("phase"))
        )
    if volume_status.get("mounted"):
        problems.append("the old instance still has the volume mounted")
    return problems


def attachment_problems(volume: Mapping[str, Any], instance_id: str, zone: str) -> List[str]:
    """Return what is wrong with a volume (DescribeVolumes) that is to be taken from C(instance_id)."""
    problems = []
    name = volume.get("VolumeId")
    attachments = [one for one in volume.get("Attachments") or [] if one.get("State") != "detached"]
    holders = [str(one.get("InstanceId")) for one in attachments]
    if holders != [instance_id]:
        found = ", ".join(holders) or "no instance"
        problems.append("volume {0} is attached to {1}, expected {2}".format(name, found, instance_id))
    if any(one.get("DeleteOnTermination") for one in attachments):
        problems.append(
            "volume {0} has DeleteOnTermination=true: it would die with its instance; run "
            "'aws ec2 modify-instance-attribute' to clear it".format(name)
        )
    if volume.get("AvailabilityZone") != zone:
        problems.append(
            "volume {0} is in {1}, the new instance in {2}: they must share a zone".format(
                name, volume.get("AvailabilityZone"), zone
            )
        )
    return problems


def snapshot_problems(snapshot: Optional[Mapping[str, Any]], volume_id: str) -> List[str]:
    """Return why the plan's snapshot is no safety net, [] when it is started or complete."""
    if snapshot is None:
        return ["the snapshot that the plan started is gone: start again with swap.yml"]
    if snapshot.get("VolumeId") != volume_id:
        return [
            "snapshot {0} is of {1}, not of {2}".format(
                snapshot.get("SnapshotId"), snapshot.get("VolumeId"), volume_id
            )
        ]
    if snapshot.get("State") == "error":
        return [
            "snapshot {0} failed: look at its StateMessage in EC2, then start again".format(
                snapshot.get("SnapshotId")
            )
        ]
    return []


def may_detach(elapsed: float, deadline: float) -> bool:
    """Say whether there is time left to start moving the volume (seconds since blue was told to let go).

    Blue takes the volume back by itself at the deadline.  A detach that starts in the last third could
      meet it
    mounting again, so from then on the volume stays where it is.
    """
    return elapsed <= deadline * 2 / 3


def image_problems(image: Optional[Mapping[str, Any]], image_id: str, wanted: Mapping[str, Any]) -> List[str]:
    """Return why C(image_id) (DescribeImages, None when not found) cannot replace the running image.

    C(wanted): C(postgres_major) on the volume, C(architecture) and C(ami_id) of the running instance,
    C(force).
    """
    if image is None:
        return [
            "AMI {0} does not exist in this account and region: the manifest of the Packer run names the "
            "one that it made".format(image_id)
        ]
    problems = []
    if image.get("State") != "available":
        problems.append(
            "AMI {0} is {1}, expected available: wait for it".format(image_id, image.get("State"))
        )
    if image.get("Architecture") != wanted["architecture"]:
        problems.append(
            "AMI {0} is for {1}, the running instance is {2}: bake it for that architecture".format(
                image_id, image.get("Architecture"), wanted["architecture"]
            )
        )
    if image_id == wanted["ami_id"] and not wanted.get("force"):
        problems.append(
            "AMI {0} is what runs now: nothing to swap; add -e swap_force=true to replace the machine "
            "under the same image".format(image_id)
        )
    tags = {tag["Key"]: tag["Value"] for tag in image.get("Tags") or []}
    return problems + _major_problems(image_id, tags.get("PostgresMajor"), wanted.get("postgres_major"))


def _major_problems(image_id: str, found: Optional[str], wanted: Any) -> List[str]:
    if not found:
        return [
            "AMI {0} has no tag PostgresMajor: it was not made by this project's template, so nothing "
            "says that it can read the data".format(image_id)
        ]
    if wanted is not None and str(wanted) != found:
        return [
            "AMI {0} carries PostgreSQL {1}, the data volume holds PostgreSQL {2}: a volume "
            "swap cannot change "
            "the major version; that is what replica mode is for (not available yet)".format(
                image_id, found, wanted
            )
        ]
    return []


def blue_problems(status: Any, instance_id: str, volume_id: str) -> List[str]:
    """Return why the serving instance cannot hand over, judged by its C(zmanimctl status --json)."""
    if not isinstance(status, Mapping):
        return ["{0} gave no status: 'zmanimctl status --json' printed no JSON document".format(instance_id)]
    problems = []
    if status.get("phase") != "serving":
        reason = status.get("error") or "look at 'zmanimctl status' there"
        problems.append(
            "{0} is in phase {1}, expected serving: {2}".format(instance_id, status.get("phase"), reason)
        )
    volume = status.get("volume") or {}
    if volume.get("id") != volume_id or not volume.get("mounted"):
        problems.append(
            "{0} has {1} {2}, expected {3} mounted".format(
                instance_id,
                volume.get("id") or "no volume",
                "mounted" if volume.get("mounted") else "not mounted",
                volume_id,
            )
        )
    return problems


def readiness(status: Any) -> Tuple[str, str]:
    """Judge a standby's status: ("ready" | "wait" | "failed", why)."""
    if not isinstance(status, Mapping):
        return "wait", "no status yet"
    phase = str(status.get("phase"))
    if phase == "standby-ready":
        return "ready", phase
    if phase == "failed":
        return "failed", str(status.get("error") or "zmanimctl status says failed and no more")
    return "wait", "phase {0}".format(phase)
