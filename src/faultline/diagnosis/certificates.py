"""Certificates that are refused or not there: expired, for another host, of an unknown authority.

What programs say of a certificate is held against the Certificate objects of cert-manager; only
where both agree is anything proved. Certificates themselves lie in Secrets, which nobody reads.
Wordings of: Go's crypto/x509, OpenSSL, Node.js, the JVM.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from faultline.diagnosis.documents import listed, text
from faultline.diagnosis.facts import Facts, Object, Workload
from faultline.diagnosis.quantities import clock, when
from faultline.diagnosis.wording import (
    HINT,
    LIKELY,
    PROVED,
    becomes_ready,
    finding,
    one_line,
    restore,
)
from faultline.model import Certainty, Evidence, Finding

_NAME = r"[\"']?(?P<{}>[A-Za-z0-9*](?:[A-Za-z0-9.*-]{{0,251}}[A-Za-z0-9])?)"
_EARLY = r" or is not yet valid: current time \S+ is before"
_SAID = {  # the first that matches counts
    "not-yet-valid": re.compile(
        rf"certificate has expired{_EARLY} (?P<until>\S+)|certificate is not yet valid"
        r"|CERT_NOT_YET_VALID|CertificateNotYetValidException"
    ),
    "expired": re.compile(
        r"certificate has expired"
        r"(?: or is not yet valid: current time \S+ is after (?P<until>\S+))?"
        r"|CERT_HAS_EXPIRED|CertificateExpiredException"
    ),
    "wrong-host": re.compile(
        rf"certificate is valid for (?P<names>[^\n]{{1,600}}), not {_NAME.format('h1')}"
        rf"|but wanted to match {_NAME.format('h2')}"
        rf"|certificate is not valid for {_NAME.format('h3')}"
        rf"|subject name matches target host name {_NAME.format('h4')}"
        rf"|No subject alternative DNS name matching {_NAME.format('h5')} found"
        r"|ERR_TLS_CERT_ALTNAME_INVALID"
    ),
    "unknown-authority": re.compile(
        r"certificate signed by unknown authority|unable to get (?:local )?issuer certificate"
        r"|self[- ]signed certificate|SELF_SIGNED_CERT|UNABLE_TO_VERIFY_LEAF_SIGNATURE"
        r"|PKIX path building failed"
    ),
}
_WORDS = {
    "not-yet-valid": "is not valid yet",
    "expired": "has expired",
    "wrong-host": "is for another host",
    "unknown-authority": "is of an authority that is not trusted",
}
_URL = re.compile(r"(?:https?|wss?|tls|grpcs)://([A-Za-z0-9.-]+)|host='([A-Za-z0-9.-]+)'")
_ANY = re.compile("|".join(re.sub(r"\?P<\w+>", "?:", p.pattern) for p in _SAID.values()))
_NO_SECRET = re.compile(r'secret "([^"\s]{1,253})" not found')


@dataclass(frozen=True)
class Complaint:
    """What somebody says of a certificate: the condition, the host, its end if that is told."""

    name: str
    host: str
    until: str
    names: frozenset[str]


def complaint(line: str) -> Complaint | None:
    """Read what a line says of a certificate; None if it says nothing known."""
    for name, pattern in _SAID.items():
        if match := pattern.search(line):
            told = match.groupdict()
            hosts = [v for k, v in told.items() if k.startswith("h") and v]
            hosts += [g for found in _URL.finditer(line) for g in found.groups() if g]
            names = frozenset(re.split(r",? and |, ", told.get("names") or "")) - {""}
            until = (told.get("until") or "").rstrip(",;")
            return Complaint(name, hosts[0].lower() if hosts else "", until, names)
    return None


def analyze(facts: Facts) -> Iterable[Finding]:
    """Say which certificate is refused, by whom and why, and which was never issued."""
    for certificate in facts.of("Certificate"):
        if text(certificate.get("status.conditions[type=Ready].status")) == "False":
            waiting = list(_not_issued(facts, certificate))
            yield from waiting or [_not_ready(certificate)]
    for who, cited, sure in _complaints(facts):
        if said := complaint(cited.quote):
            yield _refused(facts, who, said, cited, sure=sure)


def _complaints(facts: Facts) -> Iterator[tuple[str, Evidence, bool]]:
    """Yield who says something of a certificate, where, and whether that is about today."""
    for part in facts.parts:
        if logged := part.logs(_ANY):
            yield str(part), logged[1], part.fresh
    for service in facts.of("APIService"):
        if cited := service.cite("status.conditions[type=Available].message"):
            yield f"The API server, asking {service},", cited, True


def _refused(facts: Facts, who: str, said: Complaint, cited: Evidence, *, sure: bool) -> Finding:
    # proved because: a program refuses a certificate and says why, and a Certificate of
    # cert-manager says the same: that this was its end, or that it is for just these other names.
    found = next((c for c in facts.of("Certificate") if _is_meant(c, said)), None)
    field = _agrees(facts, found, said) if found else ""
    certainty: Certainty = (PROVED if field else LIKELY) if sure else HINT
    of = f" for {one_line(said.host)}" if said.host else ""
    return finding(
        f"certificates.{said.name}",
        certainty,
        f"The certificate{of} {_WORDS[said.name]}",
        f"{who} refuses the certificate{of}: it {_WORDS[said.name]}.{_beside(facts, found, said)}",
        [
            cited,
            found.cite(field or "spec.dnsNames") if found else None,
            found.cite("status.conditions") if found else None,
        ],
        rules_out=("probes", "crash_loop.exit"),
        actions=[restore(_advice(said, found), "The connection is made.")],
    )


def _is_meant(certificate: Object, said: Complaint) -> bool:
    names = {text(n).lower() for n in listed(certificate.get("spec.dnsNames"))}
    same_end = said.until and when(said.until) == when(certificate.get("status.notAfter"))
    return bool(same_end) or (said.names and said.names == names) or _covers(names, said.host)


def _covers(names: set[str], host: str) -> bool:
    wild = f"*.{host.partition('.')[2]}"
    return bool(host) and (host in names or wild in names)


def _agrees(facts: Facts, certificate: Object, said: Complaint) -> str:
    """Return the field of the Certificate that says the same; "" if none does."""
    end = when(certificate.get("status.notAfter"))
    names = {text(n).lower() for n in listed(certificate.get("spec.dnsNames"))}
    if said.name == "expired" and end:
        if said.until:
            return "status.notAfter" if end == when(said.until) else ""
        over = facts.now is not None and end <= facts.now and _covers(names, said.host)
        return "status.notAfter" if over else ""
    if said.name == "wrong-host" and said.names == names and not _covers(names, said.host):
        return "spec.dnsNames"
    return ""


def _beside(facts: Facts, certificate: Object | None, said: Complaint) -> str:
    if certificate is None:
        return ""
    end = when(certificate.get("status.notAfter"))
    if said.name == "expired" and end and facts.now and end > facts.now:
        return (
            f" {certificate} is valid until {end:%Y-%m-%d} {clock(end)}: whoever answers still has "
            "an older one."
        )
    names = ", ".join(text(n) for n in listed(certificate.get("spec.dnsNames"))[:4])
    when_ = f", ended {end:%Y-%m-%d} {clock(end)}" if end and said.name == "expired" else ""
    return f" {certificate} is for {one_line(names)}{when_}."


def _advice(said: Complaint, certificate: Object | None) -> str:
    whose = str(certificate) if certificate else "the certificate"
    return {
        "expired": f"Renew {whose}, and see that whoever serves it reads it again.",
        "not-yet-valid": "Compare the clocks of the two sides.",
        "wrong-host": f"Add {said.host or 'the host'} to {whose}, or ask for a name it has.",
        "unknown-authority": "Give the program the authority's certificate.",
    }[said.name]


def issuing(workload: Workload, secret: str) -> Object | None:
    """Return the Certificate that should make this Secret and is not ready."""
    for certificate in workload.facts.of("Certificate"):
        own = certificate.namespace == workload.object.namespace
        bad = text(certificate.get("status.conditions[type=Ready].status")) == "False"
        if own and bad and text(certificate.get("spec.secretName")) == secret:
            return certificate
    return None


def _not_issued(facts: Facts, certificate: Object) -> Iterator[Finding]:
    # proved because: the kubelet says that the Secret is not there, the template refers to it, and
    # the Certificate that makes it says that it is not ready.
    secret = text(certificate.get("spec.secretName"))
    for workload in facts.workloads:
        for message, cited in _waits_for(workload):
            match = _NO_SECRET.search(message)
            if not match or match[1] != secret or issuing(workload, secret) is None:
                continue
            place = "status.conditions[type=Ready]"
            reason = one_line(certificate.get(f"{place}.reason") or "no reason given")
            yield finding(
                "certificates.not-issued",
                PROVED,
                f"Certificate {certificate.name} is not issued, and {workload.object.name} waits",
                f"{workload} cannot start: the Secret {one_line(secret)} is not there, because "
                f"{certificate}, which makes it, is not ready: {reason}.",
                [
                    cited,
                    certificate.cite("spec.secretName"),
                    certificate.cite(f"{place}.reason"),
                    certificate.cite(f"{place}.message"),
                ],
                rules_out=("probes", "crash_loop.exit", "configuration"),
                actions=[
                    restore("Correct the Certificate or its issuer.", becomes_ready(workload))
                ],
            )
            return


def _waits_for(workload: Workload) -> Iterator[tuple[str, Evidence | None]]:
    """Yield what the kubelet says that containers wait for."""
    for part in workload.parts:
        for waiting in part.waiting:
            if waiting.reason == "CreateContainerConfigError":
                yield waiting.message, waiting.cite("message")
            elif waiting.reason in ("ContainerCreating", "PodInitializing"):
                for happening in workload.happenings("FailedMount"):
                    yield happening.message, happening.cite()


def _not_ready(certificate: Object) -> Finding:
    place = "status.conditions[type=Ready]"
    reason = one_line(certificate.get(f"{place}.reason") or "no reason given")
    return finding(
        "certificates.not-ready",
        HINT,
        f"Certificate {certificate.name}: Ready is False",
        f"{certificate} reports Ready False: {reason}.",
        [certificate.cite(f"{place}.status"), certificate.cite(f"{place}.message")],
    )
