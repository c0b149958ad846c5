"""Which cluster we speak to, and with which credentials: found by the official client."""

from __future__ import annotations

from typing import Any

from faultline.errors import Rejected


def load() -> Any:
    """Return the module `kubernetes.client`, set up for the cluster we run in, or KUBECONFIG's.

    Raises Rejected, saying what was expected, if there is neither.
    """
    import kubernetes

    config: Any = kubernetes.config
    try:
        config.load_incluster_config()
    except config.ConfigException:
        try:
            config.load_kube_config()
        except config.ConfigException as error:
            raise Rejected(f"expected to run in a cluster, or a KUBECONFIG: {error}") from None
    return kubernetes.client
