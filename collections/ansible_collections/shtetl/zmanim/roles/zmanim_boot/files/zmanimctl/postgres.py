"""The PostgreSQL cluster: its directory, its service, and SQL through psql as the superuser (secrets by
stdin).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import pwd
import re
import secrets as randomness
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from zmanimctl.deadline import Deadline
from zmanimctl.errors import CommandFailed, ZmanimError
from zmanimctl.marker import Marker
from zmanimctl.process import Runner, as_user
from zmanimctl.settings import Settings
from zmanimctl.systemd import Systemd

OWNER = "zmanim"
SCRAM_ITERATIONS = 4096

SERVER_FACTS = """
SELECT json_build_object(
  'role', EXISTS (SELECT FROM pg_roles WHERE rolname = 'zmanim'),
  'verifier', (SELECT rolpassword FROM pg_authid WHERE rolname = 'zmanim'),
  'databases', (SELECT json_agg(datname) FROM pg_database WHERE NOT datistemplate));
"""

DATABASE_FACTS = """
SELECT json_build_object(
  'extensions', (SELECT json_agg(extname) FROM pg_extension),
  'available', (SELECT json_agg(name) FROM pg_available_extensions));
"""


@dataclass(frozen=True)
class Directory:
    """What lies in the cluster's directory: names in it (None = no directory), and whether it is a
    cluster.
    """

    entries: Optional[Sequence[str]]
    cluster: bool


def decide_cluster(directory: Directory, marker: Marker, where: str) -> str:
    """Return 'start' or 'initdb', or raise ZmanimError. initdb needs an empty place and a marker that says
    fresh.
    """
    if directory.cluster:
        return "start"
    if directory.entries:
        raise ZmanimError(
            f"{where} is not empty and holds no cluster",
            found=", ".join(sorted(directory.entries)[:5]),
            expected="a PostgreSQL cluster, or nothing on a fresh volume",
            remedy="nothing was changed; restore the volume from a snapshot, or empty the directory by hand",
        )
    if not marker.fresh or marker.system_identifier:
        raise ZmanimError(
            f"{where} holds no cluster, but the volume's marker is not fresh",
            found="an empty directory",
            expected=f"the cluster {marker.system_identifier or '(unnamed)'}",
            remedy="nothing was changed; data is missing: restore the volume from a snapshot",
        )
    return "initdb"


def parse_controldata(text: str) -> Dict[str, str]:
    """Return the ``name: value`` lines of pg_controldata."""
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def quote_identifier(name: str) -> str:
    """Quote an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def quote_literal(value: str) -> str:
    """Quote an SQL string, safe whatever standard_conforming_strings says."""
    escaped = value.replace("'", "''")
    if "\\" in escaped:
        return " E'" + escaped.replace("\\", "\\\\") + "'"
    return "'" + escaped + "'"


def scram_verifier(password: str, salt: bytes, iterations: int = SCRAM_ITERATIONS) -> str:
    """Return PostgreSQL's SCRAM-SHA-256 verifier (RFC 5803), so that the server never sees or logs the
    password.
    """
    # SASLprep (RFC 4013) is the identity for ASCII; for the rest its main part is NFKC.
    prepared = password if password.isascii() else unicodedata.normalize("NFKC", password)
    salted = hashlib.pbkdf2_hmac("sha256", prepared.encode("utf-8"), salt, iterations)
    client = hmac.new(salted, b"Client Key", hashlib.sha256).digest()
    stored = hashlib.sha256(client).digest()
    server = hmac.new(salted, b"Server Key", hashlib.sha256).digest()
    words = [base64.b64encode(part).decode("ascii") for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${iterations}:{words[0]}${words[1]}:{words[2]}"


def verifier_matches(verifier: Optional[str], password: str) -> bool:
    """Say whether a stored verifier is that of ``password``."""
    match = re.match(r"^SCRAM-SHA-256\$(\d+):([^$]+)\$", verifier or "")
    if not match:
        return False
    salt = base64.b64decode(match.group(2))
    return hmac.compare_digest(scram_verifier(password, salt, int(match.group(1))), str(verifier))


def role_sql(facts: Dict[str, Any], password: str) -> str:
    """Return the SQL that makes the owner role as it should be, or '' when it is."""
    if facts.get("role") and verifier_matches(facts.get("verifier"), password):
        return ""
    verb = "ALTER" if facts.get("role") else "CREATE"
    verifier = scram_verifier(password, randomness.token_bytes(16))
    options = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION"
    return f"{verb} ROLE {OWNER} {options} PASSWORD {quote_literal(verifier)};\n"


def database_sql(facts: Dict[str, Any], database: str) -> str:
    """Return the SQL that creates the database, or '' when it exists."""
    if database in (facts.get("databases") or []):
        return ""
    return f"CREATE DATABASE {quote_identifier(database)} OWNER {OWNER};\n"


def extension_sql(facts: Dict[str, Any], wanted: Sequence[str]) -> str:
    """Return the SQL that creates the missing extensions; raise ZmanimError when the image does not have
    one.
    """
    absent = [name for name in wanted if name not in (facts.get("extensions") or [])]
    unknown = [name for name in absent if name not in (facts.get("available") or [])]
    if unknown:
        raise ZmanimError(
            f"PostgreSQL extension {', '.join(unknown)} is not in this image",
            remedy="bake an image with it, or take it out of the extensions of role zmanim_boot",
        )
    return "".join(f"CREATE EXTENSION IF NOT EXISTS {quote_identifier(name)};\n" for name in absent)


class Cluster:
    """The cluster on the volume and the service that runs it."""

    def __init__(self, runner: Runner, systemd: Systemd, settings: Settings) -> None:
        """Remember where things are."""
        self._runner = runner
        self._systemd = systemd
        self._settings = settings

    # -- the directory -----------------------------------------------------------------------------

    def directory(self) -> Directory:
        """Look at the cluster's directory."""
        pgdata = self._settings.pgdata
        try:
            entries = os.listdir(str(pgdata))
        except FileNotFoundError:
            return Directory(None, False)
        return Directory(
            entries, (pgdata / "PG_VERSION").exists() and (pgdata / "global/pg_control").exists()
        )

    def make(self, marker: Marker) -> bool:
        """Run initdb when, and only when, ``decide_cluster`` says so; return whether it did."""
        pgdata = self._settings.pgdata
        if decide_cluster(self.directory(), marker, str(pgdata)) == "start":
            self._own(pgdata)
            return False
        # Made beside and renamed, so that a power loss leaves no half cluster behind.
        beside = pgdata.with_name(pgdata.name + ".initdb")
        parent = pgdata.parent
        parent.mkdir(parents=True, exist_ok=True)
        self._own(parent)
        if beside.exists():
            self._runner.run(("rm", "-rf", "--one-file-system", str(beside)), timeout=60)
        command = [
            f"{self._settings.postgres_bin_dir}/initdb",
            f"--pgdata={beside}",
            "--data-checksums",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--auth-local=peer",
            "--auth-host=scram-sha-256",
        ]
        self._runner.run(as_user(self._settings.postgres_user, command), timeout=180)
        os.rename(str(beside), str(pgdata))
        return True

    def _own(self, path: Path) -> None:
        """Give the directory to this image's postgres user: another image may number it differently."""
        uid = pwd.getpwnam(self._settings.postgres_user).pw_uid
        if path.stat().st_uid != uid:
            owner = f"{self._settings.postgres_user}:"
            self._runner.run(("chown", "-R", "--no-dereference", owner, str(path)), timeout=300)

    def system_identifier(self) -> str:
        """Return the cluster's system identifier from its control file; PostgreSQL need not run."""
        command = (f"{self._settings.postgres_bin_dir}/pg_controldata", "-D", str(self._settings.pgdata))
        return parse_controldata(self._runner.run(command, timeout=10).stdout).get(
            "Database system identifier", ""
        )

    def postgis_version(self) -> Optional[str]:
        """Return the PostGIS version that this image would install, or None when it has none."""
        done = self._runner.run(
            (f"{self._settings.postgres_bin_dir}/pg_config", "--sharedir"), timeout=10, check=False
        )
        control = Path(done.stdout.strip() or "/nonexistent") / "extension/postgis.control"
        try:
            match = re.search(r"default_version\s*=\s*'([^']+)'", control.read_text(encoding="utf-8"))
        except OSError:
            return None
        return match.group(1) if match else None

    # -- the service -------------------------------------------------------------------------------

    def start(self, seconds: float = 60.0) -> None:
        """Start the service and wait until it answers a query."""
        deadline = Deadline(seconds, "start of PostgreSQL", remedy=f"look at: journalctl -u {self._service}")
        self._systemd.start(self._service, deadline.remaining())
        while not self.answers():
            if deadline.expired() or not self._systemd.is_active(self._service):
                raise deadline.exceeded(
                    self._systemd.last_words(self._service) or "the service is not active"
                )
            deadline.pause(0.1)

    def stop(self, seconds: float = 60.0) -> None:
        """Stop the service; the distribution's unit stops in fast mode."""
        self._systemd.stop(self._service, seconds)

    def running(self) -> bool:
        """Say whether the service is active."""
        return self._systemd.is_active(self._service)

    @property
    def _service(self) -> str:
        return self._settings.postgres_service

    def answers(self) -> bool:
        """Say whether the server takes a query now."""
        command = (
            f"{self._settings.postgres_bin_dir}/pg_isready",
            "-q",
            "-h",
            self._settings.postgres_socket_dir,
            "-p",
            str(self._settings.postgres_port),
        )
        return self._runner.run(command, timeout=10, check=False).returncode == 0

    # -- SQL ---------------------------------------------------------------------------------------

    def sql(self, script: str, database: str = "postgres", seconds: float = 30.0) -> str:
        """Run a script as the superuser through the socket and return its output; the script goes by
        stdin.
        """
        done = self._runner.run(
            self.client("psql", database, *self.PLAIN), stdin=script, timeout=seconds, check=False
        )
        if done.returncode != 0:
            errors = [line for line in done.stderr.splitlines() if "ERROR" in line or "FATAL" in line]
            raise CommandFailed(
                f"SQL in database {database} failed", found=(errors or [done.stderr])[0][-300:]
            )
        return done.stdout.strip()

    PLAIN = ("-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-")

    def client(self, program: str, database: str, *arguments: str) -> List[str]:
        """Return the argv of a PostgreSQL client program run by the superuser through the socket."""
        settings = self._settings
        return as_user(
            settings.postgres_user,
            [
                f"{settings.postgres_bin_dir}/{program}",
                "-h",
                settings.postgres_socket_dir,
                "-p",
                str(settings.postgres_port),
                "-d",
                database,
                *arguments,
            ],
        )

    def provision(self, database: str, password: str) -> List[str]:
        """Create what is missing of role, database and extensions; return what was done (nothing the second
        time).
        """
        facts = json.loads(self.sql(SERVER_FACTS))
        done: List[str] = []
        role = role_sql(facts, password)
        if role:
            self.sql("SET log_statement = 'none';\nSET log_min_error_statement = 'panic';\n" + role)
            done.append(f"role {OWNER}")
        create = database_sql(facts, database)
        if create:
            self.sql(create)
            done.append(f"database {database}")
        extensions = extension_sql(json.loads(self.sql(DATABASE_FACTS, database)), self._settings.extensions)
        if extensions:
            self.sql(extensions, database, 120)
            done.append("extensions")
        return done

    def checkpoint(self, seconds: float = 60.0) -> None:
        """Write everything out now, so that the stop that follows is short."""
        self.sql("CHECKPOINT;", seconds=seconds)
