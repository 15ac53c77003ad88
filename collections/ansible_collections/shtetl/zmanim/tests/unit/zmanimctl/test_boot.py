"""Boot as a whole on fakes: the order, idempotence, refusals, and secrets that stay out of sight."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from zmanimctl import boot, inspection, status
from zmanimctl import marker as markers
from zmanimctl.errors import ZmanimError
from zmanimctl.marker import Marker
from zmanimctl.state import locked
from zmanimctl.volume import Signatures
from zmanimctl_fakes import SECRETS, VOLUME, Rig


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boot, "console", lambda *_: None)


@pytest.fixture
def fresh(rig: Rig) -> Rig:
    rig.volumes.written = Signatures()
    return rig


def test_a_fresh_volume_is_made_once_and_sealed(fresh: Rig) -> None:
    assert boot.boot(fresh.machine)["phase"] == "serving"
    order = [
        fresh.log.index(one) for one in ("mkfs", "mount noatime,nodev,nosuid", "initdb", "start postgres")
    ]
    assert order == sorted(order)
    assert "fresh tag removed" in fresh.log
    written = markers.read(str(fresh.data_dir))
    assert written == Marker(VOLUME, "lab", 17, "3.5.2", fresh.cluster.identifier, False)
    assert fresh.front.now == "a"


def test_the_second_run_changes_nothing(fresh: Rig) -> None:
    boot.boot(fresh.machine)
    before = markers.read(str(fresh.data_dir))
    fresh.log.clear()
    boot.boot(fresh.machine)
    assert not {"mkfs", "initdb", "fresh tag removed"} & set(fresh.log)
    assert not [line for line in fresh.log if line.startswith(("start zmanim-api", "stop ", "mount"))]
    assert markers.read(str(fresh.data_dir)) == before


def test_no_secret_is_shown(fresh: Rig, capfd: pytest.CaptureFixture[str]) -> None:
    boot.boot(fresh.machine)
    fresh.parameters.document["jwt-secret"] = " "
    with pytest.raises(ZmanimError) as refused:
        boot.boot(fresh.machine)
    shown = capfd.readouterr()
    document = json.dumps(status.collect(fresh.machine))
    for secret in SECRETS.values():
        for text in (fresh.everything_said(), shown.out, shown.err, document, str(refused.value)):
            assert secret not in text
            assert json.dumps(secret)[1:-1] not in text
    # The test could fail: the files that must hold them do.
    assert "planted-ov" in (fresh.settings.secrets_dir / "api.env").read_text()
    for path in fresh.settings.secrets_dir.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    assert Path(fresh.settings.restic_env_file).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_a_missing_secret_is_named_and_nothing_starts(fresh: Rig, name: str) -> None:
    del fresh.parameters.document[name]
    with pytest.raises(ZmanimError, match=f"/zmanim/lab/{name} is missing"):
        boot.boot(fresh.machine)
    assert not [line for line in fresh.log if line.startswith("start")]
    state = fresh.machine.state.read()
    assert state["phase"] == "failed"
    assert name in state["error"]


def test_a_disk_that_refuses_is_the_reason_of_the_failure(
    fresh: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_prepared: object) -> None:
        raise OSError(28, "No space left on device", "/etc/zmanim/api.env")

    monkeypatch.setattr(boot, "prepare", full)
    with pytest.raises(ZmanimError, match="No space left on device"):
        boot.boot(fresh.machine)
    state = fresh.machine.state.read()
    assert (state["phase"], "/etc/zmanim/api.env" in state["error"]) == ("failed", True)


def test_another_major_in_config_is_refused(fresh: Rig) -> None:
    fresh.parameters.document["config"] = '{"postgres_major": 16}'
    with pytest.raises(ZmanimError, match="another PostgreSQL major than the environment's config"):
        boot.boot(fresh.machine)
    assert "start postgres" not in fresh.log


def test_a_foreign_volume_is_refused(rig: Rig) -> None:
    rig.volumes.written = Signatures("xfs", "zmanim-data", "u")
    markers.write(str(rig.data_dir), Marker(VOLUME, "production", 17, "3.5.2", "7"))
    with pytest.raises(ZmanimError, match="another environment"):
        boot.boot(rig.machine)
    assert not [line for line in rig.log if line.startswith("start")]


def test_a_snapshot_copy_is_adopted_only_by_name(rig: Rig) -> None:
    rig.volumes.written = Signatures("xfs", "zmanim-data", "u")
    copy = Marker("vol-0ffffffffffffffff", "lab", 17, "3.5.2", rig.cluster.identifier)
    markers.write(str(rig.data_dir), copy)
    rig.cluster.exists = True
    with pytest.raises(ZmanimError, match="volume adopt --confirm lab"):
        boot.boot(rig.machine)
    with pytest.raises(ZmanimError, match="expected --confirm lab"):
        inspection.adopt(rig.machine, "production")
    assert inspection.adopt(rig.machine, "lab")["result"] == "adopted"
    assert boot.boot(rig.machine)["phase"] == "serving"


def test_a_fresh_tag_that_cannot_be_removed_is_only_a_warning(fresh: Rig) -> None:
    boot_ec2 = fresh.ec2
    real = boot_ec2.describe

    def describe(volume_id: str, seconds: float = 20.0) -> object:
        answer = real(volume_id)
        boot_ec2.problem = ZmanimError("EC2 DeleteTags: AccessDenied")
        return answer

    boot_ec2.describe = describe  # type: ignore[method-assign, assignment]
    answer = boot.boot(fresh.machine)
    assert "keeps its tag Fresh" in answer["warnings"][0]
    written = markers.read(str(fresh.data_dir))
    assert written is not None
    assert written.fresh
    assert written.system_identifier, "initdb can never run again on this volume"


def test_without_s3_the_last_verified_release_is_used(fresh: Rig) -> None:
    boot.boot(fresh.machine)
    fresh.systemd.active.clear()
    fresh.bucket.problem = ZmanimError("S3 s3://releases/current.json: unreachable")
    answer = boot.boot(fresh.machine)
    assert any("release 1.0.0 from disk is used" in warning for warning in answer["warnings"])


def test_without_any_release_the_reason_is_named(fresh: Rig) -> None:
    fresh.bucket.problem = ZmanimError("s3://releases/current.json is not there")
    with pytest.raises(ZmanimError, match=r"current\.json is not there"):
        boot.boot(fresh.machine)
    assert fresh.cluster.up, "the database is up, only the API is missing"
    assert fresh.front.now == "hold"


def test_new_secrets_under_a_running_api_take_the_other_slot(fresh: Rig) -> None:
    boot.boot(fresh.machine)
    fresh.parameters.document["jwt-secret"] = "rotated"
    boot.boot(fresh.machine)
    assert fresh.front.now == "b"
    assert not fresh.systemd.is_active("zmanim-api@a.service")


def test_a_standby_prepares_all_but_the_data_and_then_goes_on(rig: Rig) -> None:
    rig.machine.identity = replace(rig.machine.identity, role="standby")
    rig.volumes.written = Signatures("xfs", "zmanim-data", "u")
    markers.write(str(rig.data_dir), Marker(VOLUME, "lab", 17, "3.5.2", rig.cluster.identifier))
    rig.cluster.exists = True
    phases: list[str] = []
    wait = rig.volumes.wait_for

    def waiting(volume_id: str, seconds: float, *_: object) -> object:
        state = rig.machine.state.read()
        phases.append(state["phase"])
        assert seconds == boot.STANDBY_SECONDS
        assert rig.machine.store.verified("1.0.0")
        assert not [line for line in rig.log if line.startswith("start")]
        return wait(volume_id, seconds)

    rig.volumes.wait_for = waiting  # type: ignore[method-assign, assignment]
    assert boot.boot(rig.machine)["phase"] == "serving"
    assert phases == ["standby-ready"]
    assert rig.log.index("front hold") < rig.log.index("start postgres")


@pytest.mark.parametrize("phase", ["released", "relaying"])
def test_a_machine_that_handed_over_does_not_boot_again(fresh: Rig, phase: str) -> None:
    fresh.machine.state.update(phase=phase)
    with pytest.raises(ZmanimError, match="handed its volume over"):
        boot.boot(fresh.machine)
    assert fresh.log == []
    assert fresh.machine.state.read()["phase"] == phase


def test_two_boots_at_once_are_refused(fresh: Rig) -> None:
    with (
        locked(fresh.machine.run_dir / "boot.lock", "boot"),
        pytest.raises(ZmanimError, match=r"another one running \(boot, process"),
    ):
        boot.boot(fresh.machine)


def test_the_screen_says_the_answer_first(fresh: Rig) -> None:
    boot.boot(fresh.machine)
    screen = status.screen(status.collect(fresh.machine))
    assert screen.splitlines()[0] == "lab: this machine SERVES"
    fresh.machine.state.update(phase="failed", error="the reason")
    assert "the reason" in status.screen(status.collect(fresh.machine))
