"""One field's bytes change, and nothing else does."""

from __future__ import annotations

import difflib
import time
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from faultline import fields, splice
from faultline.errors import Rejected
from faultline.model import Change, Target

API = Target(kind="Deployment", name="api", namespace="shop")
MEMORY = "spec.template.spec.containers[name=api].resources.limits.memory"

DEPLOYMENT = """\
# who to ask: the shop team
apiVersion: apps/v1
kind: Deployment
metadata:
  name: api      # the shop's front
  namespace: shop
spec:
  replicas: 2
  template:
    spec:
      containers:
      - name: sidecar
        resources: {limits: {memory: 64Mi}}
      - name: api
        image: "registry.example/api:1.4"
        env:
        - {name: PORT, value: '8080'}
        resources:
          limits:
            memory: 64Mi   # was enough in 2024

            cpu: "1"
"""


def change(after: Any, field: str = MEMORY, target: Target = API) -> Change:
    return Change(target=target, field=field, after=after)


def applied(text: str, changed: Change, path: str = "deploy/api.yaml") -> str:
    made = splice.apply({path: text.encode()}, changed)
    assert list(made) == [path]
    return made[path].decode()


@pytest.mark.covers("S3-53")
def test_only_the_bytes_of_the_value_change() -> None:
    text = applied(DEPLOYMENT, change("256Mi"))

    assert text == DEPLOYMENT.replace("64Mi   # was", "256Mi   # was")


@pytest.mark.parametrize(
    ("field", "after", "old", "new"),
    [
        ("spec.replicas", 3, "replicas: 2", "replicas: 3"),
        (
            "spec.template.spec.containers[name=api].resources.limits.cpu",
            "2",
            'cpu: "1"',
            'cpu: "2"',
        ),
        (
            "spec.template.spec.containers[name=api].env[name=PORT].value",
            "9090",
            "'8080'",
            "'9090'",
        ),
        (
            "spec.template.spec.containers[name=sidecar].resources.limits.memory",
            "128Mi",
            "{memory: 64Mi}",
            "{memory: 128Mi}",
        ),
        (
            "spec.template.spec.containers[1].image",
            "registry.example/api:1.3",
            "api:1.4",
            "api:1.3",
        ),
    ],
)
def test_quotes_and_braces_stay_as_people_wrote_them(
    field: str, after: Any, old: str, new: str
) -> None:
    assert applied(DEPLOYMENT, change(after, field)) == DEPLOYMENT.replace(old, new)


def test_line_ends_of_windows_and_a_byte_order_mark_stay() -> None:
    text = "\ufeff" + DEPLOYMENT.replace("\n", "\r\n")

    assert applied(text, change("256Mi")) == text.replace("64Mi   # was", "256Mi   # was")


def test_a_file_without_a_last_newline_stays_without() -> None:
    text = "kind: Deployment\nmetadata:\n  name: api\nspec:\n  replicas: 2"

    assert applied(text, change(3, "spec.replicas")) == text[:-1] + "3"
    assert applied(text, change(5, "spec.revisionHistoryLimit")) == (
        text + "\n  revisionHistoryLimit: 5"
    )


def test_the_other_documents_of_a_file_stay() -> None:
    other = DEPLOYMENT.replace("name: api ", "name: web ")
    text = f"---\n{other}---\n# second\n{DEPLOYMENT}...\n---\n{other.replace('web', 'job')}"

    made = applied(text, change(5, "spec.replicas"))

    head, tail = text.split("# second\n")
    assert made == head + "# second\n" + tail.replace("replicas: 2", "replicas: 5", 1)


def test_an_object_in_a_list_is_found() -> None:
    text = (
        "apiVersion: v1\nkind: List\nitems:\n- kind: Deployment\n  metadata: {name: web}\n"
        "- kind: Deployment\n  metadata: {name: api}\n  spec: {replicas: 2}\n"
    )

    assert applied(text, change(3, "spec.replicas")) == text.replace("2}", "3}")


@pytest.mark.parametrize(
    ("after", "written"),
    [
        ("yes", '"yes"'),
        ("010", '"010"'),
        ("1e3", '"1e3"'),
        ("1:30", '"1:30"'),
        ("0o17", '"0o17"'),
        ("2024-01-01", '"2024-01-01"'),
        ("null", '"null"'),
        ("a: b", '"a: b"'),
        ("a #b", '"a #b"'),
        ("*ref", '"*ref"'),
        ("", '""'),
        ("/healthz", "/healthz"),
        ("500m", "500m"),
        (8080, "8080"),
    ],
)
def test_a_new_value_is_quoted_where_parsers_would_read_it_differently(
    after: Any, written: str
) -> None:
    text = "kind: Deployment\nmetadata: {name: api}\nspec:\n  it: old # kept\n"

    assert applied(text, change(after, "spec.it")) == text.replace("old", written)


# what is missing is added


def test_a_missing_key_is_added_after_the_last_one_of_its_mapping() -> None:
    text = applied(DEPLOYMENT, change("128Mi", MEMORY.replace("memory", "ephemeral-storage")))

    assert text == DEPLOYMENT + "            ephemeral-storage: 128Mi\n"


def test_missing_parents_are_added_with_the_indentation_of_the_file() -> None:
    bare = DEPLOYMENT[: DEPLOYMENT.index("        resources:\n")] + "      # end of containers\n"

    text = applied(bare, change("256Mi"))

    assert text == bare.replace(
        "      # end",
        "        resources:\n          limits:\n            memory: 256Mi\n      # end",
    )


def test_a_key_is_added_below_a_block_of_text_and_before_the_next_container() -> None:
    text = (
        "kind: Deployment\nmetadata:\n    name: api\nspec:\n    template:\n        spec:\n"
        "            containers:\n            - name: api\n              args:\n"
        "              - |\n                long\n                text\n\n"
        "            - name: next\n"
    )

    made = applied(text, change("256Mi"))

    inserted = (
        "              resources:\n                  limits:\n                      memory: 256Mi\n"
    )
    assert made == text.replace("text\n\n", f"text\n{inserted}\n")  # and the blank line stays below


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("resources: {}", "resources: {limits: {memory: 256Mi}}"),
        ("resources: {limits: {}}", "resources: {limits: {memory: 256Mi}}"),
        ("resources: { limits: {cpu: 1} }", "resources: { limits: {cpu: 1, memory: 256Mi} }"),
        ("resources: {a: b}", "resources: {a: b, limits: {memory: 256Mi}}"),
        (
            "resources:   # none",
            "resources:   # none\n          limits:\n            memory: 256Mi",
        ),
        ("resources:", "resources:\n          limits:\n            memory: 256Mi"),
        ("resources: {limits: {memory: }}", "resources: {limits: {memory: 256Mi}}"),
    ],
)
def test_a_key_is_added_to_braces_and_to_nothing(old: str, new: str) -> None:
    bare = DEPLOYMENT[: DEPLOYMENT.index("        resources:\n")]

    made = applied(f"{bare}        {old}\n", change("256Mi"))

    assert yaml.safe_load(made) == yaml.safe_load(f"{bare}        {new}\n")
    assert made.startswith(bare)


# what is refused


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("name: api ", "name: other ", "found none"),
        ("kind: Deployment", "kind: StatefulSet", "found none"),
        ("namespace: shop", "namespace: test", "found none"),
        ("memory: 64Mi   #", "memory: {{ .Values.memory }}   #", "template"),
        ("memory: 64Mi   #", 'memory: "{{ .Values.memory }}"   #', "template"),
        ("memory: 64Mi   #", "memory: &m 64Mi\n            other: *m   #", "alias"),
        ("limits:\n", "limits: &l\n", ""),
        ("limits:\n            memory: 64Mi", "limits:\n            <<: {memory: 64Mi}", "merge"),
        (
            "limits:\n            memory: 64Mi",
            "limits:\n            !!merge m: {memory: 64Mi}",
            "merge",
        ),
        ("replicas: 2", "replicas: 2\n  replicas: 2", "each key once"),
        ("memory: 64Mi   #", "memory: >-\n              64Mi\n            #", "one line"),
        ("memory: 64Mi   #", 'memory: "64Mi\n              "   #', "one line"),
        ("memory: 64Mi   #", "memory:\t64Mi   #", "token"),
        ("memory: 64Mi   #", "memory: 64Mi\t#", "token"),
        ("memory: 64Mi   #", "memory: !!str 64Mi   #", "tag"),
        ("memory: 64Mi   #", "memory: [64Mi]   #", "single value"),
        ("replicas: 2", "replicas: !custom 2", "YAML"),
        ("# who", "sops: {mac: x}\n# who", "encrypted"),
        ("- name: sidecar", "- name: api", "found 2"),
        ("- name: sidecar", "- name: [", "YAML"),
    ],
)
def test_what_has_no_place_of_its_own_is_refused(old: str, new: str, reason: str) -> None:
    text = DEPLOYMENT.replace(old, new)
    assert text != DEPLOYMENT

    if not reason:
        assert applied(text, change("256Mi")) == text.replace("64Mi   #", "256Mi   #")
        return
    with pytest.raises(Rejected, match=reason):
        splice.apply({"deploy/api.yaml": text.encode()}, change("256Mi"))


def test_a_shared_block_is_refused_and_its_anchor_with_it() -> None:
    text = DEPLOYMENT.replace("limits:\n            memory", "limits: &l\n            memory")
    text += "        other: *l\n"

    with pytest.raises(Rejected, match="alias"):
        splice.apply({"a.yaml": text.encode()}, change("256Mi"))


def test_an_anchor_that_nobody_uses_is_kept() -> None:
    text = DEPLOYMENT.replace("memory: 64Mi   ", "memory: &mine 64Mi   ")

    assert "memory: &mine 256Mi   # was" in applied(text, change("256Mi"))


@pytest.mark.parametrize("after", [None, ["x"], {"a": 1}, "two\nlines", "bell\x07"])
def test_a_removal_and_a_value_that_is_no_single_line_are_refused(after: Any) -> None:
    with pytest.raises(Rejected):
        splice.apply({"a.yaml": DEPLOYMENT.encode()}, change(after))


@pytest.mark.parametrize(
    "field",
    [
        "spec.template.spec.containers[name=gone].resources.limits.memory",
        "spec.template.spec.containers[name=gone].env[name=X].value",
        "spec.template.spec.containers[name=api].env[2].value",
        "spec.template.spec.volumes[name=config].configMap.name",
    ],
)
def test_an_item_of_a_list_that_does_not_grow_is_never_added(field: str) -> None:
    with pytest.raises(Rejected, match="no such item"):
        splice.apply({"a.yaml": DEPLOYMENT.encode()}, change("1Gi", field))


NEW = "spec.template.spec.containers[name=api].env[name=NEW].value"
WITH_ENV = """\
kind: Deployment
metadata: {name: api}
spec:
  template:
    spec:
      containers:
      - name: api
        ENV
        image: api:1  # stays
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "env:\n        - name: A  # first\n          value: b",
            "env:\n        - name: A  # first\n          value: b\n"
            "        - name: NEW\n          value: x/y",
        ),
        (
            "env:\n          -   name: A\n              value: b\n\n        # the image",
            "env:\n          -   name: A\n              value: b\n"
            "          - name: NEW\n            value: x/y\n\n        # the image",
        ),
        ("env: []  # none", "env: [{name: NEW, value: x/y}]  # none"),
        (
            "env: [{name: A, value: b}]",
            "env: [{name: A, value: b}, {name: NEW, value: x/y}]",
        ),
        ("env:  # none", "env:  # none\n        - name: NEW\n          value: x/y"),
        (
            "ports: [{containerPort: 80}]",
            "ports: [{containerPort: 80}]",
        ),
    ],
    ids=["block", "indented", "empty", "flow", "nothing", "missing"],
)
def test_a_variable_is_added_to_its_list_in_the_style_of_the_file(before: str, after: str) -> None:
    text = WITH_ENV.replace("ENV", before)

    made = applied(text, change("x/y", NEW))

    expected = WITH_ENV.replace("ENV", after)
    if "env:" not in before:
        expected += "        env:\n        - name: NEW\n          value: x/y\n"
    assert made == expected


def test_a_reference_of_a_new_variable_is_added_key_by_key() -> None:
    text = WITH_ENV.replace("        ENV\n", "").replace("\n", "\r\n")
    reference = NEW.replace("value", "valueFrom.configMapKeyRef")

    made = applied(
        applied(text, change("conf", f"{reference}.name")), change("k", f"{reference}.key")
    )

    added = ["env:", "- name: NEW", "  valueFrom:", "    configMapKeyRef:", "      name: conf"]
    lines = "".join(f"        {line}\r\n" for line in [*added, "      key: k"])
    assert made == text + lines


@pytest.mark.parametrize(
    ("env", "reason"),
    [
        ("env: &e\n        - {name: A, value: b}\n        also: *e", "alias"),
        ("env:\n        - &a {name: A, value: b}\n        - *a", "alias"),
        ("<<: {env: [{name: A, value: b}]}", "merge"),
        ("env: {A: b}", "something else"),
        ("env: &e", "anchor"),
        ("env: {{ .Values.env }}", "template"),
    ],
)
def test_a_list_that_cannot_be_added_to_safely_is_refused(env: str, reason: str) -> None:
    with pytest.raises(Rejected, match=reason):
        splice.apply({"a.yaml": WITH_ENV.replace("ENV", env).encode()}, change("x", NEW))


def test_two_files_with_the_object_are_named_and_refused() -> None:
    files = {"b/api.yaml": DEPLOYMENT.encode(), "a/api.yaml": DEPLOYMENT.encode()}

    with pytest.raises(Rejected, match=r"found 2: a/api.yaml, b/api.yaml"):
        splice.apply(files, change("256Mi"))
    assert splice.locate(files, API) == ["a/api.yaml", "b/api.yaml"]


def test_the_value_that_stands_there_already_changes_no_file() -> None:
    assert splice.apply({"a.yaml": DEPLOYMENT.encode()}, change("64Mi")) == {}


def test_another_file_that_nobody_can_read_does_not_matter() -> None:
    files = {
        "api.yaml": DEPLOYMENT.encode(),
        "broken.yaml": b"kind: Deployment\nfor: api\n  x: [",
        "latin.yaml": b"kind: Deployment # api \xff",
        "charts/x/Chart.yaml": b"name: x",
        "charts/x/templates/d.yaml": b"kind: Deployment\nmetadata:\n  name: {{ .x }}-api",
    }

    assert list(splice.apply(files, change("256Mi"))) == ["api.yaml"]


def test_a_helm_chart_with_the_object_is_refused() -> None:
    files = {"charts/x/Chart.yaml": b"name: x", "charts/x/templates/d.yaml": DEPLOYMENT.encode()}

    with pytest.raises(Rejected, match="Helm"):
        splice.apply(files, change("256Mi"))


@pytest.mark.parametrize(
    "bomb",
    [
        "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)),
        "deep: " + "[" * 5_000 + "]" * 5_000 + "\n",
        "self: &self [*self]\n",
    ],
    ids=["aliases", "depth", "recursion"],
)
def test_a_bomb_is_refused_before_it_opens(bomb: str) -> None:
    began = time.monotonic()

    with pytest.raises(Rejected):
        splice.apply({"a.yaml": (DEPLOYMENT + bomb).encode()}, change("256Mi"))

    assert time.monotonic() - began < 10


# kustomize

BASE = DEPLOYMENT.replace("  namespace: shop\n", "").encode()
PATCH = b"""\
kind: Deployment
metadata: {name: api}
spec:
  template:
    spec:
      containers:
      - name: api
        resources:
          limits:
            memory: 96Mi  # this deployment only
"""


def overlays(**more: bytes) -> dict[str, bytes]:
    files = {
        "base/kustomization.yaml": b"resources: [api.yaml]\n",
        "base/api.yaml": BASE,
        "prod/kustomization.yaml": b"namespace: shop\nresources: [../base]\n",
    }
    return files | {name.replace("__", "/") + ".yaml": text for name, text in more.items()}


def test_a_base_of_one_overlay_is_changed_where_it_stands() -> None:
    assert list(splice.apply(overlays(), change("256Mi"))) == ["base/api.yaml"]


def test_a_base_that_two_overlays_share_is_refused() -> None:
    files = overlays(test__kustomization=b"namespace: test\nresources: [../base]\n")

    with pytest.raises(Rejected, match="shared by prod, test"):
        splice.apply(files, change("256Mi"))


def test_the_patch_that_sets_the_field_is_changed_instead_of_the_base() -> None:
    files = overlays(
        prod__kustomization=b"namespace: shop\nresources: [../base]\npatches: [{path: mem.yaml}]\n",
        prod__mem=PATCH,
        test__kustomization=b"namespace: test\nresources: [../base]\n",
    )

    made = splice.apply(files, change("256Mi"))

    assert made == {"prod/mem.yaml": PATCH.replace(b"96Mi", b"256Mi")}
    assert splice.current(files, change("256Mi")) == "96Mi"


def test_a_patch_in_another_overlay_with_another_namespace_does_not_count() -> None:
    files = overlays(
        test__kustomization=b"namespace: test\nresources: [api.yaml]\npatches: [{path: m.yaml}]\n",
        test__api=BASE,
        test__m=PATCH,
    )

    assert list(splice.apply(files, change("256Mi"))) == ["base/api.yaml"]


def test_an_inline_patch_of_the_field_is_changed_where_it_stands() -> None:
    text = PATCH.decode().replace("\n", "\n    ").rstrip()
    kustomization = f"resources: [../base]\npatches:\n- patch: |\n    {text}\n# end\n".encode()

    made = splice.apply(overlays(prod__kustomization=kustomization), change("256Mi"))

    assert made == {"prod/kustomization.yaml": kustomization.replace(b"96Mi", b"256Mi")}


def test_the_images_transformer_gets_the_tag() -> None:
    kustomization = (
        b"resources: [../base]\nimages:\n- name: registry.example/api\n  newTag: '1.4' # here\n"
    )
    files = overlays(prod__kustomization=kustomization)
    field = "spec.template.spec.containers[name=api].image"

    made = splice.apply(files, change("registry.example/api:1.3", field))

    assert made == {"prod/kustomization.yaml": kustomization.replace(b"1.4", b"1.3")}
    with pytest.raises(Rejected, match="another tag of the same image"):
        splice.apply(files, change("registry.example/other:1.3", field))


def test_the_replicas_transformer_gets_the_number() -> None:
    kustomization = b"resources: [../base]\nreplicas:\n- {name: api, count: 4}\n"
    files = overlays(prod__kustomization=kustomization)

    made = splice.apply(files, change(6, "spec.replicas"))

    assert made == {"prod/kustomization.yaml": kustomization.replace(b"4", b"6")}


def test_a_ring_of_kustomizations_ends() -> None:
    files = overlays(base__kustomization=b"resources: [api.yaml, ../prod]\n")

    assert list(splice.apply(files, change("256Mi"))) == ["base/api.yaml"]


# whatever it is, only the target changes

names = st.text("abcxyz", min_size=1, max_size=6)
scalars = st.one_of(
    st.integers(-5, 99_999),
    st.booleans(),
    st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=20),
)
trees = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3), st.dictionaries(names, inner, min_size=1)
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(
    spec=st.dictionaries(names, trees, min_size=1, max_size=4),
    flow=st.sampled_from([True, False, None]),
    style=st.sampled_from([None, "'", '"']),
    width=st.sampled_from([20, 4_000]),
    line_break=st.sampled_from(["\n", "\r\n"]),
    after=st.one_of(st.integers(0, 99), st.text(st.characters(codec="utf-8"), max_size=30)),
    place=st.integers(0, 100),
)
def test_whatever_the_file_looks_like_only_the_target_changes(
    spec: dict[str, Any],
    flow: bool | None,
    style: str | None,
    width: int,
    line_break: str,
    after: Any,
    place: int,
) -> None:
    value = {"kind": "Deployment", "metadata": {"name": "api"}, "spec": spec}
    text = "# first\n" + yaml.safe_dump(
        value,
        default_flow_style=flow,
        default_style=style,
        width=width,
        line_break=line_break,
        allow_unicode=True,
        sort_keys=False,
    )
    paths = [*leaves(spec, ("spec",)), ("spec", "zz"), ("spec", "zz", "yy")]
    path = paths[place % len(paths)]

    try:
        made = splice.apply({"a.yaml": text.encode()}, change(after, fields.text(path)))
    except Rejected:
        return

    new = made.get("a.yaml", text.encode()).decode()
    assert repr(yaml.safe_load(new)) == repr(fields.replaced(value, path, after))
    assert new.startswith("# first\n")


def leaves(value: Any, path: fields.Path) -> list[fields.Path]:
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in leaves(inner, (*path, key))]
    if isinstance(value, list):
        return [leaf for i, inner in enumerate(value) for leaf in leaves(inner, (*path, i))]
    return [path]


COMMENT = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=12)


@st.composite
def manifests(draw: st.DrawFn) -> str:
    """Manifests as people write them: comments, anchors, styles and blank lines everywhere."""
    step = draw(st.sampled_from([2, 3, 4]))
    dash = draw(st.sampled_from([0, 2]))
    quote = draw(st.sampled_from(["", "'", '"']))
    note = draw(COMMENT)
    other = draw(st.sampled_from(["---\nkind: Service\nmetadata: {name: api}\n", "", "--- # x\n"]))
    env = draw(
        st.sampled_from(
            [
                ["env: [{name: A, value: b}]  # flow"],
                ["env:", "- name: A", "  value: >-", "    long", "    text", "", "# after"],
                ["env:", "# before", "- {name: A, value: b}", "- name: B", "  value: |", "    x"],
                ["env: &env", "- name: A", '  value: "b: # no comment"'],
                ["env:", "-   name: A", "    value: b", "-   value: c", "    name: C"],
                ["env:"],
                ["env: []"],
                ["env: ~"],
                [],
            ]
        )
    )
    long = "x " * draw(st.integers(0, 300))
    container = [
        "- name: side",
        f"  args: ['{long}', \"{{}}: [\", '- name: api']",
        f"- name: {quote}api{quote}  # {note}",
        "  resources: &r  # anchor that nobody uses",
        f"    limits: {{cpu: 1, memory: {quote}64Mi{quote}}}",
        *(f"  {line}" if line else "" for line in env),
        "  livenessProbe: {httpGet: {port: 80}}" if draw(st.booleans()) else "  tty: true",
    ]
    pad = " " * step
    lines = [
        f"# {note}",
        "kind: Deployment",
        "metadata:",
        f"{pad}name: api",
        "spec:",
        f"{pad}template:",
        f"{pad * 2}spec:",
        f"{pad * 3}containers:",
        *(" " * (step * 3 + dash) + line if line else "" for line in container),
        draw(st.sampled_from(["", "# the end", "status: {}"])),
    ]
    end = draw(st.sampled_from(["\n", "\r\n"]))
    tail = draw(st.sampled_from(["", end, end * 3]))
    return (
        draw(st.sampled_from(["", "\ufeff"]))
        + end.join([*other.splitlines(), "---", *lines])
        + tail
    )


FIELDS = (
    "env[name=A].value",
    "env[name=NEW].value",
    "env[name=NEW].valueFrom.configMapKeyRef.key",
    "resources.limits.memory",
    "resources.requests.memory",
    "startupProbe.tcpSocket.port",
    "livenessProbe.timeoutSeconds",
    "livenessProbe.httpGet.port",
    "tty",
)


@settings(max_examples=200, deadline=None)
@given(
    text=manifests(),
    field=st.sampled_from(FIELDS),
    after=st.sampled_from(["256Mi", "on", "a: b", "it's", "#x", "1e3", 8080, "{{", "ü €", "a\\b"]),
)
def test_whatever_people_wrote_around_it_stays_byte_for_byte(
    text: str, field: str, after: Any
) -> None:
    path = fields.parse(f"spec.template.spec.containers[name=api].{field}")
    before = list(yaml.safe_load_all(text))
    number = next(n for n, value in enumerate(before) if (value or {}).get("kind") == API.kind)

    try:
        made = splice.apply({"a.yaml": text.encode()}, change(after, fields.text(path)))
    except Rejected:
        return

    new = made.get("a.yaml", text.encode()).decode()
    expected = [value for value in before if value is not None]
    number -= sum(value is None for value in before[:number])
    expected[number] = fields.replaced(expected[number], path, after)
    assert repr([value for value in yaml.safe_load_all(new) if value is not None]) == repr(expected)
    old_lines, new_lines = text.split("\n"), new.split("\n")
    blocks = difflib.SequenceMatcher(None, old_lines, new_lines, False).get_matching_blocks()
    kept = sum(block.size for block in blocks)
    assert len(old_lines) - kept <= 1  # at most one line is another one; the rest is only added
