"""What is made once from the jars and kept beside them: the formatted metadata, and the archive of loaded classes.

The archive (class data sharing) halves the time and the work of a start. Making it takes some 20 s; without it all
works as well, only slower.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from loadgen.clusters.jars import Lock, making
from loadgen.clusters.java import Java
from loadgen.clusters.layout import draw_id
from loadgen.clusters.model import ClusterError

Progress = Callable[[str], None]


def class_path(libs: Sequence[Path]) -> str:
    """Give the class path: always the same text for the same jars, as the archive demands."""
    return ":".join(map(str, libs))


def prepare_formatted(lock: Lock, java: Java, libs: Sequence[Path], progress: Progress) -> Path:
    """Give the formatted data directory of a controller; it names features, no cluster, so that one does for all."""
    kept = lock.directory / "formatted"
    if kept.exists():
        return kept
    with making(lock, progress) as scratch:
        if kept.exists():
            return kept
        progress(f"Kafka {lock.version}: formatting the metadata, once")
        data = scratch / "data"
        config = scratch / "format.properties"
        config.write_text(
            "process.roles=controller\nnode.id=1\nlisteners=CONTROLLER://127.0.0.1:9093\n"
            "controller.listener.names=CONTROLLER\ncontroller.quorum.voters=1@127.0.0.1:9093\n"
            f"log.dirs={data}\n"
        )
        command = [str(java.program), *_SMALL, "-cp", class_path(libs), "kafka.tools.StorageTool", "format"]
        done = _run([*command, "-t", draw_id(), "-c", str(config)])
        if done.returncode or not data.is_dir():
            raise ClusterError(f"Kafka {lock.version} cannot format its metadata:\n{_tail(done)}")
        (data / "meta.properties").unlink()  # the one file that does name a cluster
        data.replace(kept)
    return kept


_SMALL = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")

Train = Callable[[Path], None]
"""Runs brokers so that they write the names of the classes they load to the given file."""


def archive_path(lock: Lock, java: Java) -> Path:
    """Give where the archive for these jars on this very build of Java is kept."""
    return lock.directory / f"classes-{java.key}.jsa"


def prepare_archive(lock: Lock, java: Java, libs: Sequence[Path], train: Train, progress: Progress) -> Path | None:
    """Give the archive of loaded classes, made if need be; None where it cannot be made."""
    kept = archive_path(lock, java)
    failed = kept.with_suffix(".failed")
    if kept.exists():
        return kept
    with making(lock, progress) as scratch:
        if kept.exists():
            return kept
        if failed.exists():  # once is enough to wait for
            progress(f"Kafka {lock.version}: starts slower, without an archive of classes; {failed} tells why")
            return None
        progress(f"Kafka {lock.version}: making an archive of its classes, once for this Java (about 20 s)")
        began = time.monotonic()
        try:
            _make_archive(kept, scratch, java, libs, train)
        except (ClusterError, OSError) as error:
            failed.write_text(f"{error}\n")
            progress(f"Kafka {lock.version}: no archive of classes, starts stay slower: {str(error).splitlines()[0]}")
            return None
        progress(f"Kafka {lock.version}: archive of classes made in {time.monotonic() - began:.0f} s")
    return kept


def _make_archive(kept: Path, scratch: Path, java: Java, libs: Sequence[Path], train: Train) -> None:
    classes = scratch / "classes"
    fresh = scratch / "archive.jsa"
    train(classes)
    if not classes.is_file():
        raise ClusterError("the broker that was to list its classes wrote no list")
    done = _run(
        [
            *(str(java.program), "-Xmx512m", "-Xshare:dump", f"-XX:SharedClassListFile={classes}"),
            *(f"-XX:SharedArchiveFile={fresh}", "-cp", class_path(libs)),
        ]
    )
    if done.returncode or not fresh.is_file():
        raise ClusterError(f"java -Xshare:dump ended with status {done.returncode}:\n{_tail(done)}")
    fresh.replace(kept)


def exercise(bootstrap: str) -> None:
    """Do once what clients do, so that a broker loads the classes for it: produce, and consume in both kinds of group."""
    from confluent_kafka import Consumer, Producer
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    quiet: dict[str, str | int | float | bool] = {"bootstrap.servers": bootstrap, "log_level": 0}
    admin = AdminClient(quiet)
    for future in admin.create_topics([NewTopic("warm", 1, 1)]).values():
        future.result(timeout=30)
    producer = Producer({**quiet, "enable.idempotence": True, "compression.type": "lz4"})
    for number in range(100):
        producer.produce("warm", value=str(number))
    producer.flush(30)
    for protocol in ("classic", "consumer"):
        names = {"group.id": f"warm-{protocol}", "group.protocol": protocol}
        consumer = Consumer({**quiet, **names, "auto.offset.reset": "earliest"})
        consumer.subscribe(["warm"])
        until = time.monotonic() + 20
        while time.monotonic() < until and not consumer.consume(100, timeout=1):
            pass
        consumer.commit(asynchronous=False)
        consumer.close()


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=180, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"{command[0]} did not end within {error.timeout:.0f} s") from error


def _tail(done: subprocess.CompletedProcess[str]) -> str:
    return "\n".join(f"  {line[:400]}" for line in (done.stdout + done.stderr).splitlines()[-12:])
