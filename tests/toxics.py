"""A TCP proxy that spoils connections, with the toxics of Shopify/toxiproxy by name, seeded.

latency, bandwidth, slicer, limit_data (cut after so many bytes), reset_peer (cut with a reset),
slow_close. One toxic per connection, towards the client. Loopback only.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
import time
from collections import Counter

TOXICS = ("latency", "bandwidth", "slicer", "limit_data", "reset_peer", "slow_close")


class Proxy:
    """Listens on a port of its own and passes on to `port`, spoiling each connection in turn."""

    def __init__(self, port: int, *, seed: int, bytes_max: int = 4_000) -> None:
        self.target, self.chance, self.bytes_max = port, random.Random(seed), bytes_max
        self.used: Counter[str] = Counter()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                toxic = TOXICS[sum(self.used.values()) % len(TOXICS)]
                self.used[toxic] += 1
                cut = self.chance.randint(0, self.bytes_max)
                threading.Thread(target=self._carry, args=(client, toxic, cut), daemon=True).start()

    def _carry(self, client: socket.socket, toxic: str, cut: int) -> None:
        with contextlib.suppress(OSError), client:
            server = socket.create_connection(("127.0.0.1", self.target), timeout=5)
            with server:
                threading.Thread(target=_pump, args=(client, server), daemon=True).start()
                self._spoil(server, client, toxic, cut)

    def _spoil(self, server: socket.socket, client: socket.socket, toxic: str, cut: int) -> None:
        passed = 0
        while data := server.recv(2_048):
            if passed + len(data) >= cut:
                client.sendall(data[: cut - passed])
                break
            self._send(client, data, toxic)
            passed += len(data)
        if toxic == "slow_close":
            time.sleep(0.02)
        if toxic == "reset_peer":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.shutdown(socket.SHUT_RD)  # wakes the pump: the socket closes when both let go
        else:
            client.shutdown(socket.SHUT_RDWR)

    def _send(self, client: socket.socket, data: bytes, toxic: str) -> None:
        step = {"slicer": 7, "bandwidth": 512}.get(toxic, len(data))
        for start in range(0, len(data), step):
            if toxic in ("latency", "bandwidth"):
                time.sleep(0.001)
            client.sendall(data[start : start + step])


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(4_096):
            sink.sendall(data)
