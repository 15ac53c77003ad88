# SPDX-License-Identifier: GPL-3.0-or-later
"""swap.yml and rollback.yml from end to end, without machines; the rehearsal does the same with real ones."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.playbooks.conftest import Site

pytestmark = pytest.mark.moto
ROOT = Path(__file__).resolve().parents[2]


def test_swap_moves_volume_address_and_pointers(site: Site) -> None:
    done = site.play("swap", swap_ami_id=site.ami_v2)
    assert done.rc == 0, done.text
    green = site.holder()
    assert green != site.blue
    assert site.address_on() == green
    assert site.watched() == green
    assert site.instances()[site.blue] == "stopped"
    assert (site.parameter("ami-id"), site.parameter("ami-previous")) == (site.ami_v2, site.ami_v1)
    assert site.swap_state()["phase"] == "done"
    assert site.parameter("lock") is None


def unchanged(site: Site) -> None:
    """Assert that blue serves as if nothing had been tried."""
    assert site.holder() == site.blue
    assert site.address_on() == site.blue
    assert site.watched() == site.blue
    assert site.parameter("ami-id") == site.ami_v1
    assert site.parameter("lock") is None
    living = {name for name, state in site.instances().items() if state in ("pending", "running", "stopped")}
    assert living == {site.blue}


def killed_in(site: Site, phase: str) -> None:
    """Start a swap and kill the controller when the swap is in a phase."""
    command = site.command("swap", swap_ami_id=site.ami_v2)
    run = subprocess.Popen(
        command, cwd=ROOT, env=site.environment, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        end = time.monotonic() + 60
        while site.swap_state().get("phase") != phase:
            assert time.monotonic() < end, site.swap_state()
            assert run.poll() is None
            time.sleep(0.05)
    finally:
        step = json.loads(site.parameter("lock") or "{}").get("step", {}).get("process", 0)
        for process in (run.pid, step):  # the step has a session of its own: it would go on to its end
            if process:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
        run.wait(timeout=10)


def test_rollback_goes_back_to_the_kept_instance_and_forth_again(site: Site) -> None:
    assert site.play("swap", swap_ami_id=site.ami_v2).rc == 0
    green = site.holder()
    back = site.play("rollback")
    assert back.rc == 0, back.text
    assert site.holder() == site.address_on() == site.blue
    assert (site.parameter("ami-id"), site.parameter("ami-previous")) == (site.ami_v1, site.ami_v2)
    assert site.instances()[green] == "stopped"
    again = site.play("swap", swap_ami_id=site.ami_v2)
    assert again.rc == 0, again.text
    assert site.instances()[green] == "terminated", "the older kept instance is terminated"
    assert site.instances()[site.blue] == "stopped"


def test_check_ends_after_the_plan(site: Site) -> None:
    done = site.play("swap", "--check", swap_ami_id=site.ami_v2)
    assert done.rc == 0, done.text
    assert f"to_ami: {site.ami_v2}" in done.text or f'"to_ami": "{site.ami_v2}"' in done.text
    assert site.swap_state() == {}
    assert site.snapshots() == []
    unchanged(site)


def test_image_that_does_not_boot_is_terminated(site: Site) -> None:
    broken = site.make_image("broken", DoesNotBoot="true")
    done = site.play("swap", swap_ami_id=broken)
    done.failed_with("was not ready after 8 s", broken, f"{site.blue} serves now")
    unchanged(site)


def test_green_that_never_serves_gives_the_volume_back(site: Site) -> None:
    site.faults(green_never_serves=True)
    done = site.play("swap", swap_ami_id=site.ami_v2, swap_deadline=4)
    done.failed_with("did not serve within the handover's deadline of 4 s", f"{site.blue} serves now")
    unchanged(site)


def test_blue_that_refuses_keeps_the_volume(site: Site) -> None:
    site.faults(refuse_release="a backup is running since 03:00")
    done = site.play("swap", swap_ami_id=site.ami_v2)
    done.failed_with("did not let the volume go", "a backup is running", f"{site.blue} serves now")
    unchanged(site)


def test_unhealthy_from_outside_flips_back(site: Site) -> None:
    done = site.play("swap", swap_ami_id=site.ami_v2, swap_public_health_url=f"{site.endpoint}/moto-api/none")
    done.failed_with("is not healthy: expected status 200, found status 404", f"{site.blue} serves now")
    unchanged(site)


@pytest.mark.parametrize("phase", ["preparing", "moving"])
def test_a_killed_run_is_rolled_back_by_the_next(site: Site, phase: str) -> None:
    site.faults(**{"preparing": {"never_ready": True}, "moving": {"green_never_serves": True}}[phase])
    killed_in(site, phase)
    site.faults(deaf=[site.swap_state()["green"]])  # what the killed run launched answers nobody any more
    done = site.play("swap", swap_ami_id=site.ami_v2)
    assert done.rc == 0, done.text
    assert f"had been killed in phase {phase}" in " ".join(done.text.split())
    assert site.holder() == site.address_on() != site.blue
    running = [name for name, state in site.instances().items() if state == "running"]
    assert running == [site.holder()]


def test_a_run_killed_after_the_handover_is_finished_by_the_next(site: Site) -> None:
    killed_in(site, "soaking")
    done = site.play("swap", swap_ami_id=site.ami_v2)
    assert done.rc == 0, done.text
    assert "was finished" in " ".join(done.text.split())
    assert site.swap_state()["phase"] == "done"
    assert site.instances()[site.blue] == "stopped"
    assert sum(state == "running" for state in site.instances().values()) == 1


def test_a_second_run_is_refused_while_one_goes_on(site: Site) -> None:
    site.faults(never_ready=True)
    command = site.command("swap", swap_ami_id=site.ami_v2, swap_standby_deadline=30)
    first = subprocess.Popen(command, cwd=ROOT, env=site.environment, stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 30
        while site.swap_state().get("phase") != "preparing":
            assert time.monotonic() < end
            time.sleep(0.1)
        second = site.play("swap", swap_ami_id=site.ami_v2)
        second.failed_with("swap (run", "holds the lock /zmanim/test/lock", "wait for it to end")
        third = site.play("release", release_version="2.0.0")
        third.failed_with("no unfinished swap", "preparing")
        site.faults()
        assert first.wait(timeout=60) == 0
    finally:
        if first.poll() is None:
            first.kill()
    assert site.swap_state()["phase"] == "done"


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"swap_ami_id": "ami-00000000000000000"}, ["ami-00000000000000000 does not exist", "Packer"]),
        ({"swap_ami_id": ""}, ["no AMI was named", "-e swap_ami_id="]),
        ({"swap_ami": "ami-1"}, ["Unknown variable swap_ami:", "swap_ami_id"]),
        ({"zmanim_env": ""}, ["Variable zmanim_env is missing or empty"]),
        ({"swap_ami_id": "V1"}, ["is what runs now", "swap_force=true"]),
        ({"swap_ami_id": "V2", "swap_mode": "replica"}, ["swap mode replica is not available"]),
        ({"swap_ami_id": "OLD"}, ["carries PostgreSQL 16", "holds PostgreSQL 17", "replica mode"]),
        (
            {"swap_ami_id": "V2", "zmanim_region": "eu-nowhere-9"},
            ["'eu-nowhere-9' is none that boto3 knows"],
        ),
    ],
    ids=["no-such-ami", "no-ami", "misspelt", "missing", "same-ami", "replica", "major", "region"],
)
def test_bad_input_touches_nothing(site: Site, variables: dict[str, str], words: list[str]) -> None:
    images = {"V1": site.ami_v1, "V2": site.ami_v2, "OLD": site.make_image("old", PostgresMajor="16")}
    given = {key: images.get(value, value) for key, value in variables.items()}
    site.play("swap", **given).failed_with(*words)
    unchanged(site)


def test_plan_names_every_problem_at_once(site: Site) -> None:
    site.ec2.create_tags(Resources=[site.ami_v2], Tags=[{"Key": "PostgresMajor", "Value": "15"}])
    site.faults(prepare="less than 10 % of /data is free")
    done = site.play("swap", swap_ami_id=site.ami_v2)
    done.failed_with(
        "nothing was touched, because", "carries PostgreSQL 15", "less than 10 % of /data is free"
    )
    unchanged(site)


def test_no_credentials_is_one_message(site: Site) -> None:
    bare = {key: value for key, value in site.environment.items() if not key.startswith("AWS_")}
    bare.update(AWS_EC2_METADATA_DISABLED="true", AWS_ENDPOINT_URL=site.endpoint, HOME="/nonexistent")
    known, site.environment = site.environment, bare
    try:
        done = site.play("swap", swap_ami_id=site.ami_v2)
    finally:
        site.environment = known
    done.failed_with("Unable to locate credentials", "set AWS_PROFILE")
