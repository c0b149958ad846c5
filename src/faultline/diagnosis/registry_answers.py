"""What registries and the kubelet answer when an image cannot be pulled, in plain words."""

from __future__ import annotations

import re

# In this order: the more exact words first, since "not found" stands in many messages.
ANSWERS = tuple(
    (name, re.compile(pattern), words)
    for name, pattern, words in (
        ("never-pulled", r"pull policy of Never", "it is not on the node and may not be pulled"),
        ("invalid-name", r"invalid reference format|couldn't parse image", "that is no valid name"),
        ("wrong-platform", r"no match(?:ing manifest)? for", "it has no build for this platform"),
        ("rate-limited", r"toomanyrequests|429 Too Many", "the registry allows no more pulls now"),
        ("unknown-host", r"no such host|name resolution", "the registry's name cannot be resolved"),
        ("untrusted", r"x509:|gave HTTP response to HTTPS", "the registry cannot be trusted"),
        (
            "unreachable",
            r"i/o timeout|connection refused|no route to host|network is unreachable"
            r"|deadline exceeded|connection reset|50[234] ",
            "the registry cannot be reached",
        ),
        (
            "denied",
            r"401 Unauth|403 Forbidden|access denied|insufficient_scope|basic auth"
            r"|[Uu]nauthorized",
            "the registry denies access",
        ),
        ("not-found", r"not found|manifest unknown|name unknown", "the registry does not have it"),
    )
)
