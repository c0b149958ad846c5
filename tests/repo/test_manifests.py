"""Every manifest that is applied to a cluster, read and judged without one."""

import re
import shutil
import subprocess
import tomllib
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
import yaml

from faultline.adapters.sources.live import KINDS
from faultline.bridge.watch.watcher import WATCHED
from faultline.event import INCIDENT_OPENED
from faultline.routes import STEPS
from faultline.schemas import EVENTS

REPO = Path(__file__).parents[2]
KNATIVE = REPO / "infra" / "knative"
RESOURCES = yaml.safe_load((KNATIVE / "kustomization.yaml").read_text("utf-8"))["resources"]
MANIFESTS = [
    manifest
    for file in RESOURCES
    for manifest in yaml.safe_load_all((KNATIVE / file).read_text("utf-8"))
]
CLUSTER_WIDE = {"Namespace", "ClusterRole", "ClusterRoleBinding"}


def of_kind(*kinds):
    return [manifest for manifest in MANIFESTS if manifest["kind"] in kinds]


def named(kind, name):
    return [m for m in of_kind(kind) if m["metadata"]["name"] == name]


TRIGGERS = of_kind("Trigger")


def step_of(trigger):
    """Return the step a Trigger is for: its own name, up to a hyphen where it is a second one."""
    return trigger["metadata"]["name"].partition("-")[0]


KNATIVE_SERVICES = [m for m in of_kind("Service") if m["apiVersion"] == "serving.knative.dev/v1"]
WORKLOADS = [*of_kind("Deployment"), *KNATIVE_SERVICES]


def by_name(manifest):
    return f"{manifest['kind']}-{manifest['metadata']['name']}"


def pod_of(workload):
    return workload["spec"]["template"]["spec"]


# the files


def test_every_file_is_applied():
    there = {path.name for path in KNATIVE.glob("*.yaml")} - {"kustomization.yaml"}

    assert there == set(RESOURCES)


def test_every_manifest_has_a_namespace_and_a_name_of_its_own():
    seen = set()
    for manifest in MANIFESTS:
        meta = manifest["metadata"]
        if manifest["kind"] not in CLUSTER_WIDE:
            assert meta["namespace"] in ("faultline", "faultline-agents"), by_name(manifest)
        seen.add((manifest["apiVersion"], manifest["kind"], meta.get("namespace"), meta["name"]))
        assert meta["labels"]["app.kubernetes.io/part-of"] == "faultline"

    assert len(seen) == len(MANIFESTS)


def test_no_manifest_holds_a_secret():
    assert of_kind("Secret") == []
    for manifest in of_kind("ConfigMap"):
        for name in manifest["data"]:
            assert not re.search(r"TOKEN|KEY|SECRET|PASSWORD|HMAC", name), name


# Triggers


def test_every_trigger_repeats_the_whole_delivery_block():
    assert {step_of(trigger) for trigger in TRIGGERS} == STEPS.keys()
    for manifest in [*TRIGGERS, *of_kind("Broker")]:
        delivery = manifest["spec"]["delivery"]
        assert delivery["retry"] >= 10, by_name(manifest)
        assert delivery["backoffPolicy"] == "exponential"
        assert seconds(delivery["backoffDelay"]) >= 1
        assert "retryAfterMax" not in delivery
        assert delivery["deadLetterSink"] == {
            "ref": {"apiVersion": "v1", "kind": "Service", "name": "bridge"},
            "uri": "/parked",
        }
    for trigger in TRIGGERS:  # longer than any answer of its step can take
        [service] = named("Service", step_of(trigger))
        waits = seconds(trigger["spec"]["delivery"]["timeout"])
        assert waits >= service["spec"]["template"]["spec"]["timeoutSeconds"]
    assert named("Service", "bridge")


def seconds(text):
    match = re.fullmatch(r"PT(\d+(?:\.\d+)?)S", text)
    assert match, text
    return float(match[1])


@pytest.mark.parametrize("trigger", TRIGGERS, ids=by_name)
def test_trigger_service_folder_and_step_have_one_name(trigger):
    name = step_of(trigger)

    assert trigger["metadata"]["labels"]["app.kubernetes.io/name"] == name
    assert trigger["spec"]["subscriber"] == {
        "ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": name}
    }
    assert name in STEPS
    assert (REPO / "functions" / name / "func.yaml").is_file()
    [service] = [s for s in KNATIVE_SERVICES if s["metadata"]["name"] == name]
    [container] = pod_of(service)["containers"]
    assert container["args"] == ["serve", name]
    assert pod_of(service)["serviceAccountName"] == name
    assert named("ServiceAccount", name)


@pytest.mark.parametrize("trigger", TRIGGERS, ids=by_name)
def test_a_trigger_listens_to_what_its_step_says_in_its_first_line(trigger):
    step = STEPS[step_of(trigger)]
    first_line = (__import__(step.__module__, fromlist=["_"]).__doc__ or "").split("\n")[0]
    heard = trigger["spec"]["filter"]["attributes"]["type"]

    short = re.sub(r"^dev\.faultline\.|\.v\d+$|^dev\.knative\.sources\.", "", heard)
    assert short in first_line.split(" -> ")[0].split(", ")
    assert heard in EVENTS or short == "ping"
    assert "filters" not in trigger["spec"]


@pytest.mark.parametrize("trigger", TRIGGERS, ids=by_name)
def test_no_reply_of_a_step_matches_its_own_trigger(trigger):
    step = STEPS[step_of(trigger)]
    source = Path(__import__(step.__module__, fromlist=["_"]).__file__).read_text("utf-8")
    heard = trigger["spec"]["filter"]["attributes"]["type"]
    replies = {type for type in EVENTS if re.search(said(constant(type)), source)}

    assert heard not in replies
    assert replies or trigger["metadata"]["name"] in ("sweep", "verify")  # they send, to the sink


def said(name):
    return rf"caused\(\s*{name}\b|event\.{name.lower()}\("


def constant(type):
    return "_".join(type.split(".")[2:4]).upper()


def test_the_name_of_a_constant_is_made_from_its_type():
    assert constant(INCIDENT_OPENED) == "INCIDENT_OPENED"


def test_every_trigger_is_of_our_broker():
    assert {t["spec"]["broker"] for t in TRIGGERS} == {
        m["metadata"]["name"] for m in of_kind("Broker")
    }


def test_the_ping_goes_through_the_broker_every_minute():
    [ping] = of_kind("PingSource")

    assert ping["spec"]["schedule"] == "* * * * *"
    assert ping["spec"]["sink"]["ref"]["kind"] == "Broker"


def test_every_process_that_sends_events_is_told_where_to():
    bound = {
        m["spec"]["subject"]["name"]: m["spec"]["subject"]["kind"] for m in of_kind("SinkBinding")
    }

    assert bound == {
        "bridge": "Deployment",
        "web": "Deployment",
        "sweep": "Service",
        "verify": "Service",
        "launch": "Service",
        "package": "Service",
        "gateway": "Deployment",
    }


def test_slots_are_taken_one_after_the_other():
    [launch] = named("Service", "launch")

    assert pod_of(launch)["containerConcurrency"] == 1
    annotations = launch["spec"]["template"]["metadata"]["annotations"]
    assert annotations["autoscaling.knative.dev/max-scale"] == "1"


# pods


@pytest.mark.covers("MAN-03")
def test_every_pod_meets_the_restricted_standard_and_its_namespace_asks_for_it():
    for workload in WORKLOADS:
        pod = pod_of(workload)
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert all(set(v) <= {"name", "emptyDir", "projected"} for v in pod["volumes"])
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            context = container["securityContext"]
            assert context["runAsNonRoot"] is True, by_name(workload)
            assert context["runAsUser"] >= 10_000
            assert context["runAsGroup"] >= 10_000
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert context["seccompProfile"] == {"type": "RuntimeDefault"}
            assert all("hostPort" not in port for port in container["ports"])
    for namespace in of_kind("Namespace"):
        labels = namespace["metadata"]["labels"]
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {m["metadata"]["name"] for m in of_kind("Namespace")} == {
        m["metadata"]["namespace"] for m in MANIFESTS if "namespace" in m["metadata"]
    }


@pytest.mark.covers("MAN-04")
def test_every_workload_has_probes_requests_and_limits_a_closed_network_and_a_budget():
    for workload in WORKLOADS:
        for container in pod_of(workload)["containers"]:
            assert container["readinessProbe"]["httpGet"]["path"] == "/health/readiness"
            assert container["livenessProbe"]["httpGet"]["path"] == "/health/liveness"
            for what in ("requests", "limits"):
                assert set(container["resources"][what]) == {"cpu", "memory"}
        if workload["spec"].get("replicas", 1) > 1:
            selector = workload["spec"]["selector"]
            assert [b for b in of_kind("PodDisruptionBudget") if b["spec"]["selector"] == selector]
    for namespace in of_kind("Namespace"):
        closed = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
        assert any(
            policy["spec"] == closed
            for policy in of_kind("NetworkPolicy")
            if policy["metadata"]["namespace"] == namespace["metadata"]["name"]
        )


METADATA = (  # of clouds, and what else stands at addresses of this kind
    "169.254.169.254", "169.254.170.2", "169.254.170.23", "169.254.20.10", "100.100.100.200",
    "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fe80::a9fe:a9fe",
)  # fmt: skip


def test_no_address_is_open_to_link_local_services_or_a_clouds_metadata():
    blocks = [
        peer["ipBlock"]
        for policy in of_kind("NetworkPolicy")
        for rule in policy["spec"].get("egress", [])
        for peer in rule.get("to", [])
        if "ipBlock" in peer
    ]

    assert len(blocks) >= 7
    for block in blocks:
        inside, *but = [ip_network(net) for net in (block["cidr"], *block.get("except", []))]
        for address in map(ip_address, METADATA):
            assert address not in inside or any(address in net for net in but), (address, block)


def test_a_network_rule_opens_named_ports_only():
    for policy in of_kind("NetworkPolicy"):
        for rule in [*policy["spec"].get("egress", []), *policy["spec"].get("ingress", [])]:
            assert rule["ports"], by_name(policy)
            assert rule.get("to") or rule.get("from")


# permissions

TOKENS = {"bridge", "context", "launch", "sweep"}
ASKS = {"gateway"}  # whose a token is; its own is mounted by the manifest, and lives for minutes
# who scales, serves and delivers: redacted before an agent sees it
DELIVERY = {"verticalpodautoscalers", "revisions", "brokers", "triggers"}
DELIVERY |= {"applications", "rollouts", "kustomizations", "helmreleases", "gitrepositories"}


@pytest.mark.parametrize("workload", WORKLOADS, ids=by_name)
def test_only_who_speaks_to_the_cluster_gets_a_token(workload):
    name = workload["metadata"]["name"]
    [account] = named("ServiceAccount", name)

    assert account["automountServiceAccountToken"] is (name in TOKENS)
    assert pod_of(workload).get("automountServiceAccountToken", True) is (name in TOKENS)
    assert pod_of(workload)["serviceAccountName"] == name
    mounted = [v["projected"]["sources"] for v in pod_of(workload)["volumes"] if "projected" in v]
    tokens = [t for sources in mounted for s in sources if (t := s.get("serviceAccountToken"))]
    assert [t["expirationSeconds"] for t in tokens] == ([900] if name in ASKS else [])


def rules_of(account):
    """Yield the rules that an account has, with the namespace they hold in."""
    for binding in of_kind("RoleBinding", "ClusterRoleBinding"):
        if any(subject["name"] == account for subject in binding["subjects"]):
            [role] = named(binding["roleRef"]["kind"], binding["roleRef"]["name"])
            for rule in role["rules"]:
                yield binding["metadata"].get("namespace"), rule


def test_each_account_may_do_what_it_is_for_and_nothing_more():
    able = {}
    for account in of_kind("ServiceAccount"):
        name = account["metadata"]["name"]
        able[name] = {
            (namespace, resource, verb)
            for namespace, rule in rules_of(name)
            for resource in rule["resources"]
            for verb in rule["verbs"]
        }

    for name in ("triage", "package", "close", "verify", "web"):
        assert able[name] == set()
    watched = {endpoint.plural for endpoint in WATCHED.values()}
    verbs = ("get", "list", "watch")
    assert able["bridge"] == {(None, plural, verb) for plural in watched for verb in verbs}
    jobs = {("faultline-agents", "jobs", verb) for verb in ("get", "list")}
    assert able["launch"] == jobs | {("faultline-agents", "jobs", "create")}
    assert able["sweep"] == jobs
    assert able["gateway"] == {(None, "tokenreviews", "create")}
    assert able["agent"] < able["context"]
    assert {resource for _, resource, _ in able["context"] - able["agent"]} == DELIVERY
    assert {verb for _, _, verb in able["context"]} == {"get", "list"}


@pytest.mark.covers("S1-093")
def test_what_the_page_says_of_the_agents_account_is_what_its_role_says():
    page = (KNATIVE / "README.md").read_text("utf-8")
    asked = re.findall(r"^kubectl auth can-i (\w+) (\S+) .*--as=\$AGENT +# (yes|no)$", page, re.M)
    [account] = named("ServiceAccount", "agent")
    may = {
        (verb, resource)
        for _, rule in rules_of("agent")
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }

    assert f"system:serviceaccount:{account['metadata']['namespace']}:agent" in page
    assert {answer for *_, answer in asked} == {"yes", "no"}
    assert [a for a in asked if ((a[0], a[1]) in may) != (a[2] == "yes")] == []


def test_the_watch_may_look_at_each_kind_in_its_own_group():
    [role] = named("ClusterRole", "faultline-watch")
    groups = {r: rule["apiGroups"] for rule in role["rules"] for r in rule["resources"]}
    policies = [p for p in of_kind("NetworkPolicy") if p["metadata"]["name"] == "to-api-server"]

    for endpoint in WATCHED.values():
        group = endpoint.prefix.removeprefix("apis/").rpartition("/")[0]
        assert groups[endpoint.plural] == ["" if group == "api" else group]
    [who] = [p["spec"]["podSelector"]["matchExpressions"][0]["values"] for p in policies]
    assert set(who) == TOKENS | ASKS


FORBIDDEN = {"secrets", "serviceaccounts", "nodes/proxy", "pods/proxy", "services/proxy"}
FORBIDDEN |= {"pods/exec", "pods/attach", "pods/portforward", "pods/ephemeralcontainers", "*"}


@pytest.mark.parametrize("role", of_kind("Role", "ClusterRole"), ids=by_name)
def test_no_role_reads_secrets_or_runs_commands(role):
    for rule in role["rules"]:
        assert not FORBIDDEN & set(rule["resources"])
        assert "*" not in rule["verbs"] + rule["apiGroups"]
        assert not any("/" in resource for resource in rule["resources"] if resource != "pods/log")


def test_what_the_live_source_asks_for_its_role_may_read():
    granted = {
        (group, resource)
        for _, rule in rules_of("context")
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }

    asked = {(prefix.split("/")[1] if prefix.startswith("apis/") else "", plural)
             for prefix, plural in KINDS.values()}  # fmt: skip

    assert asked - granted == {("", "serviceaccounts")}  # nobody may: it is asked for, and said


@pytest.mark.covers("S3-74")
def test_the_console_is_a_process_of_its_own_behind_a_service_of_its_own():
    [web] = named("Deployment", "web")  # and no Knative Service: its streams stay open, decision 42
    [container] = pod_of(web)["containers"]
    [service] = named("Service", "web")

    assert container["args"] == ["web"]
    assert service["spec"]["selector"] == web["spec"]["selector"]["matchLabels"]
    assert service["spec"]["ports"][0]["targetPort"] == container["ports"][0]["name"]


def test_jobs_are_told_of_the_gateway_by_the_name_of_its_service():
    [gateway], [settings] = named("Deployment", "gateway"), of_kind("ConfigMap")
    [container] = pod_of(gateway)["containers"]
    [service] = named("Service", "gateway")
    meta, url = service["metadata"], settings["data"]["FAULTLINE_GATEWAY"]

    assert container["args"] == ["gateway"]
    assert url == f"http://{meta['name']}.{meta['namespace']}.svc"  # port 80, of the Service
    assert url.removeprefix("http://") in settings["data"]["FAULTLINE_ALLOWED_HOSTS"].split(",")
    assert service["spec"]["selector"] == gateway["spec"]["selector"]["matchLabels"]
    [port] = service["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (80, container["ports"][0]["name"])
    assert service["spec"]["sessionAffinity"] == "ClientIP"  # bounds of a run are counted in memory


# Events, an option


def rendered_with_events(tmp_path):
    """Return what kubectl makes of all manifests with the option chosen."""
    folder = shutil.copytree(KNATIVE, tmp_path / "knative")
    with (folder / "kustomization.yaml").open("a") as file:
        file.write("components: [events]\n")
    done = subprocess.run(
        ["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def test_who_may_write_events_may_create_them_and_nothing_else():
    given = list(yaml.safe_load_all((KNATIVE / "events/rbac.yaml").read_text("utf-8")))
    role, binding, network = given

    assert role["rules"] == [
        {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]}
    ]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert {subject["name"] for subject in binding["subjects"]} == {"context", "package"}
    assert network["spec"]["egress"][0]["to"][0]["ipBlock"]["except"] == [
        "169.254.0.0/16",
        "100.100.100.200/32",
    ]
    assert "events" not in RESOURCES  # unless an operator adds it


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_with_the_option_package_gets_a_token_and_the_setting_and_nobody_else_anything(tmp_path):
    def identity(manifest):
        meta = manifest["metadata"]
        return (manifest["apiVersion"], manifest["kind"], meta.get("namespace"), meta["name"])

    with_events = {identity(m): m for m in rendered_with_events(tmp_path)}
    without = {identity(m): m for m in MANIFESTS}

    added = {name for _, _, _, name in with_events.keys() - without.keys()}
    assert added == {"faultline-events", "package-to-api-server"}
    [account] = [m for (_, kind, _, name), m in with_events.items()
                 if (kind, name) == ("ServiceAccount", "package")]  # fmt: skip
    assert account["automountServiceAccountToken"] is True
    service = with_events["serving.knative.dev/v1", "Service", "faultline", "package"]
    assert pod_of(service)["automountServiceAccountToken"] is True
    settings = with_events["v1", "ConfigMap", "faultline", "faultline"]["data"]
    assert settings["FAULTLINE_KUBERNETES_EVENTS"] == "true"
    changed = {key[1:4:2] for key, manifest in without.items()
               if key[1] in ("ServiceAccount", "Role", "ClusterRole", "ClusterRoleBinding")
               and with_events[key] != manifest}  # fmt: skip
    assert changed == {("ServiceAccount", "package")}


# function folders


@pytest.mark.parametrize("name", STEPS)
def test_a_function_pins_what_the_lock_pins(name):
    lock = dict(
        re.findall(r"^([a-z0-9-]+)==(\S+)", (REPO / "requirements/runtime.txt").read_text(), re.M)
    )
    project = tomllib.loads((REPO / "functions" / name / "pyproject.toml").read_text())["project"]
    pins = dict(pin.split("==") for pin in project["dependencies"])

    assert project["name"] == "function"
    assert pins == {dependency: lock[dependency] for dependency in pins}
    assert "cloudevents" not in pins
    assert ("kubernetes" in pins) == (name in TOKENS)


@pytest.mark.parametrize("name", STEPS)
def test_a_function_and_its_service_are_given_the_same_room(name):
    func = yaml.safe_load((REPO / "functions" / name / "func.yaml").read_text("utf-8"))
    options = func["deploy"]["options"]
    [service] = named("Service", name)
    [container] = pod_of(service)["containers"]
    annotations = service["spec"]["template"]["metadata"]["annotations"]

    assert str(options["scale"]["max"]) == annotations["autoscaling.knative.dev/max-scale"]
    concurrency = options["resources"]["limits"].pop("concurrency")
    assert concurrency == pod_of(service)["containerConcurrency"]
    assert options["resources"] == container["resources"]
    assert func["namespace"] == service["metadata"]["namespace"]


def test_vendored_copies_are_ignored_at_the_top_and_nowhere_else():
    lines = (REPO / ".gitignore").read_text("utf-8").split()

    assert "/functions/*/vendor/" in lines
    assert not {"vendor", "vendor/", "*/vendor"} & set(lines)
    for name in STEPS:
        folder = REPO / "functions" / name
        assert (folder / ".gitignore").read_text("utf-8") == "/.func\n"
        assert not (folder / ".funcignore").exists()


# images


def test_the_images_run_as_the_user_that_the_manifests_name():
    for file in ("Dockerfile", "agent-job/Dockerfile"):
        instructions = (REPO / file).read_text("utf-8").splitlines()
        assert [i for i in instructions if i.startswith("USER ")][-1] == "USER 10001:10001"


def test_the_image_gets_what_it_copies_and_is_built_from_the_lock():
    text = (REPO / "Dockerfile").read_text("utf-8")
    allowed = {
        line[1:] for line in (REPO / ".dockerignore").read_text("utf-8").split() if line[0] == "!"
    }
    copied = {
        source.rstrip("/")
        for line in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.M)
        for source in line.split()
    }

    assert copied == allowed
    assert all((REPO / path).exists() for path in allowed)
    assert "--require-hashes --requirement requirements/runtime.txt" in text
    assert text.count("-m compileall") == 2  # ours, and the interpreter's own library
    assert "m.__cached__" in text  # and a look at whether any is missing


def test_only_the_wire_imports_the_cloudevents_sdk():
    importers = {
        path.name
        for path in (REPO / "src").rglob("*.py")
        if re.search(r"^\s*(from|import) cloudevents\b", path.read_text("utf-8"), re.M)
    }

    assert importers == {"wire.py"}


def test_the_job_of_the_agents_contract_meets_the_restricted_standard():
    text = (REPO / "agent-job" / "README.md").read_text("utf-8")
    [sink] = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    [container] = sink["spec"]["job"]["spec"]["template"]["spec"]["containers"]
    [ours] = pod_of(named("Service", "triage")[0])["containers"]

    assert container["securityContext"] == ours["securityContext"]
    assert named(
        "ServiceAccount", sink["spec"]["job"]["spec"]["template"]["spec"]["serviceAccountName"]
    )
