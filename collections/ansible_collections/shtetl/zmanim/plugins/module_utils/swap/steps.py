# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a swap, in volume mode: what is decided in L(phases) is done here through injected actors."""

from __future__ import annotations

import secrets
import time
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Tuple

from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import DeclaredResourceError
from ansible_collections.shtetl.zmanim.plugins.module_utils.run_command import (
    NotManagedError,
    RunCommandError,
)

from . import phases
from .cloud import Cloud, instance_state, launch_request, tags_of
from .machines import Machines, http_health
from .parameters import EnvironmentLock, State, StateParameter, timestamp
from .phases import SwapError

Result = Dict[str, Any]
FAILURES = (SwapError, RunCommandError, DeclaredResourceError)
KEPT = "ZmanimKept"  # tag of the stopped instance that the roll-back uses


class Settings(NamedTuple):
    """What the operator may choose; times in seconds."""

    ami_id: str = ""
    direction: str = "swap"
    force: bool = False
    device: str = "/dev/sdf"
    deadline: float = 20.0
    standby_deadline: float = 300.0
    undo_deadline: float = 300.0
    health_deadline: float = 30.0
    soak: float = 60.0
    lease: float = 30.0
    direct_health: bool = True
    front_port: int = 8080
    health_urls: Tuple[str, ...] = ()
    health_headers: Mapping[str, str] = {}


class Pointers(NamedTuple):
    """Access to the AMI pointers: C(read(name)) and C(write(name, value)) for C(ami-id) and
    C(ami-previous).
    """

    read: Callable[[str], str]
    write: Callable[[str, str], None]


class Actors(NamedTuple):
    """Everything outside of this process."""

    cloud: Cloud
    machines: Machines
    states: StateParameter
    lock: EnvironmentLock
    pointers: Pointers
    probe: Callable[[str, Mapping[str, str]], str] = http_health


def new_swap_id(now: Optional[float] = None) -> str:
    """Return an identifier that sorts by time."""
    return "swap-{0}-{1}".format(time.strftime("%Y%m%dt%H%M%S", time.gmtime(now)), secrets.token_hex(2))


class Swap:
    """One environment's swap.  Every public method is a step, and returns what the module returns."""

    def __init__(self, actors: Actors, settings: Settings, run: str, check_mode: bool = False) -> None:
        self.cloud = actors.cloud
        self.machines = actors.machines
        self.states = actors.states
        self.lock = actors.lock
        self.pointers = actors.pointers
        self.probe = actors.probe
        self.settings = settings
        self.run = run
        self.check_mode = check_mode
        self.state: State = self.states.load()
        self.cloud.on_poll = lambda: self.lock.renew(self.run)

    # Looking

    def status(self) -> Result:
        """Return the state of the last swap, who holds the lock, and what serves; changes nothing."""
        volume = self.cloud.data_volume()
        active = self.cloud.instance(self.cloud.holder(volume["VolumeId"]) or "") or {}
        address = self.cloud.address()
        return {
            "changed": False,
            "state": self.state,
            "lock": self.lock.holder(),
            "volume_id": volume["VolumeId"],
            "active": {
                "instance_id": active.get("InstanceId"),
                "ami_id": active.get("ImageId"),
                "instance_state": instance_state(active or None),
                "private_ip": active.get("PrivateIpAddress"),
                "architecture": active.get("Architecture"),
            },
            "address": {"public_ip": address.get("PublicIp"), "instance_id": address.get("InstanceId")},
            "kept": [one["InstanceId"] for one in self._kept()],
        }

    def recover(self) -> Result:
        """Take the lock, and finish or roll back what a killed run left."""
        if self.check_mode:
            self.lock.refuse_if_held()
        else:
            self.lock.take("swap", self.run, self.settings.lease)
            self.state = self.states.load()
        phase = self.state.get("phase", phases.DONE)
        way, work = phases.resume(phase, self._green_serves())
        if way != "none" and not self.check_mode:
            if way == "forward":
                for step in work:
                    getattr(self, "_{0}".format(step))()
            else:
                self._undo(work, "the run that began it was killed in phase {0}".format(phase))
        return dict(self._result(way != "none"), recovered=way, found_phase=phase)

    # The steps in order

    def plan(self) -> Result:
        """Check every guard, start the snapshot and write the plan.  Check mode ends before the snapshot."""
        if self.state.get("phase", phases.DONE) not in phases.FINISHED:
            raise SwapError(
                "a swap is in phase {0}: step recover must come first, which finishes it or rolls it "
                "back".format(self.state["phase"])
            )
        if not self.check_mode:
            self.lock.confirm(self.run)
        plan = self._plan()
        if self.check_mode:
            return {"changed": True, "plan": plan}
        plan["snapshot"] = self.cloud.start_snapshot(plan["volume"], plan["swap_id"])
        self.state = plan
        self._enter(phases.PLANNED)
        return dict(self._result(True), plan=plan)

    def launch(self) -> Result:
        """Launch green from the launch template with the new AMI, or start the kept instance."""
        self._begin("launch")
        self._enter(phases.LAUNCHING)
        state = self.state
        tags = {
            "Name": self.cloud.name,
            "Environment": self.cloud.environment,
            "ZmanimRole": "standby",
            "ZmanimSwap": state["swap_id"],
        }
        if state["reuse"]:
            self.cloud.tag(state["green"], {"ZmanimRole": "standby"})
            self.cloud.start(state["green"])
        else:
            template = self.cloud.template()
            state["green"] = self.cloud.launch(launch_request(template["data"], state, tags))
            self.states.save(state)
        self.cloud.wait_for_state(state["green"], ("running",), self.settings.standby_deadline)
        green = self.cloud.instance(state["green"]) or {}
        state["green_ip"] = green.get("PrivateIpAddress")
        self._enter(phases.PREPARING)
        return self._result(True)

    def standby(self) -> Result:
        """Wait until green reports that it has prepared all but the data volume."""
        self._begin("standby")
        end = self.cloud.clock() + self.settings.standby_deadline
        verdict, why = "wait", "it has not answered yet"
        while verdict != "ready":
            self._require_running(self.state["green"])
            verdict, why = self._readiness(self.state["green"])
            if verdict == "failed":
                raise SwapError(
                    "the new instance {0} failed to prepare: {1}".format(self.state["green"], why)
                )
            if verdict == "wait":
                if self.cloud.clock() + 1 > end:
                    raise SwapError(
                        "the new instance {0} was not ready after {1:g} s ({2}): does AMI {3} "
                        "boot? Its console output "
                        "tells".format(
                            self.state["green"], self.settings.standby_deadline, why, self.state["to_ami"]
                        )
                    )
                self.lock.require_playbook()
                self.cloud.on_poll()
                self.cloud.pause(1.0)
        return self._result(False)

    def handover(self) -> Result:
        """Move the volume and the requests to green within one deadline, or give both back to blue."""
        self._begin("handover")
        try:
            self._handover()
        except FAILURES as error:
            self._undo_after(error)
            raise SwapError("{0}. {1}".format(str(error).rstrip("."), self.outcome())) from error
        return self._result(True)

    def flip(self) -> Result:
        """Move the address to green and see it healthy from outside."""
        self._begin("flip")
        self._flip()
        return self._result(True)

    def keep(self) -> Result:
        """Watch green for the soak, then stop blue and keep it for the roll-back."""
        self._begin("keep")
        self._keep()
        self.lock.drop(self.run)
        return self._result(True)

    def rollback(self, reason: str) -> Result:
        """Undo what the swap has done so far, then give up the lock."""
        holder = self.lock.holder()
        if holder and holder.get("run") != self.run:
            raise SwapError("this run does not hold the lock, so it undoes nothing; run swap.yml again")
        try:
            return self._rollback(reason)
        finally:
            self.lock.drop(self.run)

    def _rollback(self, reason: str) -> Result:
        work = phases.undo_actions(self.state.get("phase", phases.DONE))
        unfinished = self.state.get("phase", phases.DONE) not in phases.FINISHED
        if unfinished:
            self._undo(work, reason)
        # Without a state there never was a swap here: nobody has to be asked who serves.
        return dict(self._result(unfinished), outcome=self.outcome() if self.state else "Nothing was touched")

    def outcome(self) -> str:
        """Say in one sentence who serves now."""
        try:
            holder = self.cloud.holder(self.cloud.data_volume()["VolumeId"])
            phase = self.machines.try_status(holder).get("phase") if holder else None
        except FAILURES as error:
            return "Who serves could not be found out: {0}".format(error)
        if holder and phase in ("serving", "relaying"):
            return "{0} serves now".format(holder)
        return (
            "NOTHING SERVES for certain: the volume is on {0}, which reports phase {1}; run "
            "swap.yml again, and look at "
            "'zmanimctl status' there".format(holder or "no instance", phase)
        )

    # The work

    def _plan(self) -> State:
        volume = self.cloud.data_volume()
        volume_id = volume["VolumeId"]
        blue_id = self.cloud.holder(volume_id)
        if not blue_id:
            raise SwapError(
                "data volume {0} is attached to no instance, so none can hand it over: run "
                "site.yml, which attaches it "
                "to the active instance".format(volume_id)
            )
        blue = self.cloud.instance(blue_id) or {}
        kept = self._kept()[-1:] if self.settings.direction == "rollback" else []
        to_ami = kept[0]["ImageId"] if kept else self._wanted_ami()
        template = self.cloud.template()
        address = self.cloud.address()
        plan: State = {
            "swap_id": new_swap_id(),
            "direction": self.settings.direction,
            "mode": "volume",
            "started_at": timestamp(),
            "run": self.run,
            "blue": blue_id,
            "blue_ip": blue.get("PrivateIpAddress"),
            "green": kept[0]["InstanceId"] if kept else "",
            "reuse": bool(kept),
            "from_ami": blue.get("ImageId"),
            "to_ami": to_ami,
            "pointer_ami": self.pointers.read("ami-id"),
            "pointer_previous": self.pointers.read("ami-previous"),
            "volume": volume_id,
            "device": self.settings.device,
            "zone": blue.get("Placement", {}).get("AvailabilityZone"),
            "subnet_id": blue.get("SubnetId"),
            "address": address["AllocationId"],
            "address_ip": address.get("PublicIp"),
            "template_name": self.cloud.name,
            "template_version": template["version"],
        }
        problems = self._problems(plan, blue, volume, address, template)
        if problems:
            raise SwapError("nothing was touched, because: {0}".format("; ".join(problems)))
        return plan

    def _wanted_ami(self) -> str:
        if self.settings.direction == "rollback":
            previous = self.pointers.read("ami-previous")
            if not previous:
                raise SwapError(
                    "there is nothing to roll back to: no stopped instance is kept, and parameter "
                    "/zmanim/{0}/ami-previous does not exist".format(self.cloud.environment)
                )
            return previous
        if not self.settings.ami_id:
            raise SwapError(
                "no AMI was named: add -e swap_ami_id=ami-..., the manifest of the Packer run names it"
            )
        return self.settings.ami_id

    def _problems(self, plan: State, blue: Any, volume: Any, address: Any, template: Any) -> List[str]:
        status: Any = None
        problems: List[str] = []
        try:
            status = self.machines.status(plan["blue"])
            problems += phases.blue_problems(status, plan["blue"], plan["volume"])
            refusal = None if problems else self.machines.refusal(plan["blue"])
            if refusal:
                problems.append("{0} refuses to hand over: {1}".format(plan["blue"], refusal))
        except RunCommandError as error:
            problems.append(str(error))
        major = ((status or {}).get("postgres") or {}).get("major")
        wanted = {
            "postgres_major": major,
            "architecture": blue.get("Architecture"),
            "ami_id": plan["from_ami"],
            "force": self.settings.force or plan["reuse"],
        }
        image = self.cloud.image(plan["to_ami"])
        if image or not plan["reuse"]:  # a kept instance needs its image no more
            problems += phases.image_problems(image, plan["to_ami"], wanted)
        problems += phases.attachment_problems(volume, plan["blue"], plan["zone"])
        problems += self._address_problems(plan, address)
        problems += self._template_problems(plan, template)
        return problems + self._stray_problems(plan)

    @staticmethod
    def _address_problems(plan: State, address: Mapping[str, Any]) -> List[str]:
        if address.get("InstanceId") == plan["blue"]:
            return []
        return [
            "Elastic IP {0} is on {1}, expected {2}, which has the volume: run site.yml".format(
                address.get("PublicIp"), address.get("InstanceId") or "no instance", plan["blue"]
            )
        ]

    def _template_problems(self, plan: State, template: Mapping[str, Any]) -> List[str]:
        named = self.cloud.template_volume(template)
        if named in (None, plan["volume"]):
            return []
        return [
            "launch template {0} makes instances wait for volume {1}, the data volume is {2}: "
            "run site.yml".format(self.cloud.name, named, plan["volume"])
        ]

    def _stray_problems(self, plan: State) -> List[str]:
        running = self.cloud.instances(states=("pending", "running"))
        strays = [
            one["InstanceId"] for one in running if one["InstanceId"] not in (plan["blue"], plan["green"])
        ]
        return [
            "instance {0} runs beside {1} and belongs to no swap: terminate it if it is not needed".format(
                one, plan["blue"]
            )
            for one in strays
        ]

    def _readiness(self, instance_id: str) -> Tuple[str, str]:
        try:
            return phases.readiness(self.machines.status(instance_id))
        except NotManagedError:
            return "wait", "its SSM agent has not registered"
        except RunCommandError as error:
            return "wait", str(error)

    def _require_running(self, instance_id: str) -> None:
        instance = self.cloud.instance(instance_id)
        if instance_state(instance) not in ("pending", "running"):
            reason = ((instance or {}).get("StateReason") or {}).get("Message", "no reason given")
            raise SwapError("instance {0} is {1}: {2}".format(instance_id, instance_state(instance), reason))

    def _handover(self) -> None:
        state = self.state
        volume_id, blue, green = state["volume"], state["blue"], state["green"]
        self._require(phases.snapshot_problems(self.cloud.snapshot(state["snapshot"]), volume_id))
        green_zone = (self.cloud.instance(green) or {}).get("Placement", {}).get("AvailabilityZone")
        self._require(phases.attachment_problems(self.cloud.volume(volume_id), blue, green_zone))
        self._enter(phases.RELEASING)
        clock, limit = self.cloud.clock, self.settings.deadline
        started = clock()
        answer = self.machines.release(blue, state["swap_id"], state["green_ip"], limit)
        problems = phases.release_problems(answer, {})
        problems += phases.attachment_problems(self.cloud.volume(volume_id), blue, green_zone)
        released = clock() - started
        if not phases.may_detach(released, limit):
            problems.append(
                "letting go took {0:.1f} s of the {1:g} s: too little is left to move the volume; raise "
                "swap_deadline".format(released, limit)
            )
        self._require(problems)
        self._enter(phases.MOVING)
        self.cloud.detach(volume_id, blue, limit - (clock() - started))
        detached = clock() - started
        self.cloud.attach(volume_id, green, state["device"])
        self._wait_until_green_serves(started + limit)
        total = clock() - started
        state["handover_ms"] = {
            "released": round(released * 1000),
            "detached": round(detached * 1000),
            "serving": round(total * 1000),
            "machine": answer.get("milliseconds", {}),
        }
        self._enter(phases.RELAYING)

    def _wait_until_green_serves(self, end: float) -> None:
        """Wait until blue relays (or green serves, seen twice: blue's relay may be what does not answer)."""
        serving, found = 0, ""
        while serving < 2:
            left = end - self.cloud.clock()
            if left <= 0.3:
                raise SwapError(
                    "the new instance {0} did not serve within the handover's deadline of {1:g} s "
                    "(last seen: {2})".format(
                        self.state["green"], self.settings.deadline, found or "no answer"
                    )
                )
            blue = self.machines.try_status(self.state["blue"], min(left, 5.0))
            if blue.get("phase") == "relaying":
                return
            green = self.machines.try_status(
                self.state["green"], min(max(end - self.cloud.clock(), 0.5), 5.0)
            )
            found = "phase {0}".format(green.get("phase"))
            if green.get("phase") == "failed":
                raise SwapError(
                    "the new instance {0} failed: {1}".format(self.state["green"], green.get("error"))
                )
            serving += green.get("phase") == "serving"
            self.cloud.on_poll()
            self.cloud.pause(0.2)

    def _flip(self) -> None:
        state = self.state
        if state["phase"] != phases.FLIPPING:
            self._enter(phases.FLIPPING)
        self.cloud.move_address(state["address"], state["green"])
        self._wait_healthy(self.settings.health_deadline)
        self.pointers.write("ami-previous", state["from_ami"])
        self.pointers.write("ami-id", state["to_ami"])
        self.cloud.tag(state["green"], {"ZmanimRole": "active"})
        self.cloud.untag(state["green"], [KEPT])
        self.cloud.tag(state["blue"], {"ZmanimRole": "standby"})
        self._enter(phases.SOAKING)

    def _keep(self) -> None:
        state = self.state
        if state["phase"] != phases.KEEPING:
            self._soak()
            self._enter(phases.KEEPING)
        older = [
            one["InstanceId"]
            for one in self._kept()
            if one["InstanceId"] not in (state["blue"], state["green"])
        ]
        if self.cloud.holder(state["volume"]) != state["green"]:
            raise SwapError(
                "the data volume is not on {0}: nothing is stopped or terminated".format(state["green"])
            )
        if self.cloud.instance(state["blue"]):
            self.cloud.stop(state["blue"])
            self.cloud.tag(state["blue"], {KEPT: state["swap_id"]})
            self.cloud.wait_for_state(state["blue"], ("stopped", "terminated"), self.settings.undo_deadline)
        for instance_id in older:
            self.cloud.terminate(instance_id)
        self._enter(phases.DONE)

    def _soak(self) -> None:
        end = self.cloud.clock() + self.settings.soak
        while True:
            self._wait_healthy(5.0)
            if self.cloud.clock() + 1 > end:
                return
            self.lock.require_playbook()
            self.cloud.on_poll()
            self.cloud.pause(1.0)

    def _wait_healthy(self, deadline: float) -> None:
        end = self.cloud.clock() + deadline
        urls = list(self.settings.health_urls)
        if self.settings.direct_health:
            urls.insert(0, "http://{0}:{1}/health".format(self.state["address_ip"], self.settings.front_port))
        for url in urls:
            found = self.probe(url, self.settings.health_headers)
            while found != "ok":
                if self.cloud.clock() + 0.5 > end:
                    raise SwapError("{0} is not healthy: expected status 200, found {1}".format(url, found))
                self.cloud.on_poll()
                self.cloud.pause(0.5)
                found = self.probe(url, self.settings.health_headers)

    # Undoing

    def _undo_after(self, error: Exception) -> None:
        """Undo at once; a failure to undo is added to the state, and said by L(outcome)."""
        try:
            self._undo(phases.undo_actions(self.state["phase"]), str(error))
        except FAILURES as second:
            self.state["error"] = "{0}; undoing it failed too: {1}".format(error, second)
            self.states.save(self.state)

    def _undo(self, work: Tuple[str, ...], reason: str) -> None:
        self.state.setdefault("failed_phase", self.state["phase"])
        for action in work:
            getattr(self, "_undo_{0}".format(action))()
        self.state["error"] = reason[:500]
        self._enter(phases.ROLLED_BACK)

    def _undo_flip_back(self) -> None:
        state = self.state
        if self.cloud.address().get("InstanceId") == state.get("green"):
            self.cloud.move_address(state["address"], state["blue"])
        for name, value in (("ami-id", state["pointer_ami"]), ("ami-previous", state["pointer_previous"])):
            if value:
                self.pointers.write(name, value)
        self.cloud.tag(state["blue"], {"ZmanimRole": "active"})
        self.cloud.tag(state["green"], {"ZmanimRole": "standby"})

    def _undo_take_from_green(self) -> None:
        """Free the volume from green: by its own clean release, or by stopping the machine.  Never by
        force.
        """
        state = self.state
        volume_id, green = state["volume"], state.get("green")
        if not green or self.cloud.holder(volume_id) != green:
            return
        if not self._green_lets_go(green):
            self.cloud.stop(green)
            self.cloud.wait_for_state(green, ("stopped", "terminated"), self.settings.undo_deadline)
        if self.cloud.holder(volume_id) == green:
            self.cloud.detach(volume_id, green, self.settings.undo_deadline)

    def _green_lets_go(self, green: str) -> bool:
        """Return whether green has proven that the volume is not mounted there and will not be."""
        status = self.machines.halt_boot(green) if self._green_phase(green) != "serving" else {}
        volume = status.get("volume")
        if isinstance(volume, dict) and not volume.get("mounted"):
            return True
        try:
            answer = self.machines.release(
                green, self.state["swap_id"], self.state["blue_ip"], self.settings.deadline
            )
        except (SwapError, RunCommandError):
            return False
        return not phases.release_problems(answer, {})

    def _undo_give_to_blue(self) -> None:
        state = self.state
        holder, attachment = self.cloud.attachment(state["volume"])
        if holder == state["blue"] and attachment != "detaching":
            return
        if holder and attachment != "detaching":
            raise SwapError(
                "volume {0} is on {1}, expected it free to give back to {2}".format(
                    state["volume"], holder, state["blue"]
                )
            )
        self.cloud.wait_until_free(state["volume"], self.settings.undo_deadline)
        self.cloud.attach(state["volume"], state["blue"], state["device"])

    def _undo_reclaim(self) -> None:
        """Make blue serve again; it may already have done so by itself."""
        blue = self.state["blue"]
        end = self.cloud.clock() + self.settings.undo_deadline
        complaint: Optional[str] = None
        while not self._serves_again(blue):
            if self.cloud.clock() + 1 > end:
                raise SwapError(
                    "{0} does not serve again: {1}".format(blue, complaint or "it gives no reason")
                )
            self.cloud.on_poll()
            complaint = self.machines.reclaim(blue) or complaint
            self.cloud.pause(0.3)

    def _serves_again(self, blue: str) -> bool:
        status = self.machines.try_status(blue)
        if status:
            return status.get("phase") == "serving"
        return self.settings.direct_health and self._probe_address() == "ok"  # SSM may be what is broken

    def _probe_address(self) -> str:
        url = "http://{0}:{1}/health".format(self.state["address_ip"], self.settings.front_port)
        return self.probe(url, self.settings.health_headers)

    def _undo_discard_green(self) -> None:
        """Terminate what the swap launched (also when its id was never written), or stop the kept
        instance again.
        """
        state = self.state
        if state["reuse"]:
            if instance_state(self.cloud.instance(state["green"])) in ("pending", "running"):
                self.cloud.stop(state["green"])
            self.cloud.tag(state["green"], {KEPT: state["swap_id"]})
            return
        launched = {one["InstanceId"] for one in self.cloud.instances({"tag:ZmanimSwap": [state["swap_id"]]})}
        if state.get("green"):
            launched.add(state["green"])
        for instance_id in sorted(launched):
            if self.cloud.holder(state["volume"]) == instance_id:
                raise SwapError("{0} has the data volume: it is not terminated".format(instance_id))
            self.cloud.terminate(instance_id)

    # Small parts

    def _begin(self, step: str) -> None:
        phases.require_phase(step, self.state.get("phase"))
        if self.state.get("run") != self.run:
            raise SwapError(
                "the swap {0} was planned by run {1}, this is run {2}: "
                "run swap.yml, which recovers it first".format(
                    self.state.get("swap_id"), self.state.get("run"), self.run
                )
            )
        self.lock.confirm(self.run)

    def _enter(self, phase: str) -> None:
        self.state["phase"] = phase
        self.states.save(self.state)

    @staticmethod
    def _require(problems: List[str]) -> None:
        if problems:
            raise SwapError("; ".join(problems))

    def _green_phase(self, green: Optional[str]) -> str:
        return str(self.machines.try_status(green).get("phase")) if green else "none"

    def _green_serves(self) -> bool:
        """Return whether green has the volume and serves; asked only when a swap is unfinished."""
        green = self.state.get("green")
        if not green or self.state.get("phase") in phases.FINISHED:
            return False
        return self.cloud.holder(self.state["volume"]) == green and self._green_phase(green) == "serving"

    def _kept(self) -> List[Dict[str, Any]]:
        """Return the stopped instances that earlier swaps left for a roll-back, oldest swap first."""
        found = self.cloud.instances({"tag-key": [KEPT]}, states=("stopping", "stopped"))
        return sorted(found, key=lambda one: tags_of(one)[KEPT])

    def _result(self, changed: bool) -> Result:
        keys = (
            "swap_id",
            "phase",
            "direction",
            "blue",
            "green",
            "green_ip",
            "from_ami",
            "to_ami",
            "snapshot",
            "handover_ms",
            "error",
        )
        return dict(
            {key: self.state[key] for key in keys if key in self.state}, changed=changed, run_id=self.run
        )
