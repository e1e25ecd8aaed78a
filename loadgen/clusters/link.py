"""The owner's end of a keeper: starts it, asks it, and notices when it has died."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from loadgen.clusters.keeping import remove_leftovers
from loadgen.clusters.model import ClusterError
from loadgen.clusters.places import scratch_dir, scratch_dirs

ANSWER_WITHIN_S = 60.0
"""A keeper answers in ms; a machine that stood still for some seconds is no reason to end an hour's run."""
END_WITHIN_S = 15.0


class Link:
    """One keeper process, and requests to it from any thread."""

    def __init__(
        self,
        module: str,
        *arguments: str,
        name: str = "the keeper of the cluster",
        end_within_s: float = END_WITHIN_S,
    ) -> None:
        self._name = name
        self._end_within_s = end_within_s
        remove_leftovers(scratch_dirs())
        self._lock = threading.Lock()
        self._pending = b""
        self._closed = False
        # -P: a folder named like one of ours, where the user happens to work, must not be imported instead.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, str(scratch_dir()), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self.hello = self._receive()
        self.directory = Path(self.hello["directory"])

    @property
    def pid(self) -> int:
        """Give the keeper's process id."""
        return self._process.pid

    def ask(self, do: str, *, answer_within_s: float = ANSWER_WITHIN_S, **what: Any) -> dict[str, Any]:
        """Send a request and give the answer."""
        with self._lock:
            if self._closed:
                raise ClusterError("the cluster is closed: start another one")
            assert self._process.stdin is not None
            try:
                os.write(self._process.stdin.fileno(), json.dumps({"do": do, **what}).encode() + b"\n")
            except BrokenPipeError:
                raise self._dead() from None
            answer = self._receive(answer_within_s)
        if "error" in answer:
            raise ClusterError(answer["error"])
        return answer

    def _receive(self, within_s: float = ANSWER_WITHIN_S) -> dict[str, Any]:
        assert self._process.stdout is not None
        source = self._process.stdout.fileno()
        until = time.monotonic() + within_s
        while b"\n" not in self._pending:
            if not select.select([source], [], [], max(0.0, until - time.monotonic()))[0]:
                raise ClusterError(f"{self._name} (process {self.pid}) does not answer; is it stopped?")
            chunk = os.read(source, 1 << 16)
            if not chunk:
                raise self._dead()
            self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _dead(self) -> ClusterError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        return ClusterError(
            f"{self._name} (process {self.pid}) has ended with status {self._process.poll()}, and what it kept with it: "
            "close this cluster and start another one"
        )

    def ended(self) -> bool:
        """Tell whether the keeper is gone."""
        return self._process.poll() is not None

    def close(self) -> None:
        """End the keeper and all that it keeps; again, it does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.close()
            try:
                self._process.wait(self._end_within_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process.stdout.close()
            if hasattr(self, "directory"):
                remove_leftovers([self.directory.parent])  # where the keeper was killed before it could
                shutil.rmtree(self.directory, ignore_errors=True)
