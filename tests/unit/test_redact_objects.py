import base64
import json

import pytest

from faultline.redact import Redactor, redact_file, redact_object
from faultline.redact.documents import dump_yaml, load_yaml

PLAIN = "correct horse battery"
ENCODED = base64.b64encode(PLAIN.encode()).decode()


def meta(name="db", **more):
    return {"name": name, "namespace": "shop", **more}


def docker(auth="c2hvcDpwYXNz"):
    return {"auths": {"registry.shop.example": {"username": "shop", "auth": auth}}}


KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "users": [{"name": "admin", "user": {"token": "abc-def", "client-key-data": ENCODED}}],
    "clusters": [{"name": "prod", "cluster": {"server": "https://10.0.0.1"}}],
}

OBJECTS = {
    "data of a Secret": {"kind": "Secret", "metadata": meta(), "data": {"password": ENCODED}},
    "stringData of a Secret": {"kind": "Secret", "metadata": meta(), "stringData": {"a": PLAIN}},
    "a Secret in a List": {"kind": "List", "items": [{"kind": "Secret", "data": {"a": ENCODED}}]},
    "a TLS key": {"kind": "Secret", "type": "kubernetes.io/tls", "data": {"tls.key": ENCODED}},
    "a service account token": {
        "kind": "Secret",
        "type": "kubernetes.io/service-account-token",
        "data": {"token": ENCODED},
    },
    "a Helm release": {"kind": "Secret", "type": "helm.sh/v1", "data": {"release": ENCODED}},
    "a Helm release in a ConfigMap": {"kind": "ConfigMap", "data": {"release": "H4sI" + ENCODED}},
    "registry credentials": docker(ENCODED),
    "registry credentials as text": {".dockerconfigjson": json.dumps(docker(ENCODED))},
    "a variable with a telling name": {"env": [{"name": "SMTP_PASSWORD", "value": PLAIN}]},
    "a variable called token": {"env": [{"name": "GITHUB_TOKEN", "value": PLAIN}]},
    "a kubeconfig": KUBECONFIG | {"users": [{"name": "a", "user": {"token": PLAIN}}]},
    "a kubeconfig in a ConfigMap": {"kind": "ConfigMap", "data": {"config": dump_yaml(KUBECONFIG)}},
    "an environment file": {"kind": "ConfigMap", "data": {".env": f"A=1\nDB_PASSWORD={ENCODED}\n"}},
    "an annotation that repeats the object": {
        "metadata": meta(
            annotations={"kubectl.kubernetes.io/last-applied-configuration": ENCODED}
        )
    },
    "JSON in an annotation": {"metadata": meta(annotations={"x": json.dumps({"password": PLAIN})})},
    "an argument": {"args": ["--password", PLAIN, "--verbose"]},
    "an argument with its value": {"args": [f"--password={ENCODED}"]},
    "a field of a custom resource": {"kind": "Database", "spec": {"x": {"adminPassword": PLAIN}}},
    "a rollout that changed a password": {
        "field": "spec.template.spec.containers[name=a].env[name=DB_PASSWORD].value",
        "before": PLAIN,
        "after": ENCODED,
    },
}  # fmt: skip


@pytest.mark.covers("RED-03")
@pytest.mark.parametrize("what", OBJECTS)
def test_by_structure_no_secret_of_an_object_is_left(what):
    cleaned = json.dumps(redact_object(OBJECTS[what]))

    assert PLAIN not in cleaned
    assert ENCODED not in cleaned
    assert "abc-def" not in cleaned
    assert "[REDACTED:" in cleaned


def test_keys_and_sizes_of_a_secret_stay():
    secret = {"kind": "Secret", "metadata": meta(), "data": {"password": ENCODED}}

    cleaned = redact_object(secret)

    assert list(cleaned["data"]) == ["password"]
    assert cleaned["data"]["password"].endswith(f" {len(PLAIN)} bytes")
    assert redact_object(cleaned) == cleaned


@pytest.mark.parametrize(
    "value",
    [
        {"name": "DB_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "PASSWORD"}}},
        {"volumes": [{"name": "tls", "secret": {"secretName": "checkout-tls"}}]},
        {"imagePullSecrets": [{"name": "registry-credentials"}]},
        {"automountServiceAccountToken": False, "expirationSeconds": 3607},
        {"name": "LOG_LEVEL", "value": "info"},
        {"name": "DATABASE_URL", "value": "postgres://db.shop.svc:5432/shop"},
        {"name": "DB_PASSWORD", "value": "$(OTHER_VARIABLE)"},
        {"name": "MAX_TOKENS", "value": "4096"},
        {"image": "ghcr.io/shop/api@sha256:" + "0123abcd" * 8, "uid": "5c1e9b2a" + "-0000" * 3},
        {"reason": "FailedMount", "message": 'secret "checkout-token" not found'},
        {"kind": "Secret", "data": {"password": "16 bytes"}},
    ],
)  # fmt: skip
def test_references_names_and_sizes_are_evidence_and_stay(value):
    assert redact_object(value) == value


def test_a_file_without_secrets_comes_back_byte_for_byte():
    odd = (
        b'kind: Pod\nmetadata: {name: "a",   labels: {}}   # as written\nat: 2026-11-21T10:00:00Z\n'
    )

    assert redact_file("context/objects/pod/a.yaml", odd) == odd
    assert redact_file("context/event.json", b'{"a":   1.0}') == b'{"a":   1.0}'


def test_a_yaml_file_stays_yaml_when_a_value_goes():
    data = dump_yaml(
        {"env": [{"name": "DB_PASSWORD", "value": PLAIN}, {"name": "A", "value": "on"}]}
    )

    cleaned = redact_file("pod.yaml", data.encode()).decode()

    (value,) = load_yaml(cleaned)
    assert PLAIN not in cleaned
    assert value["env"][1] == {"name": "A", "value": "on"}


@pytest.mark.parametrize("name", ["a.json", "a.yaml", "a.jsonl", "a.txt"])
def test_a_file_that_is_not_what_it_says_is_read_as_text(name):
    cleaned = redact_file(name, f"{{]: password={ENCODED} \t\n".encode())

    assert ENCODED.encode() not in cleaned


def test_each_line_of_a_jsonl_file_is_an_object():
    lines = [
        json.dumps({"tool": "get", "answer": {"kind": "Secret", "data": {"a": ENCODED}}}),
        "{}",
    ]

    cleaned = redact_file("tools.jsonl", "\n".join(lines).encode()).decode()

    assert ENCODED not in cleaned
    assert cleaned.endswith("\n{}")


def test_an_object_that_was_cleaned_and_is_read_as_text_stays_as_it_is() -> None:
    variable = {"name": "DB_PASSWORD", "value": "c4n4ry-environment-9f8e7d6c5b4a"}
    pod = {"kind": "Pod", "spec": {"containers": [{"name": "app", "env": [variable]}]}}
    gate = Redactor("20261121-api-5c1e9b2a")

    text = dump_yaml(gate.object(pod))

    assert "c4n4ry" not in text
    assert gate.text(text) == text
    assert gate.object({"answer": text}) == {"answer": text}
