#!/usr/bin/python
# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ssm_command
version_added: 0.1.0
short_description: Run one command on one instance through SSM Run Command
description:
  - Sends C(AWS-RunShellScript) to one instance, polls for its answer, and returns exit status and output.
  - Needs no open port and no key; the instance's agent fetches the command and runs it as root.
  - A non-zero exit status fails the module.
options:
  instance_id:
    description: The instance that runs the command.
    type: str
    required: true
  argv:
    description:
      - The command as a list; every word is quoted for the shell.
      - SSM keeps commands in its history, so never put a secret here.
    type: list
    elements: str
    required: true
  deadline:
    description: Seconds after which the module gives up waiting. The command is told to end by then too.
    type: int
    default: 60
  poll_interval:
    description: Seconds between two looks at the answer.
    type: float
    default: 0.5
  read_only:
    description:
      - Says that the command only reads. It is then sent in check mode too, and never reported as changed.
    type: bool
    default: false
  expect_json:
    description: Fail unless the command prints a JSON document.
    type: bool
    default: false
  comment:
    description: A remark of at most 100 characters, shown in SSM's command history.
    type: str
    default: ""
notes:
  - SSM returns at most 24,000 characters of each output stream.
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
attributes:
  check_mode:
    support: partial
    details: Nothing is sent in check mode, unless O(read_only=true).
    description: Can run in check_mode and return changed status prediction without modifying target.
  diff_mode:
    support: none
    description: A command has no state to compare.
author:
  - The shtetl.zmanim authors
"""

EXAMPLES = r"""
- name: Read the machine's status
  shtetl.zmanim.ssm_command:
    instance_id: i-0123456789abcdef0
    argv: [zmanimctl, status, --json]
    read_only: true
    expect_json: true
  register: machine
"""

RETURN = r"""
rc:
  description: Exit status of the command; not returned when nothing was sent.
  type: int
  returned: when the command was sent
stdout:
  description: Standard output.
  type: str
  returned: when the command was sent
stderr:
  description: Standard error.
  type: str
  returned: when the command was sent
json:
  description: The JSON document that the command printed, null when it printed none.
  type: raw
  returned: when the command was sent
command_id:
  description: SSM's identifier of the command.
  type: str
  returned: when the command was sent
seconds:
  description: How long the answer took.
  type: float
  returned: when the command was sent
"""

from typing import Any, Dict

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.shtetl.zmanim.plugins.module_utils.run_command import (
    RunCommand,
    RunCommandError,
    shell_line,
)


def options() -> Dict[str, Any]:
    return {
        "instance_id": {"type": "str", "required": True},
        "argv": {"type": "list", "elements": "str", "required": True},
        "deadline": {"type": "int", "default": 60},
        "poll_interval": {"type": "float", "default": 0.5},
        "read_only": {"type": "bool", "default": False},
        "expect_json": {"type": "bool", "default": False},
        "comment": {"type": "str", "default": ""},
    }


def run(module: Any) -> None:
    params = module.params
    command = shell_line(params["argv"])
    if module.check_mode and not params["read_only"]:
        module.exit_json(changed=True, msg=f"would run {command!r} on {params['instance_id']}")
    answer = RunCommand(module.client("ssm")).run(
        params["instance_id"],
        command,
        deadline=params["deadline"],
        interval=params["poll_interval"],
        comment=params["comment"],
    )
    document = answer.document
    facts = {
        "rc": answer.rc,
        "stdout": answer.stdout,
        "stderr": answer.stderr,
        "json": document,
        "command_id": answer.command_id,
        "seconds": answer.seconds,
    }
    if answer.rc != 0:
        module.fail_json(
            msg=f"{command!r} on {params['instance_id']} ended with status {answer.rc}: {answer.complaint}",
            **facts,
        )
    if params["expect_json"] and document is None:
        module.fail_json(
            msg=f"{command!r} on {params['instance_id']} printed no JSON document; "
            f"found: {answer.stdout[:200]!r}",
            **facts,
        )
    module.exit_json(changed=not params["read_only"], **facts)


def main() -> None:
    module = AnsibleAWSModule(argument_spec=options(), supports_check_mode=True)
    try:
        run(module)
    except RunCommandError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
