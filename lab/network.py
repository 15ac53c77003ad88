# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's network: each machine hangs on its own veth pair and the host is the VPC router.

Routing instead of bridging makes every packet between two machines pass the host's forward hook, where
security groups are enforced (lab.addresses). Machines still see their subnet as on EC2: the host answers
ARP for every neighbour.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from lab.paths import GATEWAY_ADDRESS, IMDS_ADDRESS, LINK, NETNS_PREFIX, NFT_TABLE, VETH_PREFIX
from lab.process import attempt, run


@dataclass(frozen=True)
class Interface:
    """A machine's primary network interface, as EC2 describes it."""

    instance_id: str
    address: str
    prefix_length: int
    router: str
    mac: str

    @property
    def namespace(self) -> str:
        """Name of the network namespace."""
        return NETNS_PREFIX + self.instance_id

    @property
    def link(self) -> str:
        """The host's end of the veth pair (15 characters at most)."""
        return VETH_PREFIX + self.instance_id.removeprefix("i-")[-12:]


def raise_service_link() -> None:
    """Give the host the two link-local addresses on which IMDS and the AWS endpoint answer."""
    run("ip", "link", "add", LINK, "type", "bridge")  # not dummy: small kernels lack it
    for address in (IMDS_ADDRESS, GATEWAY_ADDRESS):
        run("ip", "address", "add", f"{address}/32", "dev", LINK)
    run("ip", "link", "set", LINK, "up")
    _write_setting("net/ipv4/ip_forward", "1")


def plug(interface: Interface) -> None:
    """Make the namespace with its veth pair, addresses and routes."""
    inside, outside = interface.namespace, interface.link
    mtu = str(_uplink_mtu())
    run("ip", "netns", "add", inside)
    run(
        "ip", "link", "add", outside, "mtu", mtu, "type", "veth",
        "peer", "name", "eth0", "mtu", mtu, "address", interface.mac, "netns", inside,
    )  # fmt: skip
    run("ip", "address", "add", f"{interface.router}/32", "dev", outside)
    run("ip", "link", "set", outside, "up")
    run("ip", "route", "replace", f"{interface.address}/32", "dev", outside)
    _write_setting(f"net/ipv4/conf/{outside}/proxy_arp", "1")
    _write_setting(f"net/ipv4/neigh/{outside}/proxy_delay", "0")
    _write_setting(f"net/ipv4/conf/{outside}/route_localnet", "1")
    _write_setting(f"net/ipv4/conf/{outside}/rp_filter", "0")
    subnet = f"{interface.address}/{interface.prefix_length}"
    run("ip", "-n", inside, "link", "set", "lo", "up")
    run("ip", "-n", inside, "address", "add", subnet, "dev", "eth0")
    run("ip", "-n", inside, "link", "set", "eth0", "up")
    run("ip", "-n", inside, "route", "add", "default", "via", interface.router)


def unplug(instance_id: str) -> None:
    """Remove a machine's namespace; its veth pair goes with it."""
    link = VETH_PREFIX + instance_id.removeprefix("i-")[-12:]
    attempt("ip", "link", "delete", link)
    attempt("ip", "netns", "delete", NETNS_PREFIX + instance_id)


def load_rules(ruleset: str) -> None:
    """Replace the lab's nftables table in one transaction."""
    run("nft", "-f", "-", stdin=f"table ip {NFT_TABLE} {{}}\ndelete table ip {NFT_TABLE}\n{ruleset}")


def links() -> list[str]:
    """The lab's interfaces that exist on the host."""
    names = [str(link["ifname"]) for link in json.loads(run("ip", "-j", "link", "show") or "[]")]
    return [name for name in names if name == LINK or _is_machine_link(name)]


def namespaces() -> list[str]:
    """The lab's network namespaces that exist on the host."""
    directory = Path("/run/netns")
    if not directory.is_dir():
        return []
    return sorted(entry.name for entry in directory.iterdir() if entry.name.startswith(NETNS_PREFIX + "i-"))


def has_rules() -> bool:
    """Whether the lab's nftables table exists."""
    return attempt("nft", "list", "table", "ip", NFT_TABLE).returncode == 0


def _is_machine_link(name: str) -> bool:
    suffix = name.removeprefix(VETH_PREFIX)
    return suffix != name and len(suffix) == 12 and all(char in "0123456789abcdef" for char in suffix)


def _uplink_mtu() -> int:
    routes = json.loads(run("ip", "-j", "route", "show", "default") or "[]")
    if not routes:
        return 1500
    return int(Path(f"/sys/class/net/{routes[0]['dev']}/mtu").read_text())


def _write_setting(name: str, value: str) -> None:
    Path("/proc/sys", name).write_text(value)
