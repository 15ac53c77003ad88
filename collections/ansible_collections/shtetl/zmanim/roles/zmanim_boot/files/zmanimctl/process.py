"""Running other programs: argv lists only, secrets through stdin or files, a deadline on each."""

from __future__ import annotations

import os
import subprocess
import threading
from dataclasses import dataclass
from typing import IO, Dict, List, Mapping, Optional, Sequence

from zmanimctl.errors import CommandFailed


@dataclass(frozen=True)
class Completed:
    """What a program left behind."""

    argv: Sequence[str]
    returncode: int
    stdout: str
    stderr: str


def environment(extra: Optional[Mapping[str, str]] = None) -> Dict[str, str]:
    """Return the plain environment that every program gets, plus ``extra``."""
    plain = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C.UTF-8",
        "HOME": os.environ.get("HOME", "/root"),
    }
    plain.update(extra or {})
    return plain


def last_line(text: str) -> str:
    """Return the last non-empty line of ``text``, shortened: what a person needs of a program's stderr."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""


class Runner:
    """Runs programs for real; tests inject a fake with the same two methods."""

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float = 30.0,
        stdin: str = "",
        env: Optional[Mapping[str, str]] = None,
        check: bool = True,
    ) -> Completed:
        """Run ``argv`` and return its output.

        Raises CommandFailed on a non-zero status (unless ``check`` is false), a missing program or a
        time-out.
        """
        try:
            done = subprocess.run(
                list(argv),
                input=stdin,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                env=environment(env),
                cwd="/",
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CommandFailed(f"{describe(argv)} did not end within {timeout:g} s") from None
        except OSError as error:
            raise CommandFailed(f"{describe(argv)} could not be started", found=str(error)) from None
        completed = Completed(tuple(argv), done.returncode, done.stdout, done.stderr)
        if check and done.returncode != 0:
            raise failure(completed)
        return completed

    def session(self, argv: Sequence[str]) -> Session:
        """Start a program to be asked line by line; close it in the end."""
        return Session(argv)

    def pipe(
        self,
        producer: Sequence[str],
        consumer: Sequence[str],
        *,
        timeout: float,
        producer_env: Optional[Mapping[str, str]] = None,
        consumer_env: Optional[Mapping[str, str]] = None,
    ) -> None:
        """Run ``producer | consumer``; both must end with status 0 within ``timeout`` seconds."""
        with subprocess.Popen(
            list(producer),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(producer_env),
            cwd="/",
        ) as source:
            try:
                errors = _Drain(source.stderr)
                done = subprocess.run(
                    list(consumer),
                    stdin=source.stdout,
                    capture_output=True,
                    timeout=timeout,
                    env=environment(consumer_env),
                    cwd="/",
                    check=False,
                )
                if source.stdout is not None:
                    source.stdout.close()
                status = source.wait(timeout=10)
            except subprocess.TimeoutExpired:
                source.kill()
                raise CommandFailed(f"{describe(consumer)} did not end within {timeout:g} s") from None
        if done.returncode != 0:
            raise failure(
                Completed(tuple(consumer), done.returncode, "", done.stderr.decode(errors="replace"))
            )
        if status != 0:
            raise failure(Completed(tuple(producer), status, "", errors.text()))


class Session:
    """A program that answers line by line for as long as it is kept open (psql inside one transaction)."""

    END = "--end of answer--"

    def __init__(self, argv: Sequence[str]) -> None:
        """Start the program."""
        self._name = describe(argv)
        self._process = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            cwd="/",
        )

    def ask(self, script: str) -> str:
        """Send SQL and return its output; raise CommandFailed when the program has ended."""
        process = self._process
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise CommandFailed(f"{self._name} has no pipes")
        lines: List[str] = []
        try:
            process.stdin.write(f"{script}\n\\echo '{self.END}'\n")
            process.stdin.flush()
            for line in process.stdout:
                if line.strip() == self.END:
                    return "".join(lines).strip()
                lines.append(line)
        except OSError:
            lines.clear()
        raise CommandFailed(f"{self._name} ended early", found=last_line(process.stderr.read()))

    def close(self) -> None:
        """End the program."""
        self._process.kill()
        self._process.communicate()


class _Drain:
    """Reads a stream to its end in the background, so that a chatty program never blocks."""

    def __init__(self, stream: Optional[IO[bytes]]) -> None:
        self._chunks: List[bytes] = []
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def _read(self, stream: Optional[IO[bytes]]) -> None:
        for chunk in stream or ():
            self._chunks.append(chunk)

    def text(self) -> str:
        """Return what was read, once the stream has ended."""
        self._thread.join(timeout=5)
        return b"".join(self._chunks).decode(errors="replace")


def describe(argv: Sequence[str]) -> str:
    """Name a program for a message: what it is and its first words, never the whole line."""
    words = list(argv)
    if words[:1] == ["runuser"] and "--" in words:
        words = words[words.index("--") + 1 :]
    return " ".join([os.path.basename(words[0]), *words[1:3]])


def failure(completed: Completed) -> CommandFailed:
    """Return the exception for a program that ended badly."""
    return CommandFailed(
        f"{describe(completed.argv)} ended with status {completed.returncode}",
        found=last_line(completed.stderr) or last_line(completed.stdout),
    )


def as_user(user: str, argv: Sequence[str]) -> List[str]:
    """Return ``argv`` run as ``user`` without a login shell."""
    return ["runuser", "-u", user, "--", *argv]
