"""Sizes of PostgreSQL and Redis, derived from the real machine: memory in MiB, CPUs.

Sources: PostgreSQL's documentation, Resource Consumption (shared_buffers a quarter of memory,
effective_cache_size
half to three quarters) and Parallel Query; the machine also carries Redis and the API, so shares stay below
that.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Dict, List

MIB = 1024 * 1024


def clamp(value: float, low: int, high: int) -> int:
    """Return ``value`` as an integer between ``low`` and ``high``."""
    return int(max(low, min(high, value)))


def postgres_sizes(memory_mib: int, cpus: int) -> Dict[str, str]:
    """Return the PostgreSQL settings that depend on the machine, as written in postgresql.conf."""
    connections = clamp(memory_mib / 40, 40, 200)
    shared = clamp(memory_mib / 4, 128, 16384)
    # A quarter of memory shared by all sorts at once, three per connection at worst.
    work = clamp(memory_mib / 4 / connections / 3 * 4, 4, 256)
    workers = clamp(cpus, 2, 64)
    return {
        "max_connections": str(connections),
        "shared_buffers": f"{shared}MB",
        "effective_cache_size": f"{clamp(memory_mib * 0.6, 256, 1 << 20)}MB",
        "work_mem": f"{work}MB",
        "maintenance_work_mem": f"{clamp(memory_mib / 16, 64, 2048)}MB",
        "autovacuum_max_workers": str(clamp(cpus, 2, 6)),
        "max_worker_processes": str(workers + 14),
        "max_parallel_workers": str(workers),
        "max_parallel_workers_per_gather": str(clamp(cpus / 2, 0, 4)),
        "max_parallel_maintenance_workers": str(clamp(cpus / 2, 1, 4)),
        "max_wal_size": f"{clamp(memory_mib / 4, 512, 4096)}MB",
        "min_wal_size": f"{clamp(memory_mib / 16, 128, 1024)}MB",
        "wal_buffers": f"{clamp(shared / 32, 4, 16)}MB",
    }


def redis_memory_mib(memory_mib: int) -> int:
    """Return Redis' maxmemory: an eighth of the machine, since a cache must never push the database out."""
    return clamp(memory_mib / 8, 64, 8192)


def memory_mib(meminfo: str, limits: List[str]) -> int:
    """Return the memory that really is ours: MemTotal, or a lower control-group limit when one is set."""
    total = next(
        (int(line.split()[1]) // 1024 for line in meminfo.splitlines() if line.startswith("MemTotal:")), 1024
    )
    bounds = [int(text) // MIB for text in limits if text.strip().isdigit()]
    return min([total, *[bound for bound in bounds if bound > 0]])


def machine_memory_mib() -> int:
    """Read the memory of this machine, MiB."""
    limits = []
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        if os.path.exists(path):
            limits.append(Path(path).read_text(encoding="utf-8"))
    return memory_mib(Path("/proc/meminfo").read_text(encoding="utf-8"), limits)


def machine_cpus() -> int:
    """Return the CPUs that this process may use."""
    return len(os.sched_getaffinity(0))
