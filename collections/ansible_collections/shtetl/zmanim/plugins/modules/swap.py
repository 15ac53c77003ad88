#!/usr/bin/python
# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: swap
version_added: 0.1.0
short_description: Put a new instance under the same data, or the old one back
description:
  - One step of a swap in volume mode. The playbooks C(swap.yml) and C(rollback.yml) take the steps in order.
  - The state is kept in the SSM parameter C(/zmanim/<env>/swap) and written before every transition, so
    that a later
    run, from any machine, finishes or rolls back what a killed one left.
  - The parameter C(/zmanim/<env>/lock) admits one run at a time.
  - The data volume is detached only after the instance that has it has reported that it is unmounted, and
    never
    by force.
options:
  step:
    description:
      - C(recover) takes the lock, and finishes or rolls back what a killed run left. It comes first.
      - C(plan) checks every guard and starts a snapshot of the data volume.
      - C(launch) launches the new instance, or starts the kept one.
      - C(standby) waits until the new instance has prepared all but the data volume.
      - C(handover) moves the volume and the requests within O(handover_deadline), or gives both back.
      - C(flip) moves the Elastic IP, checks health from outside and writes the AMI pointers.
      - C(keep) watches for O(soak_seconds), then stops the old instance and keeps it for the roll-back.
      - C(rollback) undoes whatever has been done, and gives up the lock.
      - C(status) reads, and changes nothing.
    type: str
    required: true
    choices: [recover, plan, launch, standby, handover, flip, keep, rollback, status]
  run_id:
    description: The run that the step belongs to, as returned by O(step=recover). Required by every step
      after it.
    type: str
    default: ""
  ami_id:
    description: The AMI of the new instance, for O(step=plan) with O(direction=swap).
    type: str
    default: ""
  direction:
    description:
      - C(swap) launches O(ami_id).
      - C(rollback) starts the instance that the last swap kept, or launches the AMI that C(ami-previous)
        names.
    type: str
    default: swap
    choices: [swap, rollback]
  mode:
    description: How the data moves. Only C(volume) is available; C(replica) is refused with an explanation.
    type: str
    default: volume
    choices: [volume, replica]
  force:
    description: Swap even when O(ami_id) is the image that runs now.
    type: bool
    default: false
  device:
    description: The device name under which EC2 attaches the data volume.
    type: str
    default: /dev/sdf
  handover_deadline:
    description: Seconds from the first request held to the new instance serving; past it everything goes
      back.
    type: int
    default: 20
  standby_deadline:
    description: Seconds for the new instance to boot and prepare.
    type: int
    default: 300
  undo_deadline:
    description: Seconds for each wait of a roll-back.
    type: int
    default: 300
  soak_seconds:
    description: Seconds for which health is watched before the old instance is stopped.
    type: int
    default: 60
  lease_seconds:
    description: Seconds without a sign of life after which a lock's owner on another machine counts as dead.
    type: int
    default: 30
  direct_health:
    description: Check C(http://<Elastic IP>:<front_port>/health) from where the module runs.
    type: bool
    default: true
  front_port:
    description: The port of the front on the instances.
    type: int
    default: 8080
  health_urls:
    description: Further URLs that must answer 200, such as the one that viewers use.
    type: list
    elements: str
    default: []
  health_headers:
    description: Headers to send to the health URLs.
    type: dict
    default: {}
  reason:
    description: Why O(step=rollback) is taken; kept in the state.
    type: str
    default: asked for
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - shtetl.zmanim.environment
attributes:
  check_mode:
    support: partial
    details: C(recover), C(plan) and C(status) read and report; the other steps do nothing.
    description: Can run in check_mode and return changed status prediction without modifying target.
  diff_mode:
    support: none
    description: The plan is returned instead.
author:
  - The shtetl.zmanim authors
"""

EXAMPLES = r"""
- name: See what serves
  shtetl.zmanim.swap:
    step: status
    env: production
  register: serving
"""

RETURN = r"""
run_id:
  description: The run that holds the lock.
  type: str
  returned: except for O(step=status)
phase:
  description: The phase of the last swap.
  type: str
  returned: when there was one
recovered:
  description: What O(step=recover) did, one of C(none), C(forward), C(back).
  type: str
  returned: O(step=recover)
plan:
  description: What will be done.
  type: dict
  returned: O(step=plan)
handover_ms:
  description: Milliseconds since the first request held until released, detached and serving.
  type: dict
  returned: after O(step=handover)
outcome:
  description: Who serves after a roll-back, as a sentence.
  type: str
  returned: O(step=rollback)
active:
  description: The instance that has the data volume, with C(instance_id), C(ami_id), C(private_ip),
    C(architecture).
  type: dict
  returned: O(step=status)
"""

import uuid
from typing import Any, Dict, Mapping, Optional

try:
    import botocore.session
    from botocore.exceptions import NoCredentialsError, PartialCredentialsError
except ImportError:  # AnsibleAWSModule reports the missing library
    NoCredentialsError = PartialCredentialsError = Exception  # type: ignore[misc, assignment]

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import (
    DeclaredResourceError,
    call,
)
from ansible_collections.shtetl.zmanim.plugins.module_utils.run_command import RunCommand, RunCommandError
from ansible_collections.shtetl.zmanim.plugins.module_utils.swap.cloud import Cloud
from ansible_collections.shtetl.zmanim.plugins.module_utils.swap.machines import Machines
from ansible_collections.shtetl.zmanim.plugins.module_utils.swap.parameters import (
    EnvironmentLock,
    StateParameter,
    this_owner,
)
from ansible_collections.shtetl.zmanim.plugins.module_utils.swap.phases import SwapError
from ansible_collections.shtetl.zmanim.plugins.module_utils.swap.steps import Actors, Pointers, Settings, Swap

STEPS = ("recover", "plan", "launch", "standby", "handover", "flip", "keep", "rollback", "status")
IN_CHECK_MODE = ("recover", "plan", "status")


def options() -> Dict[str, Any]:
    return {
        "step": {"type": "str", "required": True, "choices": list(STEPS)},
        "env": {"type": "str", "required": True},
        "run_id": {"type": "str", "default": ""},
        "ami_id": {"type": "str", "default": ""},
        "direction": {"type": "str", "default": "swap", "choices": ["swap", "rollback"]},
        "mode": {"type": "str", "default": "volume", "choices": ["volume", "replica"]},
        "force": {"type": "bool", "default": False},
        "device": {"type": "str", "default": "/dev/sdf"},
        "handover_deadline": {"type": "int", "default": 20},
        "standby_deadline": {"type": "int", "default": 300},
        "undo_deadline": {"type": "int", "default": 300},
        "soak_seconds": {"type": "int", "default": 60},
        "lease_seconds": {"type": "int", "default": 30},
        "direct_health": {"type": "bool", "default": True},
        "front_port": {"type": "int", "default": 8080},
        "health_urls": {"type": "list", "elements": "str", "default": []},
        "health_headers": {"type": "dict", "default": {}},
        "reason": {"type": "str", "default": "asked for"},
    }


def settings(params: Mapping[str, Any]) -> Settings:
    return Settings(
        ami_id=params["ami_id"],
        direction=params["direction"],
        force=params["force"],
        device=params["device"],
        deadline=params["handover_deadline"],
        standby_deadline=params["standby_deadline"],
        undo_deadline=params["undo_deadline"],
        soak=params["soak_seconds"],
        lease=params["lease_seconds"],
        direct_health=params["direct_health"],
        front_port=params["front_port"],
        health_urls=tuple(params["health_urls"]),
        health_headers={str(key): str(value) for key, value in params["health_headers"].items()},
    )


def pointers(ssm: Any, environment: str) -> Pointers:
    def path(name: str) -> str:
        return f"/zmanim/{environment}/{name}"

    def read(name: str) -> str:
        found = call(f"read {path(name)}", ssm.get_parameter, missing=("ParameterNotFound",), Name=path(name))
        return found["Parameter"]["Value"] if found else ""

    def write(name: str, value: str) -> None:
        call(
            f"write {path(name)}",
            ssm.put_parameter,
            Name=path(name),
            Value=value,
            Type="String",
            Overwrite=True,
        )

    return Pointers(read, write)


def actors(module: Any) -> Actors:
    environment = module.params["env"]
    ssm = module.client("ssm")
    return Actors(
        cloud=Cloud(module.client("ec2"), environment),
        machines=Machines(RunCommand(ssm)),
        states=StateParameter(ssm, environment),
        lock=EnvironmentLock(ssm, environment, this_owner()),
        pointers=pointers(ssm, environment),
    )


def require_region(region: Optional[str]) -> None:
    session = botocore.session.get_session()
    partitions = session.get_available_partitions()
    known = {name for part in partitions for name in session.get_available_regions("ec2", part)}
    if region not in known:
        raise SwapError(
            f"region {region!r} is none that boto3 knows: set zmanim_region to one such as eu-west-1; "
            "nothing was touched"
        )


def plain(error: Exception) -> str:
    """Return an error's text, with the remedy where credentials are what is missing."""
    if isinstance(error.__cause__, (NoCredentialsError, PartialCredentialsError)):
        return f"{error}: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    return str(error)


def take(module: Any, run_id: str) -> Dict[str, Any]:
    params = module.params
    step = params["step"]
    if params["mode"] == "replica":
        raise SwapError(
            "swap mode replica is not available in this release: only mode volume is, which "
            "keeps the PostgreSQL "
            "major version; nothing was touched"
        )
    if step not in ("recover", "status") and not params["run_id"] and not module.check_mode:
        raise SwapError(f"step {step} needs the run_id that step recover returned")
    require_region(module.region)
    if module.check_mode and step not in IN_CHECK_MODE:
        return {"changed": True, "msg": f"step {step} is not taken in check mode"}
    swap = Swap(actors(module), settings(params), run_id, module.check_mode)
    if step == "rollback":
        return swap.rollback(params["reason"])
    return getattr(swap, step)()


def main() -> None:
    module = AnsibleAWSModule(argument_spec=options(), supports_check_mode=True)
    run_id = module.params["run_id"] or uuid.uuid4().hex[:12]
    try:
        result = take(module, run_id)
    except (SwapError, RunCommandError, DeclaredResourceError) as error:
        module.fail_json(msg=f"swap, step {module.params['step']}: {plain(error)}", run_id=run_id)
    else:
        module.exit_json(**result)


if __name__ == "__main__":
    main()
