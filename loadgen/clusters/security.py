"""A client's own security settings for a system that EventDrill did not start: read, handed on to its processes, never written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from loadgen.clusters.model import ClusterError

FROM_ENVIRONMENT = "EVENTDRILL_CLIENT_"
"""`EVENTDRILL_CLIENT_SASL_PASSWORD` is sasl.password."""
TO_CHILDREN = "EVENTDRILL_CHILD_SECURITY"
"""How the driver's own processes are told: a process's environment is read by nobody but its user."""
_FAMILIES = ("security.", "sasl.", "ssl.", "enable.ssl.")
_JAVA_NAMES = {
    "sasl.jaas.config": "sasl.username and sasl.password",
    "ssl.truststore.location": "ssl.ca.location",
    "ssl.truststore.password": "ssl.ca.location, a PEM file without a password",
    "ssl.keystore.password": "ssl.key.password",
}


def read_security(file: Path | None, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of a file (`name=value` lines) and of the environment, which has the last word."""
    found = {} if file is None else _from_file(file)
    for variable, value in environment.items():
        if variable.startswith(FROM_ENVIRONMENT):
            name = variable.removeprefix(FROM_ENVIRONMENT).lower().replace("_", ".")
            _check(name, variable)
            found[name] = value
    return found


def _from_file(file: Path) -> dict[str, str]:
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ClusterError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    found = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith(("#", "!")):
            continue
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals:
            # The line itself may be a secret: it is not shown.
            raise ClusterError(f"{file}:{number} is no setting; write one a line, such as security.protocol=SASL_SSL")
        _check(name, f"{file}:{number}")
        found[name] = value
    return found


def _check(name: str, place: str) -> None:
    if name in _JAVA_NAMES:
        raise ClusterError(f"{place}: {name} is the Java client's; librdkafka has {_JAVA_NAMES[name]}")
    if not name.startswith(_FAMILIES):
        raise ClusterError(
            f"{place}: {name} is no security setting (security.*, sasl.*, ssl.*); others belong into the scenario"
        )


def for_children(security: Mapping[str, str]) -> dict[str, str]:
    """Return the environment that hands the settings to the driver's processes."""
    return {TO_CHILDREN: json.dumps(dict(security))} if security else {}


def of_driver(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that the driver has handed to this process."""
    given: dict[str, str] = json.loads(environment.get(TO_CHILDREN, "{}"))
    return given
