# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles aws_api and aws_cdn: exact under check mode, idempotent, and gone after their destruction."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest

pytestmark = pytest.mark.edge


def changed(run: subprocess.CompletedProcess[str]) -> list[str]:
    """The names of the tasks that a run changed, in order."""
    assert run.returncode == 0, run.stdout + run.stderr
    names: list[str] = []
    task = ""
    for line in run.stdout.splitlines():
        found = re.match(r"TASK \[(.*)\]", line)
        task = found.group(1) if found else task
        if line.startswith("changed: "):
            names.append(task)
    return names


@pytest.fixture(scope="module")
def first_run(bare_site: Any) -> tuple[list[str], list[str]]:
    """What a check run on bare ground predicts, and what the real run then changes."""
    bare_site.play("destroy.yml")
    predicted = changed(bare_site.play("site.yml", "--check", "--diff"))
    return predicted, changed(bare_site.play("site.yml", "--diff"))


def test_check_mode_predicts_the_first_run(first_run: tuple[list[str], list[str]]) -> None:
    predicted, real = first_run
    assert predicted == real
    assert len(real) >= 10


def test_the_second_run_changes_nothing(first_run: Any, bare_site: Any) -> None:
    assert changed(bare_site.play()) == []
    assert changed(bare_site.play("site.yml", "--check", "--diff")) == []


def test_a_changed_key_changes_the_api_alone_and_is_never_printed(first_run: Any, bare_site: Any) -> None:
    run = bare_site.play("site.yml", "--diff", "-vv", origin_verify_key="planted-next-key")
    assert changed(run) == ["shtetl.zmanim.aws_api : Declare the HTTP API"]
    assert "planted-" not in run.stdout + run.stderr
    assert "(hidden, differs)" in run.stdout
    assert changed(bare_site.play()) == ["shtetl.zmanim.aws_api : Declare the HTTP API"]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"origin_mode": "vpc_link"}, "aws_api_origin_mode is vpc_link, expected public"),
        ({"frontend_mode": "ssr"}, "aws_cdn_frontend_mode is ssr, expected static"),
        ({"base_path": "backend/"}, "aws_cdn_base_path is backend/, expected a path such as /backend"),
    ],
)
def test_what_is_not_supported_is_refused(
    first_run: Any, bare_site: Any, variables: dict[str, str], message: str
) -> None:
    run = bare_site.play("site.yml", "--check", **variables)
    assert run.returncode != 0
    assert message in " ".join(run.stdout.split())


def test_destruction_leaves_nothing_and_can_be_repeated(first_run: Any, bare_site: Any, aws: Any) -> None:
    assert len(changed(bare_site.play("destroy.yml"))) >= 6
    assert changed(bare_site.play("destroy.yml")) == []
    names = [api["Name"] for api in aws.boto("apigatewayv2").get_apis()["Items"]]
    assert "zmanim-edge" not in names
    cloudfront = aws.boto("cloudfront")
    listed = [
        cloudfront.list_distributions()["DistributionList"],
        cloudfront.list_functions()["FunctionList"],
        cloudfront.list_cache_policies(Type="custom")["CachePolicyList"],
        cloudfront.list_response_headers_policies(Type="custom")["ResponseHeadersPolicyList"],
        cloudfront.list_origin_access_controls()["OriginAccessControlList"],
    ]
    assert "zmanim-edge" not in str(listed)
    changed(bare_site.play())  # as the other tests of this session found it
