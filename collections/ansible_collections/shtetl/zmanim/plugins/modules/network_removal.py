#!/usr/bin/python
# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remove a VPC with everything in it that this collection makes there."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: network_removal
version_added: 0.1.0
short_description: Remove a named VPC with its subnets, gateway, routes, endpoints and security groups
description:
  - Deletes a VPC, found by its C(Name) tag, and the endpoints, security groups, route tables, subnets and the
    Internet gateway in it, and waits where AWS still holds on to one of them.
  - Refuses while an instance lives in the VPC.
options:
  name:
    description: The C(Name) tag of the VPC.
    type: str
    required: true
  wait_timeout:
    description: Seconds to try to delete a part that AWS still finds in use.
    type: int
    default: 180
attributes:
  diff_mode:
    description: Shows the parts that would go.
author:
  - The shtetl.zmanim authors (@shtetl)
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - shtetl.zmanim.attributes
"""

EXAMPLES = r"""
- name: Remove the network
  shtetl.zmanim.network_removal:
    name: zmanim-production
"""

RETURN = r"""
vpc_id:
  description: Id of the VPC that was there, empty when there was none.
  returned: always
  type: str
"""

from typing import Any, Callable, Dict, List, Optional

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import (
    DeclaredResource,
    DeclaredResourceError,
    State,
    call,
    run,
    wait_until,
)
from ansible_collections.shtetl.zmanim.plugins.module_utils.named_resources import named, the_only

IN_USE = "DependencyViolation"
ENDED = ("shutting-down", "terminated")


class Network(DeclaredResource):
    """A VPC and its parts: kind -> ids."""

    kind = "network"

    def __init__(self, module: Any) -> None:
        super().__init__(module)
        self.ec2 = module.client("ec2")
        self.name: str = self.params["name"]
        self.vpc_id = ""

    def _ids(self, method: str, key: str, id_key: str, vpc_filter: str = "vpc-id") -> List[str]:
        filters = [{"Name": vpc_filter, "Values": [self.vpc_id]}]
        items = call(f"read the network ({method})", getattr(self.ec2, method), Filters=filters)[key]
        return sorted(item[id_key] for item in items)

    def current(self) -> Optional[State]:
        """Read the VPC and its parts."""
        vpcs = named(self.ec2.describe_vpcs, "Vpcs", self.name)
        vpc = the_only("VPCs", self.name, vpcs, "VpcId", "take the Name tag off the others")
        if vpc is None:
            return None
        self.vpc_id = vpc["VpcId"]
        return {
            "endpoints": self._endpoints(),
            "gateways": self._ids(
                "describe_internet_gateways", "InternetGateways", "InternetGatewayId", "attachment.vpc-id"
            ),
            "route_tables": self._route_tables(),
            "security_groups": self._security_groups(),
            "subnets": self._ids("describe_subnets", "Subnets", "SubnetId"),
            "vpc": self.vpc_id,
        }

    def _endpoints(self) -> List[str]:
        filters = [{"Name": "vpc-id", "Values": [self.vpc_id]}]
        found = call("read the endpoints", self.ec2.describe_vpc_endpoints, Filters=filters)["VpcEndpoints"]
        return sorted(
            one["VpcEndpointId"] for one in found if one["State"].lower() not in ("deleting", "deleted")
        )

    def _security_groups(self) -> List[str]:
        filters = [{"Name": "vpc-id", "Values": [self.vpc_id]}]
        groups = call("read the security groups", self.ec2.describe_security_groups, Filters=filters)[
            "SecurityGroups"
        ]
        return sorted(group["GroupId"] for group in groups if group["GroupName"] != "default")

    def _route_tables(self) -> List[str]:
        filters = [{"Name": "vpc-id", "Values": [self.vpc_id]}]
        tables = call("read the route tables", self.ec2.describe_route_tables, Filters=filters)["RouteTables"]
        return sorted(table["RouteTableId"] for table in tables if not _is_main(table))

    def delete(self, current: State) -> None:
        """Delete the parts in the order in which AWS lets go of them, then the VPC."""
        self._refuse_instances()
        if current["endpoints"]:
            call("delete the endpoints", self.ec2.delete_vpc_endpoints, VpcEndpointIds=current["endpoints"])
        for group in current["security_groups"]:
            self._delete("security group", group, self.ec2.delete_security_group, {"GroupId": group})
        for subnet in current["subnets"]:
            self._delete("subnet", subnet, self.ec2.delete_subnet, {"SubnetId": subnet})
        for table in current["route_tables"]:
            self._disassociate(table)
            self._delete("route table", table, self.ec2.delete_route_table, {"RouteTableId": table})
        for gateway in current["gateways"]:
            arguments = {"InternetGatewayId": gateway}
            self._delete(
                "attachment of",
                gateway,
                self.ec2.detach_internet_gateway,
                {**arguments, "VpcId": self.vpc_id},
            )
            self._delete("gateway", gateway, self.ec2.delete_internet_gateway, arguments)
        self._delete("VPC", self.vpc_id, self.ec2.delete_vpc, {"VpcId": self.vpc_id})

    def _refuse_instances(self) -> None:
        filters = [{"Name": "vpc-id", "Values": [self.vpc_id]}]
        answer = call("read the instances", self.ec2.describe_instances, Filters=filters)
        alive = [
            one["InstanceId"]
            for reservation in answer["Reservations"]
            for one in reservation["Instances"]
            if one["State"]["Name"] not in ENDED
        ]
        if alive:
            raise DeclaredResourceError(
                f"the VPC {self.vpc_id} has instances ({', '.join(sorted(alive))}), expected none: "
                "terminate them first"
            )

    def _disassociate(self, table: str) -> None:
        tables = call("read the route table", self.ec2.describe_route_tables, RouteTableIds=[table])[
            "RouteTables"
        ]
        for association in tables[0].get("Associations", []):
            arguments = {"AssociationId": association["RouteTableAssociationId"]}
            gone = ("InvalidAssociationID.NotFound",)
            call(f"disassociate {table}", self.ec2.disassociate_route_table, missing=gone, **arguments)

    def _delete(self, kind: str, name: str, method: Callable[..., Any], arguments: Dict[str, Any]) -> None:
        """Delete one part, again and again while AWS says that something uses it."""

        def attempt() -> str:
            try:
                call(f"delete the {kind} {name}", method, **arguments)
            except DeclaredResourceError as error:
                if error.code != IN_USE:
                    raise
                return error.message
            return "gone"

        what = f"the end of the {kind} {name}"
        wait_until(what, attempt, lambda answer: answer == "gone", self.params["wait_timeout"], interval=2.0)

    def result(self) -> State:
        """Return the VPC's id."""
        return {"vpc_id": self.vpc_id}


def _is_main(table: Dict[str, Any]) -> bool:
    return any(association.get("Main") for association in table.get("Associations", []))


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "wait_timeout": {"type": "int", "default": 180},
        },
        supports_check_mode=True,
    )
    module.params["state"] = "absent"  # the only state that this module declares
    run(module, Network)


if __name__ == "__main__":
    main()
