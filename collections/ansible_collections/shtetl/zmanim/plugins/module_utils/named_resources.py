# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find what carries a name in AWS, where names need not be unique."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional

from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import (
    DeclaredResourceError,
    call,
    pages,
    tag_dict,
)

Found = Dict[str, Any]
ALIVE = ["pending", "running", "stopping", "stopped"]
# The most health checks whose tags Route 53 tells in one answer.
TAGGED_AT_ONCE = 10


def the_only(plural: str, name: str, found: Iterable[Found], key: str, remedy: str) -> Optional[Found]:
    """Return the one thing found, None when there is none.

    Raises DeclaredResourceError when there are several; it names them by C(key) and says the remedy.
    """
    several = list(found)
    if len(several) > 1:
        ids = ", ".join(sorted(str(one[key]) for one in several))
        raise DeclaredResourceError(
            f"{len(several)} {plural} are named {name} ({ids}), expected one: {remedy}"
        )
    return several[0] if several else None


def named(
    describe: Callable[..., Any],
    key: str,
    name: str,
    states: Optional[Mapping[str, List[str]]] = None,
    **arguments: Any,
) -> List[Found]:
    """Return what an operation of EC2 lists under C(key) that has the C(Name) tag.

    C(states) are further filters: name -> values.
    """
    wanted = {"tag:Name": [name], **(states or {})}
    filters = [{"Name": filter_name, "Values": values} for filter_name, values in wanted.items()]
    items = pages(f"look for {name} ({key})", describe, lambda page: page[key], Filters=filters, **arguments)
    return [dict(item) for item in items]


def instances(ec2: Any, name: str) -> List[Found]:
    """Return the instances with the C(Name) tag that have not ended."""
    reservations = named(ec2.describe_instances, "Reservations", name, {"instance-state-name": ALIVE})
    return [one for reservation in reservations for one in reservation["Instances"]]


def http_apis(gateway: Any, name: str) -> List[Found]:
    """Return the HTTP APIs with the name."""
    apis = pages("list the HTTP APIs", gateway.get_apis, lambda page: page.get("Items", []))
    return [api for api in apis if api["Name"] == name and api.get("ProtocolType", "HTTP") == "HTTP"]


def distributions(cloudfront: Any, comment: str) -> List[Found]:
    """Return the distributions with the comment, which is a distribution's only name."""
    found = pages(
        "list the distributions",
        cloudfront.list_distributions,
        lambda page: (page.get("DistributionList") or {}).get("Items") or [],
        token=("Marker", lambda page: (page.get("DistributionList") or {}).get("NextMarker")),
    )
    return [one for one in found if one.get("Comment") == comment]


def health_checks(route53: Any, name: str) -> List[str]:
    """Return the ids of the health checks with the C(Name) tag."""
    checks = pages(
        "list the health checks",
        route53.list_health_checks,
        lambda page: page["HealthChecks"],
        token=("Marker", lambda page: page.get("NextMarker") if page.get("IsTruncated") else None),
    )
    ids = [str(check["Id"]) for check in checks]
    batches = [ids[start : start + TAGGED_AT_ONCE] for start in range(0, len(ids), TAGGED_AT_ONCE)]
    return [one for batch in batches for one in _named_health_checks(route53, batch, name)]


def _named_health_checks(route53: Any, ids: List[str], name: str) -> List[str]:
    tagged = call(
        "read the health checks' tags",
        route53.list_tags_for_resources,
        ResourceType="healthcheck",
        ResourceIds=ids,
    )
    return [
        str(one["ResourceId"])
        for one in tagged["ResourceTagSets"]
        if tag_dict(one.get("Tags")).get("Name") == name
    ]
