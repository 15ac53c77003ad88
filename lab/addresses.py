# SPDX-License-Identifier: GPL-3.0-or-later
"""Public addresses and security groups as one nftables table.

A public address lives on the loopback network: the kernel translates it to the machine's private address, so
a closed port refuses and a dropped packet times out exactly as the network would. A connection keeps the
machine it began on when the address moves, because connection tracking remembers it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from lab.paths import NFT_TABLE, VETH_PREFIX

ELASTIC_NETWORK = ipaddress.ip_network("127.77.0.0/16")
PUBLIC_NETWORK = ipaddress.ip_network("127.78.0.0/16")


@dataclass(frozen=True)
class Permission:
    """One ingress permission: protocol (tcp, udp, icmp or -1), ports, and the IPv4 sources it admits."""

    protocol: str
    first_port: int
    last_port: int
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Listener:
    """A running machine: where it is reached and what it admits."""

    private: str
    public: tuple[str, ...]
    permissions: tuple[Permission, ...]


class AddressPool:
    """Hands out addresses of a network one after the other; none twice in a run."""

    def __init__(self, network: ipaddress.IPv4Network | ipaddress.IPv6Network, first: int = 1) -> None:
        self._network = network
        self._next = first

    def take(self) -> str:
        """Return the next address."""
        address = self._network[self._next]
        self._next += 1
        return str(address)


def ruleset(listeners: Iterable[Listener]) -> str:
    """Render the nftables table for the machines that run now."""
    ordered = sorted(listeners, key=lambda listener: listener.private)
    machines = f'oifname "{VETH_PREFIX}*"'
    return "\n".join([
        f"table ip {NFT_TABLE} {{",
        "chain admit_public {",
        "type filter hook output priority -110; policy accept",
        f"ip daddr != {{ {ELASTIC_NETWORK}, {PUBLIC_NETWORK} }} accept",
        "ct state established,related accept",
        *_public_verdicts(ordered),
        "drop",
        "}",
        "chain translate {",
        "type nat hook output priority -100; policy accept",
        *(f"ip daddr {public} dnat to {entry.private}" for entry in ordered for public in entry.public),
        "}",
        "chain leave {",
        "type nat hook postrouting priority 100; policy accept",
        f"ip saddr 127.0.0.0/8 {machines} masquerade",
        *(f'ip saddr {entry.private} oifname != "{VETH_PREFIX}*" masquerade' for entry in ordered),
        "}",
        "chain between_machines {",
        "type filter hook forward priority 0; policy accept",
        "ct state established,related accept",
        *_private_verdicts(ordered),
        f"{machines} drop",
        "}",
        "}",
        "",
    ])  # fmt: skip


def _public_verdicts(listeners: Iterable[Listener]) -> list[str]:
    return [
        f"ip daddr {public} {match} accept"
        for listener in listeners
        for public in listener.public
        for permission in listener.permissions
        for match in _matches(permission)
    ]


def _private_verdicts(listeners: Iterable[Listener]) -> list[str]:
    return [
        f"ip daddr {listener.private} {match} accept"
        for listener in listeners
        for permission in listener.permissions
        for match in _matches(permission)
    ]


def _matches(permission: Permission) -> list[str]:
    if not permission.sources:
        return []
    match = f"ip saddr {{ {', '.join(_disjoint(permission.sources))} }}"
    if permission.protocol in ("-1", "all"):
        return [match]
    if permission.protocol in ("icmp", "1"):
        return [f"{match} ip protocol icmp"]
    protocol = {"6": "tcp", "17": "udp"}.get(permission.protocol, permission.protocol)
    return [f"{match} {protocol} dport {permission.first_port}-{permission.last_port}"]


def _disjoint(sources: Iterable[str]) -> list[str]:
    """nftables refuses overlapping networks in a set, and a set with 0.0.0.0/0 beside others."""
    networks = [ipaddress.IPv4Network(source, strict=False) for source in sources]
    return [str(network) for network in ipaddress.collapse_addresses(networks)]
