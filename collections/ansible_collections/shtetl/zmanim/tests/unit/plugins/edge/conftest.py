# SPDX-License-Identifier: GPL-3.0-or-later
"""A module's few faces for resources under test."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Callable

import boto3
import pytest
from botocore.stub import Stubber


@pytest.fixture
def stubbed() -> Any:
    """A function from a service's name to its (client, stubber)."""

    def make(service: str) -> Any:
        client = boto3.client(
            service, region_name="eu-west-1", aws_access_key_id="unit", aws_secret_access_key="unit"
        )
        stubber = Stubber(client)
        stubber.activate()
        return client, stubber

    return make


@pytest.fixture
def fake_module() -> Callable[..., Any]:
    """A module with options and one client."""

    def make(client: Any = None, check_mode: bool = False, **params: Any) -> Any:
        return SimpleNamespace(params=params, check_mode=check_mode, client=lambda _service: client)

    return make
