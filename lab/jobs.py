# SPDX-License-Identifier: GPL-3.0-or-later
"""One worker thread per instance or volume, so that what happens to one thing happens in order."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from queue import SimpleQueue

Job = Callable[[], None]


class Workers:
    """Queues of jobs by subject."""

    def __init__(self, failed: Callable[[str, BaseException], None]) -> None:
        self._queues: dict[str, SimpleQueue[Job]] = {}
        self._lock = threading.Lock()
        self._failed = failed

    def submit(self, subject: str, job: Job) -> None:
        """Do the job after the ones that wait for the same subject."""
        with self._lock:
            queue = self._queues.get(subject)
            if queue is None:
                queue = self._queues[subject] = SimpleQueue()
                threading.Thread(target=self._work, args=(subject, queue), name=subject, daemon=True).start()
        queue.put(job)

    def _work(self, subject: str, queue: SimpleQueue[Job]) -> None:
        while True:
            job = queue.get()
            try:
                job()
            except Exception as error:
                traceback.print_exc()
                self._failed(subject, error)
