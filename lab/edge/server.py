# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge process: ministack with the lab's patches, served on every listener by one event loop.

Started by `lab.edge.start` with its settings on standard input; ends when that pipe closes.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import threading

from hypercorn.asyncio import serve
from hypercorn.config import Config

from lab.edge.settings import EdgeSettings


def _listeners(settings: EdgeSettings) -> Config:
    config = Config()
    config.bind = [settings.viewer_tls]
    plain = [settings.api, settings.viewer, settings.gateway, settings.issuer, settings.mirror]
    config.insecure_bind = [address for address in plain if address]
    config.certfile = settings.certificate
    config.keyfile = settings.key
    config.keep_alive_timeout = 75
    config.graceful_timeout = 1
    config.shutdown_timeout = 2
    config.backlog = 1024
    config.loglevel = "WARNING"
    return config


def _end_with_parent(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    """Set `ended` when the pipe closes; leave by force if the loop does not come to rest after that."""
    sys.stdin.buffer.read()
    loop.call_soon_threadsafe(ended.set)
    threading.Timer(6, os._exit, args=(0,)).start()


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _run(settings: EdgeSettings) -> None:
    from lab.edge import patches
    from lab.edge.listeners import Listeners

    patches.apply(settings)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    threading.Thread(target=_end_with_parent, args=(loop, ended), daemon=True).start()
    await serve(
        Listeners(settings),  # type: ignore[arg-type]
        _listeners(settings),
        shutdown_trigger=ended.wait,  # type: ignore[arg-type]
    )


def main() -> None:
    """Read the settings and serve until the pipe closes."""
    settings = EdgeSettings.from_json(sys.stdin.buffer.readline().decode())
    _raise_file_limit()
    asyncio.run(_run(settings))
    os._exit(0)  # worker threads may still wait for an origin; nothing here is worth waiting for


if __name__ == "__main__":
    main()
