#!/usr/bin/python
# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: operation_lock
version_added: 0.1.0
short_description: Admit one operation at a time on an environment
description:
  - Takes or gives up the lock in the SSM parameter C(/zmanim/<env>/lock), the same one that
    M(shtetl.zmanim.swap) takes.
  - A lock whose owner is dead is taken over. On the owner's own machine that is known at once, from
    elsewhere after
    the owner's lease has passed without a sign of life.
options:
  operation:
    description: What is going on, for the message that another run gets.
    type: str
    required: true
  state:
    description: Take the lock, or give it up.
  run_id:
    description: The run that gives the lock up, as returned when it was taken.
    type: str
    default: ""
  lease_seconds:
    description: Seconds without a sign of life after which this run counts as dead on other machines.
    type: int
    default: 300
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - shtetl.zmanim.attributes
  - shtetl.zmanim.environment
  - shtetl.zmanim.state
attributes:
  diff_mode:
    support: none
    description: A lock has nothing to compare.
author:
  - The shtetl.zmanim authors
"""

EXAMPLES = r"""
- name: Keep others away
  shtetl.zmanim.operation_lock:
    env: production
    operation: release
  register: held
"""

RETURN = r"""
run_id:
  description: The run that holds, or gave up, the lock.
  type: str
  returned: always
"""

import uuid
from typing import Any, Dict

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import (
    STATE,
    DeclaredResourceError,
)
from ansible_collections.shtetl.zmanim.plugins.module_utils.swap.parameters import EnvironmentLock, this_owner
from ansible_collections.shtetl.zmanim.plugins.module_utils.swap.phases import SwapError


def options() -> Dict[str, Any]:
    return {
        "env": {"type": "str", "required": True},
        "operation": {"type": "str", "required": True},
        "state": STATE,
        "run_id": {"type": "str", "default": ""},
        "lease_seconds": {"type": "int", "default": 300},
    }


def keep(module: Any, run_id: str) -> bool:
    params = module.params
    lock = EnvironmentLock(module.client("ssm"), params["env"], this_owner())
    if params["state"] == "absent":
        held = lock.holder().get("run") == run_id
        if held and not module.check_mode:
            lock.drop(run_id)
        return held
    if module.check_mode:
        lock.refuse_if_held()
    else:
        lock.take(params["operation"], run_id, params["lease_seconds"])
    return True


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec=options(), supports_check_mode=True, required_if=[("state", "absent", ["run_id"])]
    )
    run_id = module.params["run_id"] or uuid.uuid4().hex[:12]
    try:
        changed = keep(module, run_id)
    except (SwapError, DeclaredResourceError) as error:
        module.fail_json(msg=str(error), run_id=run_id)
    else:
        module.exit_json(changed=changed, run_id=run_id)


if __name__ == "__main__":
    main()
