"""Sizes follow the machine."""

from __future__ import annotations

import pytest
from zmanimctl.sizing import memory_mib, postgres_sizes, redis_memory_mib


def mib(text: str) -> int:
    return int(text.removesuffix("MB"))


@pytest.mark.parametrize(
    ("memory", "cpus", "shared", "connections"),
    [(1024, 1, 256, 40), (4096, 1, 1024, 102), (8192, 2, 2048, 200), (131072, 32, 16384, 200)],
)
def test_postgres_by_machine(memory: int, cpus: int, shared: int, connections: int) -> None:
    sizes = postgres_sizes(memory, cpus)
    assert mib(sizes["shared_buffers"]) == shared
    assert int(sizes["max_connections"]) == connections


@pytest.mark.parametrize("memory", [512, 1024, 2048, 4096, 16384, 262144])
@pytest.mark.parametrize("cpus", [1, 2, 8, 96])
def test_everything_fits_into_the_machine(memory: int, cpus: int) -> None:
    sizes = postgres_sizes(memory, cpus)
    worst = mib(sizes["work_mem"]) * int(sizes["max_connections"])
    fixed = mib(sizes["shared_buffers"]) + redis_memory_mib(memory)
    assert fixed < memory * 0.55
    assert worst < max(memory, 256)
    assert int(sizes["max_parallel_workers"]) <= int(sizes["max_worker_processes"])


@pytest.mark.parametrize(
    ("limits", "expected"),
    [([], 4000), (["max"], 4000), ([str(1024 * 1048576)], 1024), (["9223372036854771712"], 4000)],
)
def test_memory_is_the_lower_of_machine_and_limit(limits: list[str], expected: int) -> None:
    assert memory_mib("MemTotal:        4096000 kB\nMemFree: 1 kB\n", limits) == expected
