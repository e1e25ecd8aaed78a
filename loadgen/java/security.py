"""A client's security settings in the Java client's words: the user gives them once, as librdkafka names them."""

from collections.abc import Mapping
from pathlib import Path

_SAME = frozenset({"security.protocol", "ssl.cipher.suites", "sasl.kerberos.service.name"})
_LOGIN_MODULES = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
}
_MECHANISMS = ("sasl.mechanism", "sasl.mechanisms")
_TAKEN = frozenset(
    {
        *_SAME,
        *_MECHANISMS,
        "sasl.username",
        "sasl.password",
        "ssl.ca.location",
        "ssl.certificate.location",
        "ssl.key.location",
        "ssl.key.password",
        "ssl.endpoint.identification.algorithm",
    }
)


def untranslatable(given: Mapping[str, str]) -> list[str]:
    """Return what of some settings the Java client cannot be told."""
    reasons = [f"{name} cannot be handed to the Java client" for name in sorted(set(given) - _TAKEN)]
    mechanism = _mechanism(given)
    if mechanism is not None and mechanism not in _LOGIN_MODULES:
        reasons.append(f"sasl.mechanism is {mechanism}; the Java client is told of {', '.join(_LOGIN_MODULES)}")
    return reasons


def java_security(given: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that say the same to the Java client; certificates are read from their files."""
    found = {name: value for name, value in given.items() if name in _SAME}
    mechanism = _mechanism(given)
    if mechanism is not None:
        user, password = (_quoted(given.get(name, "")) for name in ("sasl.username", "sasl.password"))
        found["sasl.mechanism"] = mechanism
        found["sasl.jaas.config"] = f"{_LOGIN_MODULES[mechanism]} required username={user} password={password};"
    if "ssl.ca.location" in given:
        found |= {"ssl.truststore.type": "PEM", "ssl.truststore.location": given["ssl.ca.location"]}
    if "ssl.certificate.location" in given:
        found["ssl.keystore.type"] = "PEM"
        found["ssl.keystore.certificate.chain"] = Path(given["ssl.certificate.location"]).read_text("utf-8")
        found["ssl.keystore.key"] = Path(given["ssl.key.location"]).read_text("utf-8")
    if "ssl.key.password" in given:
        found["ssl.key.password"] = given["ssl.key.password"]
    if given.get("ssl.endpoint.identification.algorithm") == "none":
        found["ssl.endpoint.identification.algorithm"] = ""
    return found


def _mechanism(given: Mapping[str, str]) -> str | None:
    return next((given[name] for name in _MECHANISMS if name in given), None)


def _quoted(text: str) -> str:
    """Return a value as JAAS writes it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
