"""Which values of environment variables may stand in a proposal.

No secret, nothing that decides what a program loads or runs, and no host outside of the cluster:
logs may suggest any of these. The rest of the patch policy is `changes.py`.
"""

from __future__ import annotations

import re

_SECRET_NAME = re.compile(
    r"pass(w(or)?d)?|pwd|secret|token|credential|api_?key|private"
    r"|(^|_)(key|auth|dsn|cert|pin|salt)(_|$)",
    re.IGNORECASE,
)
_SECRET_VALUE = re.compile(
    r"-----BEGIN|\beyJ[\w-]{8,}|\bAKIA[0-9A-Z]{12,}|\bgh[pousr]_\w{16,}|\bsk-[\w-]{16,}"
    r"|\bxox[a-z]-|://[^/\s@]*:[^/\s@]+@|(?<![\w/.-])(?=\S*[0-9])(?=\S*[a-zA-Z])[\w+/=]{32,}"
)
_STEERS_A_PROGRAM = re.compile(
    r"(LD|DYLD|GIT)_\w+|\w*PRELOAD\w*|(PYTHON|PERL5?|RUBY|NODE_TLS)\w+"
    r"|(\w*(LIB|LIBRARY|CLASS|NODE|GEM|LUA|GCONV|PLUGIN|MODULES?)_?)?PATH"
    r"|(BASH_)?ENV|IFS|PS4|PROMPT_COMMAND|EDITOR|PAGER|SHELL"
    r"|\w*OPTIONS|\w*_(OPTS?|ARGS|FLAGS|REGISTRY)|\w*(CMD|COMMAND|PROXY|INDEX_URL)"
    r"|\w*INSECURE\w*|\w*CA_?BUNDLE",
    re.IGNORECASE,
)
_ADDRESS_NAME = re.compile(
    r"(^|_)(HOSTS?|HOSTNAME|ADDR(ESS)?|URLS?|URI|ENDPOINT|SERVERS?|BROKERS?)$", re.IGNORECASE
)
_IN_A_URL = re.compile(r"[\w+.-]*://(?:[^/\s@]*@)?(\[[^\]]*\]|[^/\s:?#,]+)")
_INSIDE = re.compile(
    r"[a-z][a-z0-9-]*(\.[a-z0-9-]+\.svc(\.cluster\.local)?)?|127\.0\.0\.1|0\.0\.0\.0"
)


def refusal(name: str, before: str, after: str) -> str:
    """Return `<rule>: <reason>` if the variable must not get this value, else ""."""
    if _SECRET_NAME.search(name) or any(_SECRET_VALUE.search(value) for value in (before, after)):
        return f"secret: {name} looks like a secret, which is never written to a manifest"
    if _STEERS_A_PROGRAM.fullmatch(name):
        return f"command: {name} decides what a program loads or runs"
    outside = sorted(_hosts(name, after) - _hosts(name, before))
    return f"network: {outside[0][:80]} is outside of the cluster" if outside else ""


def _hosts(name: str, value: str) -> set[str]:
    """Return the hosts in a value that are not the name of a service in the cluster."""
    found = set(_IN_A_URL.findall(value))
    if _ADDRESS_NAME.search(name):
        bare = (part.strip() for part in value.split(",") if "://" not in part)
        found |= {re.split(r"[/:?#]", part)[0] for part in bare if part}
    return {host for host in found if not _INSIDE.fullmatch(host)}
