#!/usr/bin/python
# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declare a public hosted zone of Route 53 together with some of its records."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: hosted_zone
version_added: 0.1.0
short_description: Declare a public hosted zone and a set of its records
description:
  - Keeps a hosted zone and the declared records, which are written in one change.
  - Records that are not declared are left alone. I(state=absent) deletes the records at and below I(domain),
    and the zone when no others are left in it.
  - Check mode knows the records of a zone that doesn't exist yet, which separate modules can't.
options:
  name:
    description: Domain of the zone.
    type: str
    required: true
  domain:
    description: >-
      With I(state=absent), the domain whose records go, itself and everything below it. The zone by default.
    type: str
  comment:
    description: Comment of the zone.
    type: str
    default: ""
  records:
    description: Records that the zone has.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Domain of the record.
        type: str
        required: true
      type:
        description: Type of the record.
        type: str
        choices: [A, AAAA, CAA, CNAME, MX, NS, TXT]
        required: true
      ttl:
        description: Seconds that an answer may be kept. Not for an alias.
        type: int
        default: 300
      values:
        description: Values of the record. Not for an alias.
        type: list
        elements: str
        default: []
      alias:
        description: Target of an alias record.
        type: dict
        suboptions:
          domain:
            description: Domain of the target.
            type: str
            required: true
          zone_id:
            description: Hosted zone of the target, Z2FDTNDATAQYW2 for CloudFront.
            type: str
            default: Z2FDTNDATAQYW2
  wait_timeout:
    description: Seconds to wait until all name servers have a change; 0 doesn't wait.
    type: int
    default: 120
attributes:
  diff_mode:
    description: Shows the zone and the declared records before and after.
author:
  - The shtetl.zmanim authors (@shtetl)
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - shtetl.zmanim.attributes
  - shtetl.zmanim.state
  - shtetl.zmanim.tags
"""

EXAMPLES = r"""
- name: Declare the site's zone
  shtetl.zmanim.hosted_zone:
    name: zmanim.example.com
    records:
      - name: origin.zmanim.example.com
        type: A
        ttl: 60
        values: [203.0.113.7]
      - name: zmanim.example.com
        type: A
        alias: {domain: d111111abcdef8.cloudfront.net}
"""

RETURN = r"""
zone_id:
  description: Id of the zone, empty in check mode before it exists.
  returned: always
  type: str
name_servers:
  description: Name servers of the zone, to be entered at the parent domain.
  returned: always
  type: list
  elements: str
"""

import uuid
from typing import Any, Dict, List, Mapping, Optional

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import (
    STATE,
    DeclaredResource,
    State,
    call,
    desired_tags,
    run,
    tag_changes,
    tag_dict,
    tag_list,
    wait_until,
)
from ansible_collections.shtetl.zmanim.plugins.module_utils.named_resources import the_only


def full_name(domain: str) -> str:
    """Return a domain in lower case with its final dot."""
    return domain.lower().rstrip(".") + "."


def record_key(record: Mapping[str, Any]) -> str:
    """Return the name under which a declared record stands in the state."""
    return f"{full_name(record['name'])} {record['type']}"


def declared_record(record: Mapping[str, Any]) -> Dict[str, Any]:
    """Return an option's record as it stands in the state."""
    if record.get("alias"):
        return {
            "alias": {"domain": full_name(record["alias"]["domain"]), "zone_id": record["alias"]["zone_id"]}
        }
    return {"ttl": record["ttl"], "values": sorted(record["values"])}


def read_record(answer: Mapping[str, Any]) -> Dict[str, Any]:
    """Return Route 53's record set as it stands in the state."""
    if "AliasTarget" in answer:
        target = answer["AliasTarget"]
        return {"alias": {"domain": full_name(target["DNSName"]), "zone_id": target["HostedZoneId"]}}
    values = sorted(one["Value"] for one in answer.get("ResourceRecords", []))
    return {"ttl": int(answer.get("TTL", 0)), "values": values}


def record_set(key: str, record: Mapping[str, Any]) -> Dict[str, Any]:
    """Return a record of the state in the form of Route 53."""
    name, kind = key.split(" ")
    request: Dict[str, Any] = {"Name": name, "Type": kind}
    if "alias" in record:
        alias = record["alias"]
        request["AliasTarget"] = {
            "DNSName": alias["domain"],
            "EvaluateTargetHealth": False,
            "HostedZoneId": alias["zone_id"],
        }
    else:
        request["TTL"] = record["ttl"]
        request["ResourceRecords"] = [{"Value": value} for value in record["values"]]
    return request


class HostedZone(DeclaredResource):
    """A public hosted zone and the records that its module declares."""

    kind = "hosted zone"

    def __init__(self, module: Any) -> None:
        super().__init__(module)
        self.route53 = module.client("route53")
        self.name = full_name(self.params["name"])
        self.zone_id = ""
        self.name_servers: List[str] = []

    def current(self) -> Optional[State]:
        """Read the zone and those of its records that are declared."""
        answer = call(
            "look for the zone", self.route53.list_hosted_zones_by_name, DNSName=self.name, MaxItems="5"
        )
        zones = [
            zone
            for zone in answer["HostedZones"]
            if zone["Name"] == self.name and not zone.get("Config", {}).get("PrivateZone")
        ]
        found = the_only("public zones", self.name, zones, "Id", "delete those that nothing is delegated to")
        if found is None:
            return None
        self.zone_id = found["Id"].split("/")[-1]
        zone = call("read the zone", self.route53.get_hosted_zone, Id=self.zone_id)
        self.name_servers = sorted(zone.get("DelegationSet", {}).get("NameServers", []))
        return {
            "comment": found.get("Config", {}).get("Comment", ""),
            "records": self._declared_records(),
            "tags": self._tags(),
        }

    def _record_sets(self) -> List[Dict[str, Any]]:
        paginator = self.route53.get_paginator("list_resource_record_sets")
        return [
            one
            for page in paginator.paginate(HostedZoneId=self.zone_id)
            for one in page["ResourceRecordSets"]
        ]

    def _declared_records(self) -> Dict[str, Any]:
        wanted = {record_key(record) for record in self.params["records"]}
        found = {f"{full_name(one['Name'])} {one['Type']}": one for one in self._record_sets()}
        return {key: read_record(found[key]) for key in sorted(wanted & set(found))}

    def _tags(self) -> Dict[str, str]:
        zone = {"ResourceType": "hostedzone", "ResourceId": self.zone_id}
        answer = call("read the zone's tags", self.route53.list_tags_for_resource, **zone)
        return tag_dict(answer["ResourceTagSet"].get("Tags"))

    def desired(self, current: Optional[State]) -> State:
        """Return the declared zone."""
        return {
            "comment": self.params["comment"],
            "records": {record_key(record): declared_record(record) for record in self.params["records"]},
            "tags": desired_tags((current or {}).get("tags"), self.params["tags"], purge=True),
        }

    def create(self, desired: State) -> None:
        """Create the zone with its records."""
        answer = call(
            f"create the zone {self.name}",
            self.route53.create_hosted_zone,
            Name=self.name,
            CallerReference=str(uuid.uuid4()),
            HostedZoneConfig={"Comment": desired["comment"], "PrivateZone": False},
        )
        self.zone_id = answer["HostedZone"]["Id"].split("/")[-1]
        self.name_servers = sorted(answer.get("DelegationSet", {}).get("NameServers", []))
        self.update({"comment": desired["comment"], "records": {}, "tags": {}}, desired)

    def update(self, current: State, desired: State) -> None:
        """Write comment, tags and the records that differ."""
        if current["comment"] != desired["comment"]:
            comment = {"Id": self.zone_id, "Comment": desired["comment"]}
            call("comment the zone", self.route53.update_hosted_zone_comment, **comment)
        to_set, to_remove = tag_changes(current["tags"], desired["tags"])
        if to_set or to_remove:
            tags = {
                key: value
                for key, value in (("AddTags", tag_list(to_set)), ("RemoveTagKeys", to_remove))
                if value
            }
            zone = {"ResourceType": "hostedzone", "ResourceId": self.zone_id}
            call("tag the zone", self.route53.change_tags_for_resource, **zone, **tags)
        differing = {
            key: record for key, record in desired["records"].items() if current["records"].get(key) != record
        }
        self._change("UPSERT", [record_set(key, record) for key, record in sorted(differing.items())])

    def _change(self, action: str, record_sets: List[Dict[str, Any]]) -> None:
        if not record_sets:
            return
        changes = [{"Action": action, "ResourceRecordSet": one} for one in record_sets]
        answer = call(
            f"change the records of {self.name}",
            self.route53.change_resource_record_sets,
            HostedZoneId=self.zone_id,
            ChangeBatch={"Changes": changes},
        )
        change_id = answer["ChangeInfo"]["Id"]
        if self.params["wait_timeout"]:
            wait_until(
                f"the change of {self.name} on all name servers",
                lambda: call("read the change", self.route53.get_change, Id=change_id)["ChangeInfo"][
                    "Status"
                ],
                lambda status: status == "INSYNC",
                deadline=self.params["wait_timeout"],
                interval=2.0,
            )

    def result(self) -> State:
        """Return the zone's id and name servers."""
        return {"zone_id": self.zone_id, "name_servers": self.name_servers}


class UnusedZone(HostedZone):
    """The records of one domain in a zone, and the zone when it has no others."""

    def __init__(self, module: Any) -> None:
        super().__init__(module)
        self.domain = full_name(self.params["domain"] or self.params["name"])

    def current(self) -> Optional[State]:
        """Read what would go: the records of the domain, and the zone when nothing else is in it."""
        if super().current() is None:
            return None
        listed = [one for one in self._record_sets() if not self._is_zone_own(one)]
        own = [one for one in listed if self._is_own(one)]
        if not own and listed:
            return None
        keys = sorted(f"{one['Name']} {one['Type']}" for one in own)
        return {"records": keys, "zone": "kept" if len(own) < len(listed) else "deleted"}

    def _is_zone_own(self, record: Mapping[str, Any]) -> bool:
        return bool(record["Name"] == self.name and record["Type"] in ("NS", "SOA"))

    def _is_own(self, record: Mapping[str, Any]) -> bool:
        name = full_name(record["Name"])
        return name == self.domain or name.endswith("." + self.domain)

    def delete(self, current: State) -> None:
        """Delete the records of the domain, then the zone when it is empty."""
        records = [one for one in self._record_sets() if not self._is_zone_own(one) and self._is_own(one)]
        self._change("DELETE", records)
        if current["zone"] == "deleted":
            missing = ("NoSuchHostedZone",)
            call(
                f"delete the zone {self.name}",
                self.route53.delete_hosted_zone,
                missing=missing,
                Id=self.zone_id,
            )


def main() -> None:
    """Run the module."""
    alias = {
        "domain": {"type": "str", "required": True},
        "zone_id": {"type": "str", "default": "Z2FDTNDATAQYW2"},
    }
    record = {
        "name": {"type": "str", "required": True},
        "type": {
            "type": "str",
            "required": True,
            "choices": ["A", "AAAA", "CAA", "CNAME", "MX", "NS", "TXT"],
        },
        "ttl": {"type": "int", "default": 300},
        "values": {"type": "list", "elements": "str", "default": []},
        "alias": {"type": "dict", "options": alias},
    }
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": STATE,
            "domain": {"type": "str"},
            "comment": {"type": "str", "default": ""},
            "records": {"type": "list", "elements": "dict", "default": [], "options": record},
            "wait_timeout": {"type": "int", "default": 120},
            "tags": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    run(module, UnusedZone if module.params["state"] == "absent" else HostedZone)


if __name__ == "__main__":
    main()
