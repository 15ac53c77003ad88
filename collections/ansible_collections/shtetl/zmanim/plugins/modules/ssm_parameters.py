#!/usr/bin/python
# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declare the SSM parameters under one path as a set, with secrets that are made once and never shown."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: ssm_parameters
version_added: 0.1.0
short_description: Declare a set of SSM parameters, some of them generated once
description:
  - Keeps the named parameters under a path; parameters under the path that are not named are left alone.
  - A generated secret is made by the first run and is never overwritten, read or returned by a later one.
  - All parameters are read in one paginated call.
options:
  path:
    description: Path that holds the parameters, starting with a slash.
    type: str
    required: true
  state:
    description: >-
      Whether the parameters exist. V(absent) without named parameters deletes every parameter under the path.
  values:
    description: Parameters of the type String.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name below the path.
        type: str
        required: true
      value:
        description: Value of the parameter.
        type: str
        required: true
      overwrite:
        description: Whether a value that differs is replaced. Otherwise it is only written the first time.
        type: bool
        default: true
      description:
        description: What the parameter is for. Written together with the value.
        type: str
        default: ""
  secrets:
    description: Parameters of the type SecureString with a given value.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name below the path.
        type: str
        required: true
      secret:
        description: Value of the parameter.
        type: str
        required: true
      description:
        description: What the parameter is for. Written together with the value.
        type: str
        default: ""
  generated:
    description: Parameters of the type SecureString that get a random value when they don't exist.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name below the path.
        type: str
        required: true
      length:
        description: Number of letters and digits.
        type: int
        default: 40
      description:
        description: What the parameter is for. Written together with the value.
        type: str
        default: ""
  keep:
    description: Names below the path that I(state=absent) leaves alone.
    type: list
    elements: str
    default: []
  key_id:
    description: KMS key that encrypts the secrets. The account's own key for SSM when not given.
    type: str
attributes:
  diff_mode:
    description: Shows values before and after; of secrets only that they differ.
author:
  - The shtetl.zmanim authors (@shtetl)
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - shtetl.zmanim.attributes
  - shtetl.zmanim.state
  - shtetl.zmanim.tags.initial
"""

EXAMPLES = r"""
- name: Keep the parameters of production
  shtetl.zmanim.ssm_parameters:
    path: /zmanim/production
    generated:
      - name: postgres-password
      - name: jwt-secret
        length: 64
    values:
      - name: config
        value: "{{ {'domain': 'zmanim.example.com'} | to_json(sort_keys=true) }}"
"""

RETURN = r"""
names:
  description: Full names of the declared parameters.
  returned: always
  type: list
  elements: str
"""

import secrets
import string
from typing import Any, Dict, List, Optional

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import (
    STATE,
    DeclaredResource,
    State,
    call,
    conceal,
    pages,
    run,
    tag_list,
)

ALPHABET = string.ascii_letters + string.digits
TO_GENERATE = "(generated when created)"
NOT_READ = "(kept as it is)"


def random_secret(length: int) -> str:
    """Return random letters and digits from the operating system's generator."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


class SsmParameters(DeclaredResource):
    """The named parameters under one path: full name -> {"type", "value"}."""

    kind = "SSM parameters"

    def __init__(self, module: Any) -> None:
        super().__init__(module)
        self.ssm = module.client("ssm")
        self.path = "/" + self.params["path"].strip("/")
        self.declared: Dict[str, Dict[str, Any]] = {}
        for group in ("values", "secrets", "generated"):
            for entry in self.params[group]:
                self.declared[f"{self.path}/{entry['name']}"] = dict(entry, group=group)

    def current(self) -> Optional[State]:
        """Read the declared parameters that exist, or all when none is declared; None when there are none."""
        found = pages(
            f"read the parameters under {self.path}",
            self.ssm.get_parameters_by_path,
            lambda page: page["Parameters"],
            Path=self.path,
            Recursive=True,
            WithDecryption=bool(self.params["secrets"]),
        )
        named = {
            parameter["Name"]: self._state_of(parameter)
            for parameter in found
            if self._is_meant(parameter["Name"])
        }
        return named or None

    def _is_meant(self, name: str) -> bool:
        if self.declared:
            return name in self.declared
        return name not in [f"{self.path}/{kept}" for kept in self.params["keep"]]

    def _state_of(self, parameter: Dict[str, Any]) -> Dict[str, str]:
        entry = self.declared.get(parameter["Name"], {"group": "generated"})
        value = NOT_READ if entry["group"] == "generated" else parameter["Value"]
        return {"type": parameter["Type"], "value": value}

    def desired(self, current: Optional[State]) -> State:
        """Return the declared parameters."""
        held = current or {}
        return {name: self._desired_one(entry, held.get(name)) for name, entry in self.declared.items()}

    def _desired_one(self, entry: Dict[str, Any], held: Optional[Dict[str, str]]) -> Dict[str, str]:
        if entry["group"] == "values":
            keep = held is not None and not entry["overwrite"]
            return {"type": "String", "value": held["value"] if held and keep else entry["value"]}
        if entry["group"] == "secrets":
            return {"type": "SecureString", "value": entry["secret"]}
        return {"type": "SecureString", "value": NOT_READ if held else TO_GENERATE}

    def create(self, desired: State) -> None:
        """Write every parameter."""
        self.update({}, desired)

    def update(self, current: State, desired: State) -> None:
        """Write the parameters that are missing or differ."""
        for name in sorted(desired):
            if current.get(name) != desired[name]:
                self._put(name, desired[name], exists=name in current)

    def _put(self, name: str, wanted: Dict[str, str], exists: bool) -> None:
        entry = self.declared[name]
        arguments: Dict[str, Any] = {
            "Name": name,
            "Type": wanted["type"],
            "Description": entry["description"],
        }
        generate = wanted["value"] == TO_GENERATE
        arguments["Value"] = random_secret(entry["length"]) if generate else wanted["value"]
        if self.params["key_id"] and wanted["type"] == "SecureString":
            arguments["KeyId"] = self.params["key_id"]
        if exists:
            arguments["Overwrite"] = True
        elif self.params["tags"]:
            arguments["Tags"] = tag_list(self.params["tags"])
        call(f"write the parameter {name}", self.ssm.put_parameter, **arguments)

    def delete(self, current: State) -> None:
        """Delete the parameters, ten at a time."""
        names: List[str] = sorted(current)
        for start in range(0, len(names), 10):
            call("delete parameters", self.ssm.delete_parameters, Names=names[start : start + 10])

    def conceal(self, before: State, after: State) -> None:
        """Hide the values of secrets."""
        for name in set(before) | set(after):
            shown = after.get(name) or before[name]
            if shown["type"] == "SecureString" and shown["value"] not in (NOT_READ, TO_GENERATE):
                conceal(before, after, [name, "value"])

    def result(self) -> State:
        """Return the declared names."""
        return {"names": sorted(self.declared)}


def main() -> None:
    """Run the module."""
    name = {"type": "str", "required": True}
    description = {"type": "str", "default": ""}
    value = {
        "name": name,
        "value": {"type": "str", "required": True},
        "overwrite": {"type": "bool", "default": True},
        "description": description,
    }
    secret = {
        "name": name,
        "secret": {"type": "str", "required": True, "no_log": True},
        "description": description,
    }
    generated = {"name": name, "length": {"type": "int", "default": 40}, "description": description}
    module = AnsibleAWSModule(
        argument_spec={
            "path": {"type": "str", "required": True},
            "state": STATE,
            "values": {"type": "list", "elements": "dict", "default": [], "options": value},
            "secrets": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": secret,
                "no_log": False,
            },
            "generated": {"type": "list", "elements": "dict", "default": [], "options": generated},
            "keep": {"type": "list", "elements": "str", "default": []},
            "key_id": {"type": "str"},
            "tags": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    run(module, SsmParameters)


if __name__ == "__main__":
    main()
