"""Ports that stay ours across a restart.

A port that the kernel hands out may become somebody's outgoing connection while its server is
down; below the range it hands out from, nobody takes one by accident. Each test process starts
looking at a place of its own.
"""

from __future__ import annotations

import itertools
import os
import socket

_FIRST, _COUNT = 18_000, 12_000  # Linux hands out 32768 to 60999
_next = itertools.count(os.getpid() * 97)


def free_port() -> int:
    """Return a port on loopback on which nobody listens, below the ephemeral range."""
    while True:
        port = _FIRST + next(_next) % _COUNT
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue
