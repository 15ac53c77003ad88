# SPDX-License-Identifier: GPL-3.0-or-later
"""Public addresses and security groups as rules."""

from __future__ import annotations

import subprocess

import pytest

from lab.addresses import ELASTIC_NETWORK, PUBLIC_NETWORK, AddressPool, Listener, Permission, ruleset

WEB = Permission("tcp", 8080, 8080, ("127.0.0.0/8",))
BLUE = Listener("10.0.1.4", ("127.77.0.1",), (WEB,))
GREEN = Listener("10.0.1.5", (), (WEB, Permission("tcp", 22, 22, ("10.0.1.4/32",))))


def lines(*listeners: Listener) -> list[str]:
    return ruleset(listeners).splitlines()


def test_a_public_address_leads_to_the_machine_it_belongs_to() -> None:
    assert "ip daddr 127.77.0.1 dnat to 10.0.1.4" in lines(BLUE, GREEN)


def test_only_admitted_ports_pass_and_the_rest_is_dropped() -> None:
    rules = lines(BLUE)
    assert "ip daddr 127.77.0.1 ip saddr { 127.0.0.0/8 } tcp dport 8080-8080 accept" in rules
    assert not any("dport 22" in rule for rule in rules)
    assert "drop" in rules


def test_machines_reach_each_other_only_as_their_groups_admit() -> None:
    rules = lines(BLUE, GREEN)
    assert "ip daddr 10.0.1.5 ip saddr { 10.0.1.4/32 } tcp dport 22-22 accept" in rules
    assert 'oifname "zv*" drop' in rules


def test_overlapping_sources_are_merged() -> None:
    anyone = Permission("tcp", 80, 81, ("0.0.0.0/0", "10.0.0.0/8"))
    assert any(
        "ip saddr { 0.0.0.0/0 } tcp dport 80-81" in rule
        for rule in lines(Listener("10.0.0.9", (), (anyone,)))
    )


@pytest.mark.parametrize(
    ("permission", "match"),
    [
        (Permission("-1", 0, 0, ("10.0.0.0/8",)), "ip saddr { 10.0.0.0/8 } accept"),
        (Permission("icmp", 8, 0, ("10.0.0.0/8",)), "ip protocol icmp accept"),
        (Permission("17", 53, 53, ("10.0.0.0/8",)), "udp dport 53-53 accept"),
    ],
)
def test_protocols(permission: Permission, match: str) -> None:
    assert any(rule.endswith(match) for rule in lines(Listener("10.0.0.9", (), (permission,))))


def test_a_permission_without_sources_admits_nobody() -> None:
    assert not any("10.0.0.9 " in rule and "accept" in rule for rule in lines(
        Listener("10.0.0.9", (), (Permission("tcp", 1, 2, ()),))
    ))  # fmt: skip


def test_addresses_are_handed_out_once() -> None:
    elastic, public = AddressPool(ELASTIC_NETWORK), AddressPool(PUBLIC_NETWORK, first=257)
    assert [elastic.take(), elastic.take()] == ["127.77.0.1", "127.77.0.2"]
    assert public.take() == "127.78.1.1"


@pytest.mark.lab
def test_the_kernel_accepts_the_rules() -> None:
    text = ruleset([BLUE, GREEN])
    checked = subprocess.run(
        ["nft", "--check", "-f", "-"], input=text, text=True, capture_output=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
