# SPDX-License-Identifier: GPL-3.0-or-later
"""EC2's public addresses and security groups, kept in step with the kernel's rules."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Any

from moto.ec2.models import elastic_ip_addresses, elastic_network_interfaces
from moto.ec2.models.elastic_ip_addresses import ElasticAddressBackend
from moto.ec2.models.instances import Instance
from moto.ec2.models.security_groups import SecurityGroupRule

from lab import network
from lab.addresses import ELASTIC_NETWORK, PUBLIC_NETWORK, AddressPool, Listener, Permission, ruleset
from lab.events import Events
from lab.patching import wrap
from lab.profile import Profile

CLOUDFRONT_LIST = "com.amazonaws.global.cloudfront.origin-facing"
LOOPBACK = "127.0.0.0/8"


class Addresses:
    """Decides which machine answers at which public address, and who may reach it."""

    def __init__(self, backend: Any, profile: Profile, events: Events) -> None:
        self._backend = backend
        self._profile = profile
        self._events = events
        self._lock = threading.Lock()
        self._loaded = ""
        self._late: dict[str, str | None] = {}

    def install(self) -> None:
        """Give moto's addresses the lab's networks, and follow what moves them."""
        elastic, public = AddressPool(ELASTIC_NETWORK), AddressPool(PUBLIC_NETWORK, first=257)
        elastic_ip_addresses.random_ip = elastic.take
        elastic_network_interfaces.random_public_ip = public.take
        wrap(ElasticAddressBackend, "associate_address", self._associate)

    def sync(self) -> None:
        """Load the rules for the machines that run now, when they have changed."""
        with self._lock:
            wanted = ruleset(self._listeners())
            if wanted != self._loaded:
                network.load_rules(wanted)
                self._loaded = wanted

    def _associate(self, original: Any, backend: Any, *args: Any, **kwargs: Any) -> Any:
        address = self._named(backend, kwargs)
        before = address.eni if address else None
        associated = original(backend, *args, **kwargs)
        if before is not None and before is not associated.eni:
            before.public_ip = None  # moto leaves the address on the interface that lost it
            before.check_auto_public_ip()
        self._move(associated.public_ip, before.private_ip_address if before else None)
        return associated

    def _named(self, backend: Any, kwargs: dict[str, Any]) -> Any:
        for address in backend.addresses:
            if (
                kwargs.get("allocation_id") == address.allocation_id
                or kwargs.get("address") == address.public_ip
            ):
                return address
        return None

    def _move(self, public: str, before: str | None) -> None:
        self._events.act(public, "associated")
        if not self._profile.address:
            return
        self._late[public] = before

        def arrive() -> None:
            self._late.pop(public, None)
            self.sync()

        threading.Timer(self._profile.address, arrive).start()

    def _listeners(self) -> list[Listener]:
        serving = [instance for instance in self._backend.all_instances() if _has_network(instance)]
        public = self._public_by_private(serving)
        return [
            Listener(
                private=str(instance.private_ip),
                public=tuple(sorted(public.get(str(instance.private_ip), ()))),
                permissions=tuple(self._permissions(instance)),
            )
            for instance in serving
        ]

    def _public_by_private(self, serving: Iterable[Instance]) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for address in self._backend.addresses:
            private = self._late.get(address.public_ip, address.private_ip_address)
            if private:
                found.setdefault(private, set()).add(address.public_ip)
        elastic = {address.public_ip for address in self._backend.addresses}
        for instance in serving:
            if instance.public_ip and instance.public_ip not in elastic:
                found.setdefault(str(instance.private_ip), set()).add(instance.public_ip)
        return found

    def _permissions(self, instance: Instance) -> Iterator[Permission]:
        groups = {group.id: group for group in instance.nics[0].group_set}
        groups.update({group.id: group for group in instance.security_groups})
        for _, group in sorted(groups.items()):
            for rule in group.ingress_rules:
                yield Permission(
                    protocol=str(rule.ip_protocol),
                    first_port=rule.from_port or 0,
                    last_port=rule.to_port or 0,
                    sources=tuple(sorted(self._sources(rule))),
                )

    def _sources(self, rule: SecurityGroupRule) -> Iterator[str]:
        if rule.cidr_ipv4:
            yield rule.cidr_ipv4
        if rule.prefix_list_id:
            yield from self._prefix_list(rule.prefix_list_id)
        member_of = rule.source_group.get("GroupId")
        if member_of:
            yield from (
                f"{instance.private_ip}/32"
                for instance in self._backend.all_instances()
                if _has_network(instance) and member_of in {group.id for group in instance.nics[0].group_set}
            )

    def _prefix_list(self, identifier: str) -> list[str]:
        found = self._backend.managed_prefix_lists.get(identifier)
        if found is None:
            return []
        if found.prefix_list_name == CLOUDFRONT_LIST:
            return [LOOPBACK]  # the lab's CloudFront runs on this host
        return [entry["Cidr"] for entry in found.entries.get(found.version, [])]


def _has_network(instance: Instance) -> bool:
    return instance.state in ("pending", "running", "stopping", "shutting-down")
