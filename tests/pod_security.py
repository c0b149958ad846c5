"""The Pod Security Standard "restricted", as a checker: which controls a Pod's spec violates.

Source: kubernetes.io/docs/concepts/security/pod-security-standards, v1.37. Names of controls are
those of kubernetes/pod-security-admission:test/testdata (Apache-2.0), whose files are not here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim",
           "projected", "secret", "image"}  # fmt: skip
SYSCTLS = {
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
    "net.ipv4.tcp_slow_start_after_idle", "net.ipv4.tcp_notsent_lowat",
}  # fmt: skip
SELINUX = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
HANDLERS = ("livenessProbe", "readinessProbe", "startupProbe")

RESTRICTED_ONLY = {  # the rest is "baseline" too
    "allowprivilegeescalation", "capabilities_restricted", "runasnonroot", "runasuser",
    "restrictedvolumes", "seccompprofile_restricted", "procmount_restricted",
}  # fmt: skip

Values = dict[str, Any]


def violations(metadata: Values, spec: Values) -> set[str]:
    """Return the controls of "restricted" that a Pod with this spec violates."""
    windows = (spec.get("os") or {}).get("name") == "windows"
    found = set(_pod(metadata, spec))
    for container in containers(spec):
        found |= set(_container(container))
        if not windows:
            found |= set(_linux(container, spec.get("securityContext") or {}))
    return found - ({"procmount"} if spec.get("hostUsers") is False else set())


def containers(spec: Values) -> list[Values]:
    kinds = ("initContainers", "containers", "ephemeralContainers")
    return [container for kind in kinds for container in spec.get(kind) or ()]


def _pod(metadata: Values, spec: Values) -> Iterator[str]:
    if any(spec.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")):
        yield "hostnamespaces"
    for volume in spec.get("volumes") or ():
        kinds = set(volume) - {"name"}
        if "hostPath" in kinds:
            yield "hostpathvolumes"
        if not kinds <= VOLUMES:
            yield "restrictedvolumes"
    yield from _annotations(metadata.get("annotations") or {})
    context = spec.get("securityContext") or {}
    if any(s.get("name") not in SYSCTLS for s in context.get("sysctls") or ()):
        yield "sysctls"
    if context.get("runAsNonRoot") is False:
        yield "runasnonroot"
    yield from _shared(context)


def _annotations(notes: Values) -> Iterator[str]:
    for name, value in notes.items():
        known = value in ("", "runtime/default") or value.startswith("localhost/")
        if name.startswith("container.apparmor.security.beta.kubernetes.io/") and not known:
            yield "apparmorprofile"


def _shared(context: Values) -> Iterator[str]:
    """What a Pod's and a container's security context may both say."""
    labels = context.get("seLinuxOptions") or {}
    if labels.get("type", "") not in SELINUX or labels.get("user") or labels.get("role"):
        yield "selinuxoptions"
    if (context.get("windowsOptions") or {}).get("hostProcess"):
        yield "windowshostprocess"
    if (context.get("seccompProfile") or {}).get("type") == "Unconfined":
        yield "seccompprofile_baseline"
        yield "seccompprofile_restricted"
    if (context.get("appArmorProfile") or {}).get("type") == "Unconfined":
        yield "apparmorprofile"
    if context.get("runAsUser") == 0:
        yield "runasuser"


def _container(container: Values) -> Iterator[str]:
    context = container.get("securityContext") or {}
    yield from _shared(context)
    if context.get("privileged"):
        yield "privileged"
    if context.get("procMount", "Default") != "Default":
        yield from ("procmount", "procmount_restricted")
    if any(port.get("hostPort") for port in container.get("ports") or ()):
        yield "hostports"
    added = set((context.get("capabilities") or {}).get("add") or ())
    if added - DEFAULTS:
        yield "capabilities_baseline"
    if added - {"NET_BIND_SERVICE"}:
        yield "capabilities_restricted"
    hooks = (container.get("lifecycle") or {}).values()
    probes = [container.get(name) or {} for name in HANDLERS]
    if any(
        (p.get(k) or {}).get("host") for p in [*probes, *hooks] for k in ("httpGet", "tcpSocket")
    ):
        yield "hostprobesandhostlifecycle"


def _linux(container: Values, pod: Values) -> Iterator[str]:
    context = container.get("securityContext") or {}
    if context.get("allowPrivilegeEscalation") is not False:
        yield "allowprivilegeescalation"
    if "ALL" not in ((context.get("capabilities") or {}).get("drop") or ()):
        yield "capabilities_restricted"
    if context.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
        yield "runasnonroot"
    profile = context.get("seccompProfile") or pod.get("seccompProfile") or {}
    if profile.get("type") not in ("RuntimeDefault", "Localhost"):
        yield "seccompprofile_restricted"


DEFAULTS = {
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE",
    "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
}  # fmt: skip
