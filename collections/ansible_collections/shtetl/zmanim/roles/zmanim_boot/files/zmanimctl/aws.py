"""boto3 clients, imported only when needed, and one way of retrying what is worth retrying."""

from __future__ import annotations

import importlib
import threading
from typing import Any, Callable, Dict, TypeVar

from zmanimctl.deadline import Deadline, backoff
from zmanimctl.errors import AwsFailed

T = TypeVar("T")

# Answers that a second try can change; everything else is final.
TRANSIENT = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "SlowDown",
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "ServiceUnavailable",
        "Unavailable",
        "RequestTimeout",
        "RequestTimeoutException",
        "500",
        "502",
        "503",
        "504",
    }
)


class Aws:
    """The AWS clients of this machine, made on first use with short time-outs."""

    def __init__(self, region: str, endpoint_url: str = "") -> None:
        """Remember region and endpoint; boto3 is not loaded yet."""
        self._region = region
        self._endpoint_url = endpoint_url
        self._clients: Dict[str, Any] = {}
        self._lock = threading.Lock()
        self._session: Any = None

    def client(self, service: str) -> Any:
        """Return the client of ``service``; boto3's session is not thread-safe while it makes one."""
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._make(service)
            return self._clients[service]

    def _make(self, service: str) -> Any:
        try:
            boto3 = importlib.import_module("boto3")
            config = importlib.import_module("botocore.config")
        except ImportError as error:
            raise AwsFailed(f"AWS {service}", found=str(error), remedy="install python3-boto3") from None
        if self._session is None:
            self._session = boto3.session.Session(region_name=self._region)
        return self._session.client(
            service,
            endpoint_url=self._endpoint_url or None,
            config=config.Config(
                connect_timeout=3,
                read_timeout=10,
                retries={"max_attempts": 0, "mode": "standard"},
                s3={"addressing_style": "path"} if self._endpoint_url else {},
            ),
        )

    def call(self, service: str, what: str, act: Callable[[Any], T], *, seconds: float = 30.0) -> T:
        """Run ``act(client)`` and retry throttling, time-outs and missing answers with back-off for
        ``seconds``.

        Raises AwsFailed that names ``what`` and the service's own words.
        """
        deadline = Deadline(seconds, what)
        attempt = 0
        while True:
            try:
                return act(self.client(service))
            except Exception as error:
                failed = explain(what, error)
                if failed is error:
                    raise
            if not worth_retrying(failed.code) or deadline.expired():
                raise failed
            deadline.pause(backoff(attempt))
            attempt += 1


def worth_retrying(code: str) -> bool:
    """Say whether an error code ('' = no answer at all) may go away by itself."""
    return code == "" or code in TRANSIENT


def explain(what: str, error: Exception) -> Any:
    """Return AwsFailed for a botocore error, or ``error`` itself when it is something else."""
    if not type(error).__module__.startswith(("botocore", "urllib3", "boto3")):
        return error
    response = getattr(error, "response", None)
    detail = response.get("Error", {}) if isinstance(response, dict) else {}
    code = str(detail.get("Code", ""))
    message = str(detail.get("Message", "")) or str(error)
    if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
        remedy = "give the instance its instance profile"
    else:
        remedy = "check the instance role, the network and the endpoint"
    return AwsFailed(what, code=code, found=f"{code + ': ' if code else ''}{message}", remedy=remedy)
