"""IMDSv2, the instance metadata service, through urllib: a session token first, then reads."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import Dict, Optional

from zmanimctl.deadline import Deadline, backoff
from zmanimctl.errors import ZmanimError

ADDRESS = "http://169.254.169.254"
SESSION_SECONDS = "21600"


class Imds:
    """A session with the instance metadata service; every call is retried until the deadline."""

    def __init__(self, address: str = ADDRESS, *, deadline: float = 20.0, timeout: float = 2.0) -> None:
        """Remember where the service is; nothing is asked yet."""
        self._address = address
        self._deadline = deadline
        self._timeout = timeout
        self._token = ""
        # No proxy ever: the address is link-local.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get(self, path: str) -> str:
        """Return the text at ``latest/<path>``; raise ZmanimError when it is missing or nobody answers."""
        answer = self._read(path)
        if answer is None:
            raise ZmanimError(
                f"IMDS has no {path}", remedy="launch with instance metadata (and its tags) enabled"
            )
        return answer

    def find(self, path: str, default: str) -> str:
        """Return the text at ``latest/<path>``, or ``default`` when IMDS answers 404."""
        answer = self._read(path)
        return default if answer is None else answer

    def _read(self, path: str) -> Optional[str]:
        deadline = Deadline(self._deadline, f"an answer of IMDS for {path}")
        attempt = 0
        while True:
            try:
                return self._once(path)
            except urllib.error.HTTPError as error:
                if error.code == 404:
                    return None
                self._token = ""
                problem = f"HTTP {error.code}"
            except (urllib.error.URLError, OSError) as error:
                problem = str(getattr(error, "reason", error))
            if deadline.expired():
                raise deadline.exceeded(problem)
            deadline.pause(backoff(attempt, limit=1.0))
            attempt += 1

    def _once(self, path: str) -> str:
        if not self._token:
            self._token = self._request(
                "PUT", "latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": SESSION_SECONDS}
            )
        return self._request("GET", f"latest/{path}", {"X-aws-ec2-metadata-token": self._token})

    def _request(self, method: str, path: str, headers: Dict[str, str]) -> str:
        url = f"{self._address}/{path}"
        request = urllib.request.Request(url, method=method, headers=headers)  # noqa: S310 - http by construction
        with self._opener.open(request, timeout=self._timeout) as answer:
            return str(answer.read().decode("utf-8"))
