# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of the rehearsal, each a few of the commands that an operator types."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lab.api.build import BROKEN
from tests.rehearsal import commands, rows
from tests.rehearsal.boot import BootWatch
from tests.rehearsal.commands import ROOT
from tests.rehearsal.run import LOGS, Rehearsal, StepError

FIRST, SECOND = "1.0.0", "2.0.0"
API = ROOT / "build" / "api"
ROWS = LOGS / "rows.json"
SNAPSHOT = re.compile(r"Snapshot ([0-9a-f]{8,64}) of ")
SCRATCH = "zmanim_restore"
FAILED = (1, 2)  # exit statuses of ansible-playbook when a task failed
# Shorter than in production, where a day-long watch may follow: the rehearsal's figures don't depend on them.
SOAK_SECONDS = "10"
STANDBY_SECONDS = "60"
BEFORE_HOLD = ("planned", "launching", "preparing")  # phases of a swap in which requests are not held


@dataclass(frozen=True)
class Step:
    """A step: its name on the command line, a line for the reader, and what it does."""

    name: str
    title: str
    action: Callable[[Rehearsal], None]
    loaded: bool = False  # viewers must be there


def lab_up(r: Rehearsal) -> None:
    """Build the API and start the emulated AWS."""
    architecture = str(r.controller.variables["zmanim_architecture"])
    r.controller.run([sys.executable, "-m", "lab.api.build", "--arch", architecture], minutes=15)
    r.controller.lab("up", "--profile", r.options.profile, minutes=10)
    r.started_lab = True


def _bake(r: Rehearsal, version: str) -> str:
    command = ["packer", "build", "-color=false", "-var-file=../inventories/lab/packer.pkrvars.hcl"]
    command += ["-var", f"image_version={version}", "."]
    return commands.baked_ami(r.controller.run(command, minutes=20, directory=ROOT / "packer"))


def bake(r: Rehearsal) -> None:
    """Bake the first image."""
    started = time.monotonic()
    ami = _bake(r, FIRST)
    r.facts["bake"] = {"seconds": round(time.monotonic() - started, 1), "ami_id": ami}
    r.say(f"      {ami}")


def bake_second(r: Rehearsal) -> None:
    """Bake the second version of the image, beside the running site."""
    r.facts["second_ami"] = _bake(r, SECOND)
    r.say(f"      {r.facts['second_ami']}")


def _site(r: Rehearsal, *arguments: str) -> tuple[int, float]:
    started = time.monotonic()
    log = r.controller.playbook(
        "site", *arguments, minutes=15, extra={"zmanim_ami_id": r.need("bake")["ami_id"]}
    )
    return commands.changed_tasks(log), round(time.monotonic() - started, 1)


def _api(r: Rehearsal, version: str) -> dict[str, str]:
    """Return the variables that name a version of the API and the file that a build pipeline made."""
    file = API / str(r.controller.variables["zmanim_architecture"]) / version / "zmanim-api"
    return {"release_version": version, "release_file": str(file)}


def site(r: Rehearsal) -> None:
    """Provision everything; the machine boots meanwhile.

    The first boot needs a release, and a release needs its bucket: the buckets come first.
    """
    with BootWatch(r.controller) as watch:
        buckets, bucket_seconds = _site(r, "--tags", "aws_storage")
        r.controller.playbook("publish", extra=_api(r, FIRST))
        changed, seconds = _site(r)
        r.facts["site"]["first"] = {
            "changed": buckets + changed,
            "seconds": round(bucket_seconds + seconds, 1),
        }
        r.facts["boot"]["launch_to_health_s"] = watch.seconds(deadline_seconds=180)
    r.say(f"      {buckets + changed} changed; health {r.facts['boot']['launch_to_health_s']} s after launch")


def site_again(r: Rehearsal) -> None:
    """Provision again: nothing may change."""
    changed, seconds = _site(r)
    r.facts["site"]["again"] = {"changed": changed, "seconds": seconds}
    r.expect("tasks changed by the second run", changed, 0)


def site_check(r: Rehearsal) -> None:
    """Ask what would change: nothing."""
    changed, _seconds = _site(r, "--check", "--diff")
    r.facts["site"]["check"] = {"changed": changed}
    r.expect("tasks changed under --check", changed, 0)


def _origin_status(r: Rehearsal, path: str) -> int:
    viewer = r.controller.origin_viewer()
    return viewer.ask("GET", path)[0]


def health(r: Rehearsal) -> None:
    """Ask every hop, and see that what is closed is closed."""
    viewer, gateway = r.controller.viewer(), r.controller.gateway_viewer()
    found = {
        "cloudfront": viewer.ask("GET", "/api/v1/health")[0],
        "api_gateway": gateway.ask("GET", "/api/v1/health")[0],
        "origin": _origin_status(r, "/health"),
    }
    r.facts["health"] = found
    r.expect("health", found, dict.fromkeys(found, 200))
    r.expect("the origin without the gateway's key", _origin_status(r, "/api/v1/version"), 403)
    write = {"id": "00000000-0000-4000-8000-000000000001", "payload": "with a token"}
    for name, arguments, statuses in (
        ("no token", None, (401,)),
        ("an expired token", ("--expired",), (401,)),
        ("a token for somebody else", ("--aud", "https://elsewhere.test"), (401, 403)),
        ("a good token", (), (200, 201)),
    ):
        token = "" if arguments is None else r.controller.ask_lab("token", *arguments).strip()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        status = viewer.ask("POST", "/api/v1/external/writes", write, headers)[0]
        r.expect(f"a protected route with {name} answers one of {statuses}", status in statuses, True)


def load(r: Rehearsal) -> None:
    """Let viewers read and write from now on."""
    r.start_load()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        requests = r.load.requests() if r.load else []
        if len(requests) >= 30:
            failed = [request for request in requests if not request.ok]
            r.expect("failed requests", failed, [])
            return
        time.sleep(0.2)
    raise StepError("the viewers made fewer than 30 requests in 30 s")


def _version(r: Rehearsal) -> str:
    status, body = r.controller.viewer().ask("GET", "/api/v1/version")
    if status != 200:
        raise StepError(f"/api/v1/version answered {status}: {body[:200]!r}")
    return str(json.loads(body)["data"]["version"])


def release(r: Rehearsal) -> None:
    """Release the second version of the API."""
    with r.window("release"):
        r.controller.playbook("release", minutes=4, extra=_api(r, SECOND))
    r.expect("version that viewers meet", _version(r), SECOND)


def release_broken(r: Rehearsal) -> None:
    """Release a version that never becomes healthy: it must be refused, the old one must serve on."""
    with r.window("release-broken"):
        r.controller.playbook(
            "release", minutes=6, expected=FAILED, extra=_api(r, BROKEN) | {"release_deadline": "20"}
        )
    r.expect("version that viewers meet", _version(r), SECOND)


def _swap(
    r: Rehearsal,
    playbook: str,
    result: str,
    image: str,
    extra: dict[str, str],
    expected: Sequence[int] = (0,),
) -> None:
    """Run a playbook that moves the site in a window named after the step, and see which image serves."""
    name, before = r.steps[-1].name, r.controller.swap_state()
    try:
        with r.window(name):
            wanted = {"swap_soak_seconds": SOAK_SECONDS} | extra
            r.controller.playbook(playbook, extra=wanted, minutes=12, expected=expected)
    finally:
        state = r.controller.swap_state()
        r.facts["swaps"][name] = {"result": outcome(state), "handover_ms": handover_ms(state)}
    r.expect("the swap recorded a new state", state != before, True)
    r.expect("result", outcome(state), result)
    serving = r.controller.serving()
    r.expect("image that serves", serving["ImageId"], image)
    r.expect("instances that the alarms watch", r.controller.watched_instances(), {serving["InstanceId"]})
    r.expect("health through CloudFront", r.controller.viewer().ask("GET", "/api/v1/health")[0], 200)
    held = r.facts["swaps"][name]["handover_ms"]
    r.say(f"      {outcome(state)}, " + (f"handover {held} ms" if held else "nothing was handed over"))


def handover_ms(state: dict[str, Any]) -> int | None:
    """Milliseconds from the first held request until the new machine served.

    0 when the swap was undone before anything was held, None when that was measured by nobody.
    """
    if state.get("failed_phase") in BEFORE_HOLD:
        return 0
    found = (state.get("handover_ms") or {}).get("serving")
    return round(found) if isinstance(found, int | float) else None


def outcome(state: dict[str, Any]) -> str:
    """Return what a swap's state says of its end: swapped, rolled-back, or the phase it is stuck in."""
    phase = str(state.get("phase", "none"))
    return (
        ("rolled-back" if state.get("direction") == "rollback" else "swapped") if phase == "done" else phase
    )


def swap(r: Rehearsal) -> None:
    """Swap to the second image."""
    image = r.need("second_ami")
    _swap(r, "swap", "swapped", image, {"swap_ami_id": image})


def rollback(r: Rehearsal) -> None:
    """Go back to the first image."""
    _swap(r, "rollback", "rolled-back", r.need("bake")["ami_id"], {})


def backup(r: Rehearsal) -> None:
    """Back up; every row that is there now must be in it."""
    machine = r.controller.serving()["InstanceId"]
    before = rows.read_tables(lambda query: r.controller.rows(machine, "zmanim", query))
    ROWS.write_text(json.dumps(before))
    found = SNAPSHOT.search(r.controller.playbook("backup", minutes=6))
    if found is None:
        raise StepError("the playbook's output names no snapshot")
    r.facts["backup"]["snapshot_id"] = found.group(1)


def restore(r: Rehearsal) -> None:
    """Restore into a scratch database and compare every row."""
    r.need("backup")
    if not ROWS.exists():
        raise StepError("the rows of the time before the backup are not known: run the step backup first")
    r.controller.playbook("restore", minutes=6)
    machine = r.controller.serving()["InstanceId"]
    restored = rows.read_tables(lambda query: r.controller.rows(machine, SCRATCH, query))
    now = rows.read_tables(lambda query: r.controller.rows(machine, "zmanim", query))
    wrong = rows.differences(json.loads(ROWS.read_text()), restored, now)
    count = sum(len(table) for table in restored.values())
    r.facts["backup"].update(rows=count, rows_equal=not wrong)
    r.expect("differences between the copy and the database", wrong, [])
    r.say(f"      {count} rows compared")


def swap_broken(r: Rehearsal) -> None:
    """Swap to an image whose machines stop in the initial boot: the old machine must serve on."""
    serving = r.controller.serving()["ImageId"]
    dead = r.need("bake")["ami_id"]
    if dead == serving:
        raise StepError(
            f"{dead} serves: it can't be the image that does not boot; run the step swap-again first"
        )
    r.controller.lab("fault", "boot-fail", dead)
    try:
        wanted = {"swap_ami_id": dead, "swap_standby_deadline": STANDBY_SECONDS}
        _swap(r, "swap", "rolled-back", serving, wanted, expected=FAILED)
    finally:
        r.controller.lab("fault", "--clear")


def writes(r: Rehearsal) -> None:
    """Stop the viewers and look for every acknowledged write in the database."""
    if r.load is None:
        raise StepError("no load is running: there are no writes to look for")
    r.load.stop()
    machine = r.controller.serving()["InstanceId"]
    r.stored = set(r.controller.rows(machine, "zmanim", "select id from writes"))
    acknowledged = [request.write_id for request in r.load.requests() if request.acknowledged]
    lost = sorted(set(acknowledged) - r.stored)
    r.expect("acknowledged writes that are lost", lost[:10], [])
    failed = [request for request in r.load.requests() if not request.ok]
    r.expect("requests that failed at any time", [(q.kind, q.status, q.error) for q in failed[:10]], [])
    r.say(f"      {len(acknowledged)} writes were acknowledged, {len(lost)} are lost")


def destroy(r: Rehearsal) -> None:
    """Take everything down but the data."""
    name = r.controller.environment_name
    r.controller.playbook("destroy", minutes=10, extra={"destroy_confirm": name})
    r.expect("instances left", [i["InstanceId"] for i in r.controller.instances()], [])
    tags = [{"Name": "tag:Name", "Values": [f"zmanim-data-{name}"]}]
    volumes = r.controller.client("ec2").describe_volumes(Filters=tags)["Volumes"]
    r.expect("data volumes kept", len(volumes), 1)
    ids = [{"Name": "volume-id", "Values": [volume["VolumeId"] for volume in volumes]}]
    snapshots = r.controller.client("ec2").describe_snapshots(Filters=ids)["Snapshots"]
    r.expect("there is a final snapshot of the data volume", bool(snapshots), True)


def lab_down(r: Rehearsal) -> None:
    """Stop the emulated AWS and look for what it left behind."""
    r.controller.lab("down")
    status = json.loads(r.controller.ask_lab("status", "--json"))
    r.facts["leftovers"] = int(status["leftovers"])
    if r.facts["leftovers"]:
        r.complain(f"the lab left behind: {status.get('left')}")


STEPS = (
    Step("lab", "start the emulated AWS", lab_up),
    Step("bake", "bake the image with Packer", bake),
    Step("site", "provision the AWS side, boot the machine", site),
    Step("site-again", "provision again: nothing changes", site_again),
    Step("check", "site.yml --check --diff: nothing would change", site_check),
    Step("health", "ask CloudFront, API Gateway and the origin", health),
    Step("load", "viewers begin to read and write", load),
    Step("release", "release the second version of the API", release, loaded=True),
    Step("release-broken", "release a broken version, which rolls itself back", release_broken, loaded=True),
    Step("bake-again", "bake the second version of the image", bake_second, loaded=True),
    Step("swap", "swap to the second image", swap, loaded=True),
    Step("rollback", "roll back to the first image", rollback, loaded=True),
    Step("swap-again", "swap to the second image again", swap, loaded=True),
    Step("backup", "back up", backup, loaded=True),
    Step("restore", "restore into a scratch database, compare every row", restore, loaded=True),
    Step(
        "swap-broken",
        "swap to an image that does not boot, which rolls itself back",
        swap_broken,
        loaded=True,
    ),
    Step("writes", "look for every acknowledged write", writes, loaded=True),
    Step("destroy", "take everything down but the data", destroy),
    Step("lab-down", "stop the emulated AWS, look for leftovers", lab_down),
)
