"""Boot: from an instance that knows nothing to one that serves, in the order of the architecture."""

from __future__ import annotations

import os
import pwd
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any, Dict, Iterator, List, Optional

from zmanimctl import marker as markers
from zmanimctl import migrations
from zmanimctl.deadline import Deadline
from zmanimctl.errors import ZmanimError, refusal
from zmanimctl.machine import Machine
from zmanimctl.marker import Marker
from zmanimctl.preparation import Prepared, prepare
from zmanimctl.release import Plan, plan
from zmanimctl.slots import Record, after_release, parse_record
from zmanimctl.state import StateFile, locked
from zmanimctl.volume import Device, EbsVolume, decide_action, mount_options

VOLUME_SECONDS = 60.0
STANDBY_SECONDS = 1800.0
API_SECONDS = 60.0


class Steps:
    """Times the steps of a boot, tells the journal, and keeps the list in the state file."""

    def __init__(self, state: StateFile) -> None:
        """Start the clock."""
        self._state = state
        self._started = time.monotonic()
        self.done: List[Dict[str, Any]] = []

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time one step; a step that fails is named in the state by the verb that catches the error."""
        started = time.monotonic()
        yield
        seconds = round(time.monotonic() - started, 3)
        self.done.append({"name": name, "seconds": seconds})
        print(f"zmanimctl: {name}: {seconds:.2f} s", file=sys.stderr, flush=True)

    def report(self) -> Dict[str, Any]:
        """Return {"steps": [...], "seconds": ...}."""
        return {"steps": self.done, "seconds": round(time.monotonic() - self._started, 3)}


def boot(machine: Machine) -> Dict[str, Any]:
    """Bring the machine into service (role active), or up to the mount and then wait (role standby)."""
    refuse_after_handover(machine)
    standby = machine.identity.role == "standby"
    with locked(machine.run_dir / "boot.lock", "boot"):
        steps = Steps(machine.state)
        serving = machine.state.read().get("phase") == "serving"
        machine.state.update(
            **identity_facts(machine), **({} if serving else {"phase": "booting"}), error=None
        )
        try:
            return _boot(machine, steps, standby)
        except (ZmanimError, OSError) as error:
            problem = refusal(error)
            machine.state.update(phase="failed", error=str(problem), boot=steps.report())
            raise problem from None


def refuse_after_handover(machine: Machine) -> None:
    """A machine that handed its volume over must not become a second owner by accident."""
    state = machine.state.read()
    if state.get("phase") in ("released", "relaying"):
        raise ZmanimError(
            "this machine has handed its volume over",
            found=f"phase {state['phase']}",
            expected="a machine that owns or waits for its volume",
            remedy="to take it back: zmanimctl handover reclaim; to wait for it: zmanimctl handover standby",
        )


def identity_facts(machine: Machine) -> Dict[str, Any]:
    """Return the identity as the state file shows it."""
    facts = asdict(machine.identity)
    return {key: facts[key] for key in ("environment", "role", "instance_id", "ami_id", "volume_id")}


def _boot(machine: Machine, steps: Steps, standby: bool) -> Dict[str, Any]:
    with ThreadPoolExecutor(max_workers=3) as pool:
        preparing = pool.submit(prepare, machine)
        if standby:
            device = _stand_by(machine, steps, preparing)
        else:
            with steps.step("volume"):
                device = machine.volumes.wait_for(
                    machine.identity.volume_id, VOLUME_SECONDS, _failed(preparing)
                )
        with locked(machine.lock, "boot"):
            return _take_into_service(machine, steps, device, preparing, pool)


def _failed(preparing: "Future[Prepared]") -> Any:
    """Stop waiting for the volume when the secrets are already known to be missing: that message matters
    more.
    """

    def failed() -> bool:
        if preparing.done():
            preparing.result()
        return False

    return failed


def _stand_by(machine: Machine, steps: Steps, preparing: "Future[Prepared]") -> Device:
    with steps.step("prepare"):
        prepared = preparing.result()
        if prepared.release_problem is not None:
            raise prepared.release_problem
        machine.front.wait(20)
    machine.state.update(phase="standby-ready", boot=steps.report(), warnings=prepared.warnings or None)
    with steps.step("wait for the volume"):
        device = machine.volumes.wait_for(machine.identity.volume_id, STANDBY_SECONDS)
    # Whatever this front did with requests until now (relay to the former owner): they wait from here on.
    machine.front.hold()
    machine.state.update(phase="booting")
    return device


def _take_into_service(
    machine: Machine, steps: Steps, device: Device, preparing: "Future[Prepared]", pool: ThreadPoolExecutor
) -> Dict[str, Any]:
    with steps.step("mount"):
        found = open_volume(machine, device)
    with steps.step("secrets"):
        prepared = preparing.result()
    with steps.step("postgres"):
        redis = pool.submit(start_redis, machine, prepared)
        found = start_postgres(machine, found)
    with steps.step("database"):
        config = prepared.parameters.config
        machine.state.update(database=config.database)
        machine.cluster.provision(config.database, prepared.parameters.secrets["postgres-password"])
        reload_if_changed(machine, prepared)
        migrations.apply(machine.cluster, config.database, machine.settings.migrations_dir)
    with steps.step("redis"):
        redis.result()
    with steps.step("api"):
        slot = start_api(machine, prepared)
    with steps.step("front"):
        machine.front.wait(20)
        machine.front.to_slot(slot)
    with steps.step("seal"):
        warnings = prepared.warnings + seal(machine, found) + start_timers(machine)
    report = steps.report()
    machine.state.update(phase="serving", role="active", boot=report, error=None, warnings=warnings or None)
    console(machine, report["seconds"])
    report_metric(machine, prepared.parameters.config.metrics_namespace, report["seconds"])
    return {"phase": "serving", "boot": report, "warnings": warnings}


# -- the volume ------------------------------------------------------------------------------------


def open_volume(machine: Machine, device: Device) -> Marker:
    """Mount the device that was found by serial and return its marker, or refuse."""
    ebs: Optional[EbsVolume] = None
    if machine.volumes.mounted() is None:
        signatures = machine.volumes.signatures(device)
        if signatures.empty:
            ebs = _describe(machine)
        if decide_action(device, signatures, ebs) == "mkfs":
            machine.volumes.make_file_system(device, machine.identity.volume_id)
        machine.volumes.mount(device, mount_options(machine.volumes.is_copy(signatures.uuid)))
    machine.volumes.assert_mounted(device)
    machine.state.update(device=device.path)
    return check_marker(machine, ebs)


def _describe(machine: Machine) -> Optional[EbsVolume]:
    try:
        return machine.ec2.describe(machine.identity.volume_id)
    except ZmanimError as error:
        print(f"zmanimctl: {error}", file=sys.stderr)
        return None


def check_marker(machine: Machine, ebs: Optional[EbsVolume]) -> Marker:
    """Return the volume's marker once it has passed every comparison; a fresh volume gets its marker here."""
    data_dir = machine.settings.data_dir
    found = markers.read(data_dir)
    fresh = False
    if found is None:
        ebs = ebs or _describe(machine)
        fresh = bool(ebs and ebs.fresh)
    admitted = markers.admit(found, machine.expected_marker(), os.listdir(data_dir), fresh)
    if found is None:
        markers.write(data_dir, admitted)
    return admitted


def seal(machine: Machine, marker: Marker) -> List[str]:
    """Once the cluster exists, name it in the marker and take the Fresh tag away; returns warnings."""
    if not marker.fresh:
        return []
    try:
        machine.ec2.remove_fresh_tag(machine.identity.volume_id)
    except ZmanimError as error:
        return [f"the volume keeps its tag Fresh for now: {error}"]
    markers.write(machine.settings.data_dir, replace(marker, fresh=False))
    return []


# -- the services ----------------------------------------------------------------------------------


def start_postgres(machine: Machine, marker: Marker) -> Marker:
    """Make the cluster when the volume is fresh, prove that it is the marker's, start it; returns the
    marker.
    """
    machine.cluster.make(marker)
    identifier = machine.cluster.system_identifier()
    markers.check_cluster(marker, identifier)
    if marker.system_identifier is None:
        marker = replace(marker, system_identifier=identifier)
        markers.write(machine.settings.data_dir, marker)
    machine.state.update(system_identifier=identifier)
    machine.cluster.start()
    return marker


def start_redis(machine: Machine, prepared: Optional[Prepared] = None) -> None:
    """Start Redis on its directory; it is restarted when its rendered configuration changed."""
    settings = machine.settings
    give_directory(machine, settings.redis_data_dir, settings.redis_user)
    changed = prepared is not None and os.path.basename(settings.redis_config_include) in prepared.changed
    if changed and machine.systemd.is_active(settings.redis_service):
        machine.systemd.restart(settings.redis_service)
    machine.redis.start()


def give_directory(machine: Machine, path: str, user: str) -> None:
    """Make a data directory and give it to this image's user: another image may number it differently."""
    os.makedirs(path, mode=0o750, exist_ok=True)
    if os.stat(path).st_uid != pwd.getpwnam(user).pw_uid:
        machine.runner.run(("chown", "-R", "--no-dereference", f"{user}:", path), timeout=300)


def reload_if_changed(machine: Machine, prepared: Prepared) -> None:
    """Let a running PostgreSQL read changed settings; those that need a restart wait for the next one."""
    if "10-generated.conf" in prepared.changed:
        machine.cluster.sql("SELECT pg_reload_conf();")


def start_api(machine: Machine, prepared: Prepared) -> str:
    """Bring the wanted release into a slot and return the slot; one that serves already is left alone."""
    record = parse_record(machine.record.read())
    serving = machine.slots.serving(record)
    if serving and ("api.env" not in prepared.changed):
        return serving
    if not prepared.version:
        problem = prepared.release_problem or ZmanimError("there is no release to start")
        raise problem
    if serving:
        # New secrets under a running API: the same release, in the other slot.
        machine.releaser.shift(
            plan(replace(record, version=""), prepared.version, machine.slots.names, serving), 120
        )
        return parse_record(machine.record.read()).active_slot
    return _start_slot(machine, record, plan(record, prepared.version, machine.slots.names, None))


def _start_slot(machine: Machine, record: Record, todo: Plan) -> str:
    machine.slots.fill(todo.slot, todo.version)
    machine.slots.start(todo.slot, todo.version, API_SECONDS)
    if (record.active_slot, record.version) != (todo.slot, todo.version):
        machine.record.update(**asdict(after_release(record, todo.slot, todo.version)))
    return todo.slot


def start_timers(machine: Machine) -> List[str]:
    """Start what nobody waits for: the backup's timer, the CloudWatch agent; returns warnings."""
    warnings = []
    for unit in [*machine.settings.timers, machine.settings.cloudwatch_agent_service]:
        if unit:
            try:
                machine.systemd.start_in_background(unit)
            except ZmanimError as error:
                warnings.append(str(error))
    return warnings


def console(machine: Machine, seconds: float) -> None:
    """Say on the machine's console that it serves."""
    who = machine.identity
    line = f"zmanimctl: {who.instance_id} serves {who.environment} after {seconds:.1f} s\n"
    try:
        with open("/dev/console", "w", encoding="utf-8") as stream:
            stream.write(line)
    except OSError:
        # A machine without a console still has its journal, which has the same words.
        sys.stderr.write(line)


def report_metric(machine: Machine, namespace: str, seconds: float) -> None:
    """Send the boot's duration to CloudWatch; a failure is a warning in the journal, never a failed boot."""
    data = {
        "MetricName": "BootSeconds",
        "Unit": "Seconds",
        "Value": seconds,
        "Dimensions": [{"Name": "Environment", "Value": machine.identity.environment}],
    }
    try:
        machine.aws.call(
            "cloudwatch",
            "CloudWatch PutMetricData",
            lambda client: client.put_metric_data(Namespace=namespace, MetricData=[data]),
            seconds=3,
        )
    except ZmanimError as error:
        print(f"zmanimctl: {error}", file=sys.stderr)


def take_back(machine: Machine, device: Device) -> None:
    """Start everything again on a machine that was prepared before: what a handover that did not happen
    needs.
    """
    deadline = Deadline(60, "take-back of the volume")
    found = open_volume(machine, device)
    with ThreadPoolExecutor(max_workers=1) as pool:
        redis = pool.submit(start_redis, machine)
        start_postgres(machine, found)
        redis.result()
    record = parse_record(machine.record.read())
    if not record.active_slot:
        raise ZmanimError("no release is recorded on this machine", remedy="run: zmanimctl release VERSION")
    machine.slots.start(record.active_slot, record.version, max(10.0, deadline.remaining()))
    machine.front.to_slot(record.active_slot)
