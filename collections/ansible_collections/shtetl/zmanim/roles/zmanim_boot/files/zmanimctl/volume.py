"""The data volume: found by the serial that EBS gives it, and never formatted or mounted by guess.

The decisions are pure functions; ``Volumes`` looks at and changes block devices.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from zmanimctl.deadline import Deadline
from zmanimctl.errors import ZmanimError
from zmanimctl.process import Runner

LABEL = "zmanim-data"
FILE_SYSTEM = "xfs"
LSBLK = ("lsblk", "-J", "-b", "-o", "NAME,PATH,SERIAL,SIZE,FSTYPE,MOUNTPOINTS,MAJ:MIN")
GIB = 1024**3


@dataclass(frozen=True)
class Device:
    """A whole disk as lsblk shows it; ``size`` in bytes."""

    path: str
    serial: str
    size: int
    numbers: str
    mountpoints: Tuple[str, ...] = ()
    partitions: Tuple[str, ...] = ()


@dataclass(frozen=True)
class EbsVolume:
    """The volume as EC2 describes it; ``attachment`` is attached, detaching ... on ``instance_id``."""

    volume_id: str
    size: int
    fresh: bool
    from_snapshot: bool
    environment: str = ""
    attachment: str = ""
    instance_id: str = ""


@dataclass(frozen=True)
class Signatures:
    """What is written on a device: the file system and label that blkid sees, and all that wipefs sees."""

    file_system: str = ""
    label: str = ""
    uuid: str = ""
    others: Tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Nothing at all is written on the device."""
        return not self.file_system and not self.others


def serial_of(volume_id: str) -> str:
    """Return the NVMe serial of an EBS volume: its id without the dash."""
    return volume_id.replace("-", "")


def parse_lsblk(text: str) -> List[Device]:
    """Return the whole disks in the JSON of lsblk; partitions are listed with their disk."""
    disks: Sequence[Mapping[str, Any]] = json.loads(text or "{}").get("blockdevices", [])
    return [
        Device(
            path=str(disk.get("path") or f"/dev/{disk.get('name')}"),
            serial=str(disk.get("serial") or "").strip(),
            size=int(disk.get("size") or 0),
            numbers=str(disk.get("maj:min") or "").strip(),
            mountpoints=tuple(point for point in disk.get("mountpoints") or [] if point),
            partitions=tuple(str(part.get("path")) for part in disk.get("children") or []),
        )
        for disk in disks
    ]


def select_device(devices: Sequence[Device], volume_id: str) -> Optional[Device]:
    """Return the one device whose serial is that of ``volume_id``; None when absent, an error when there are
    two.
    """
    wanted = serial_of(volume_id)
    matches = [device for device in devices if device.serial.replace("-", "") == wanted]
    if len(matches) > 1:
        paths = ", ".join(device.path for device in matches)
        raise ZmanimError(
            f"{len(matches)} devices show the serial of {volume_id}",
            found=paths,
            expected="one",
            remedy="nothing was touched; detach the impostor and boot again",
        )
    return matches[0] if matches else None


def decide_action(device: Device, signatures: Signatures, ebs: Optional[EbsVolume]) -> str:
    """Return 'mount' or 'mkfs' for a device that was found by serial, or raise ZmanimError that says why
    neither.

    ``ebs`` is needed only when the device is empty; None means that EC2 could not be asked, and then it is
    refused.
    """
    if device.partitions:
        raise _refusal(device, f"a partition table ({', '.join(device.partitions)})")
    if signatures.file_system == FILE_SYSTEM:
        if signatures.label != LABEL:
            raise _refusal(device, f"{FILE_SYSTEM} with label {signatures.label or '(none)'}")
        return "mount"
    if not signatures.empty:
        raise _refusal(device, signatures.file_system or ", ".join(signatures.others))
    return _decide_mkfs(device, ebs)


def _decide_mkfs(device: Device, ebs: Optional[EbsVolume]) -> str:
    if ebs is None:
        raise ZmanimError(
            f"{device.path} is empty and EC2 could not be asked whether the volume is fresh",
            remedy="nothing was formatted; check ec2:DescribeVolumes of the instance role, then boot again",
        )
    if not ebs.fresh:
        raise ZmanimError(
            f"{device.path} ({ebs.volume_id}) is empty, but the volume is not tagged Fresh=true",
            found="no file system",
            expected=f"{FILE_SYSTEM} labelled {LABEL}",
            remedy="nothing was formatted; attach the right volume, or tag a really new one",
        )
    if device.size != ebs.size:
        raise ZmanimError(
            f"{device.path} has another size than {ebs.volume_id}",
            found=f"{device.size} bytes",
            expected=f"{ebs.size} bytes",
            remedy="nothing was formatted; this device is not that volume",
        )
    return "mkfs"


def _refusal(device: Device, found: str) -> ZmanimError:
    return ZmanimError(
        f"{device.path} (serial {device.serial}) is not a data volume of ours",
        found=found,
        expected=f"{FILE_SYSTEM} labelled {LABEL}, or nothing on a volume tagged Fresh=true",
        remedy="nothing was changed; attach the right volume",
    )


def mount_options(from_snapshot: bool) -> str:
    """Return the XFS mount options; a snapshot's copy carries the original's UUID and must ignore it."""
    return "noatime,nodev,nosuid" + (",nouuid" if from_snapshot else "")


def render_mount_unit(device_path: str, data_dir: str, options: str) -> str:
    """Return the text of the mount unit; it is started by name only, so that no boot ever hangs on it."""
    return (
        "# Written by zmanimctl for this boot only.\n"
        "[Unit]\n"
        "Description=Data volume of this environment\n"
        "DefaultDependencies=no\n"
        "Conflicts=umount.target\n"
        "Before=umount.target\n"
        "\n"
        "[Mount]\n"
        f"What={device_path}\n"
        f"Where={data_dir}\n"
        f"Type={FILE_SYSTEM}\n"
        f"Options={options},nofail,x-systemd.device-timeout=5s\n"
        "TimeoutSec=20\n"
        "DirectoryMode=0755\n"
    )


def mount_unit_name(data_dir: str) -> str:
    """Return systemd's name of the mount unit of a simple absolute path: /data -> data.mount."""
    return data_dir.strip("/").replace("-", "\\x2d").replace("/", "-") + ".mount"


def parse_mountinfo(text: str, mountpoint: str) -> Optional[Tuple[str, str]]:
    """Return (major:minor, source) of what is mounted on ``mountpoint``; the last mount wins; None when
    nothing is.
    """
    found = None
    for line in text.splitlines():
        words = line.split(" ")
        if len(words) > 9 and words[4] == mountpoint and "-" in words:
            source = words[words.index("-") + 2]
            found = (words[2], source)
    return found


def mounted_with_uuid(text: str, uuid: str) -> bool:
    """Say whether the JSON of ``lsblk -o UUID,MOUNTPOINT`` shows a mounted file system with this UUID."""
    disks: List[Mapping[str, Any]] = list(json.loads(text or "{}").get("blockdevices", []))
    everything = disks + [part for disk in disks for part in disk.get("children") or []]
    return any(one.get("uuid") == uuid and one.get("mountpoint") for one in everything)


def parse_blkid(text: str) -> Dict[str, str]:
    """Return the KEY=VALUE pairs of ``blkid -o export``."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def parse_wipefs(text: str) -> Tuple[str, ...]:
    """Return the signature types in the JSON of ``wipefs -J`` (which prints nothing at all for a clean
    device).
    """
    if not text.strip():
        return ()
    return tuple(str(one.get("type")) for one in json.loads(text).get("signatures", []))


def parse_ebs(volume: Mapping[str, Any]) -> EbsVolume:
    """Return EbsVolume of one item of EC2's DescribeVolumes."""
    tags = {tag["Key"]: tag["Value"] for tag in volume.get("Tags", [])}
    attachment = (volume.get("Attachments") or [{}])[0]
    return EbsVolume(
        volume_id=str(volume["VolumeId"]),
        size=int(volume["Size"]) * GIB,
        fresh=tags.get("Fresh") == "true",
        from_snapshot=bool(volume.get("SnapshotId")),
        environment=tags.get("Environment", ""),
        attachment=str(attachment.get("State", "")),
        instance_id=str(attachment.get("InstanceId", "")),
    )


class Volumes:
    """Looks at block devices and mounts; makes a file system only when told by ``decide_action``."""

    def __init__(
        self, runner: Runner, data_dir: str, unit_dir: str, *, mountinfo: Path = Path("/proc/self/mountinfo")
    ) -> None:
        """Remember where the volume belongs."""
        self._runner = runner
        self._data_dir = data_dir
        self._unit_dir = Path(unit_dir)
        self._mountinfo = mountinfo

    def find(self, volume_id: str) -> Optional[Device]:
        """Return the device of ``volume_id`` or None."""
        done = self._runner.run(LSBLK, timeout=10, check=False)
        # lsblk ends with a status when a device vanishes while it looks; what it printed is still good.
        return select_device(parse_lsblk(done.stdout), volume_id) if done.stdout.strip() else None

    def wait_for(self, volume_id: str, seconds: float, give_up: Callable[[], bool] = lambda: False) -> Device:
        """Poll every 0.2 s until the device shows up; raise ZmanimError that lists what is there instead."""
        deadline = Deadline(seconds, f"volume {volume_id}")
        while True:
            device = self.find(volume_id)
            if device is not None:
                return device
            if deadline.expired() or give_up():
                raise self._absent(volume_id, seconds)
            deadline.pause(0.2)

    def _absent(self, volume_id: str, seconds: float) -> ZmanimError:
        done = self._runner.run(LSBLK, timeout=10, check=False)
        present = [f"{one.path} ({one.serial or 'no serial'})" for one in parse_lsblk(done.stdout)]
        return ZmanimError(
            f"data volume {volume_id} did not appear within {seconds:g} s",
            found=", ".join(present[:8]) or "no disk at all",
            expected=f"a disk with serial {serial_of(volume_id)}",
            remedy="attach the volume to this instance, then run: zmanimctl boot",
        )

    def signatures(self, device: Device) -> Signatures:
        """Read what is written on the device itself, past every cache; re-checks that it is still the same
        device.
        """
        self._recheck(device)
        seen = self._runner.run(("blkid", "-p", "-o", "export", device.path), timeout=20, check=False)
        # blkid -p: 0 found, 2 nothing found; 8 is an ambivalent result, which must never look empty.
        if seen.returncode not in (0, 2):
            raise ZmanimError(
                f"{device.path} cannot be probed",
                found=f"blkid status {seen.returncode} {seen.stderr.strip()}",
                remedy="nothing was changed; look at the device by hand",
            )
        wiped = self._runner.run(("wipefs", "-J", device.path), timeout=20)
        values = parse_blkid(seen.stdout)
        kind = values.get("TYPE") or values.get("PTTYPE", "")
        others = tuple(one for one in parse_wipefs(wiped.stdout) if one != values.get("TYPE"))
        return Signatures(kind, values.get("LABEL", ""), values.get("UUID", ""), others)

    def _recheck(self, device: Device) -> None:
        """Open the device and prove that the path still leads to the numbers that carried the serial."""
        handle = os.open(device.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            facts = os.fstat(handle)
            numbers = f"{os.major(facts.st_rdev)}:{os.minor(facts.st_rdev)}"
            if not stat.S_ISBLK(facts.st_mode) or numbers != device.numbers:
                raise ZmanimError(
                    f"{device.path} is not the device that showed the serial",
                    found=numbers,
                    expected=device.numbers,
                    remedy="nothing was changed; run this again",
                )
        finally:
            os.close(handle)

    def make_file_system(self, device: Device, volume_id: str) -> None:
        """Make XFS on a device that ``decide_action`` called mkfs; the serial is looked up once more just
        before.
        """
        again = self.find(volume_id)
        if again is None or (again.path, again.numbers) != (device.path, device.numbers):
            raise ZmanimError(
                f"{device.path} changed while it was being looked at",
                found=again.path if again else "nothing",
                expected=device.path,
                remedy="nothing was formatted; run this again",
            )
        self._recheck(device)
        # No -f: mkfs.xfs itself refuses a device on which it sees anything.
        self._runner.run(("mkfs.xfs", "-q", "-L", LABEL, device.path), timeout=120)

    def is_copy(self, uuid: str) -> bool:
        """Say whether a mounted file system has this UUID already: then the one at hand is a snapshot's
        copy.
        """
        if not uuid:
            return False
        done = self._runner.run(("lsblk", "-J", "-o", "UUID,MOUNTPOINT"), timeout=10, check=False)
        return mounted_with_uuid(done.stdout, uuid)

    def mounted(self) -> Optional[Tuple[str, str]]:
        """Return (major:minor, source) of what is mounted on the data directory, or None."""
        return parse_mountinfo(self._mountinfo.read_text(encoding="utf-8", errors="replace"), self._data_dir)

    def assert_mounted(self, device: Device) -> None:
        """Raise ZmanimError unless exactly ``device`` is mounted on the data directory."""
        mounted = self.mounted()
        if mounted is None or mounted[0] != device.numbers:
            raise ZmanimError(
                f"{self._data_dir} is not the data volume",
                found=mounted[1] if mounted else "nothing mounted",
                expected=device.path,
                remedy="nothing was started; unmount the other one and run: zmanimctl boot",
            )

    def mount(self, device: Device, options: str) -> bool:
        """Mount the device by a systemd mount unit; return False when it was mounted already."""
        if self.mounted() is not None:
            self.assert_mounted(device)
            return False
        unit = mount_unit_name(self._data_dir)
        text = render_mount_unit(device.path, self._data_dir, options)
        path = self._unit_dir / unit
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            self._runner.run(("systemctl", "daemon-reload"), timeout=20)
        self._runner.run(("systemctl", "start", unit), timeout=30)
        self.assert_mounted(device)
        return True

    def unmount(self, device: Device, seconds: float = 10.0) -> None:
        """Unmount and prove it: nothing on the directory, and nobody else in the kernel claims the device."""
        self._runner.run(
            ("systemctl", "stop", mount_unit_name(self._data_dir)), timeout=seconds + 5, check=False
        )
        deadline = Deadline(seconds, f"unmount of {self._data_dir}")
        while self.mounted() is not None:
            if deadline.expired():
                raise deadline.exceeded(
                    f"open files of {', '.join(holders(self._data_dir)) or 'unknown processes'}"
                )
            self._runner.run(("umount", self._data_dir), timeout=seconds + 5, check=False)
            deadline.pause(0.1)
        deadline.poll(lambda: True if self._free(device) else None, 0.05)

    @staticmethod
    def _free(device: Device) -> bool:
        """Say whether the block device can be claimed: a mount in any namespace makes the claim fail."""
        try:
            os.close(os.open(device.path, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True

    def free_bytes(self) -> int:
        """Return the bytes that can still be written under the data directory."""
        facts = os.statvfs(self._data_dir)
        return facts.f_bavail * facts.f_frsize


def holders(directory: str, processes: Path = Path("/proc")) -> List[str]:
    """Name the processes that hold a file or their working directory under ``directory`` (at most five)."""
    found: List[str] = []
    for process in processes.glob("[0-9]*"):
        if len(found) < 5 and _holds(process, directory.rstrip("/") + "/"):
            name = (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
            found.append(f"{name} ({process.name})")
    return found


def _holds(process: Path, prefix: str) -> bool:
    try:
        links = [process / "cwd", *(process / "fd").iterdir()]
        return any((os.readlink(str(link)) + "/").startswith(prefix) for link in links)
    except OSError:
        return False


class Ec2Volumes:
    """The volume as the EC2 API sees it."""

    def __init__(self, aws: Any) -> None:
        """Remember the clients."""
        self._aws = aws

    def describe(self, volume_id: str, seconds: float = 20.0) -> EbsVolume:
        """Return the volume's facts; raise ZmanimError when EC2 does not answer or does not know it."""
        answer = self._aws.call(
            "ec2",
            f"EC2 DescribeVolumes {volume_id}",
            lambda client: client.describe_volumes(VolumeIds=[volume_id]),
            seconds=seconds,
        )
        return parse_ebs(answer["Volumes"][0])

    def remove_fresh_tag(self, volume_id: str) -> None:
        """Delete the tag Fresh, so that nothing can ever format this volume again."""
        self._aws.call(
            "ec2",
            f"EC2 DeleteTags Fresh of {volume_id}",
            lambda client: client.delete_tags(Resources=[volume_id], Tags=[{"Key": "Fresh"}]),
        )
