"""Which cluster is meant: the file that KUBECONFIG names, or a refusal that says what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from faultline.adapters import kubeconfig
from faultline.errors import Rejected

GOOD = """\
apiVersion: v1
kind: Config
current-context: here
clusters: [{name: k, cluster: {server: "http://127.0.0.1:16443"}}]
users: [{name: u, user: {token: planted-token}}]
contexts: [{name: here, context: {cluster: k, user: u}}]
"""


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that KUBECONFIG names, not yet written."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "named"))
    return tmp_path / "named"


@pytest.mark.covers("S1-094")
def test_the_file_that_is_named_says_which_cluster_and_who_we_are(named: Path) -> None:
    named.write_text(GOOD, "utf-8")

    http, headers = kubeconfig.connection()

    assert str(http.base_url) == "http://127.0.0.1:16443"
    assert headers() == {"authorization": "Bearer planted-token"}
    http.close()


@pytest.mark.covers("S1-094")
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "file is empty"),
        ("planted-token", "got TypeError"),
        ("- planted-token", "got TypeError"),
        ("users: [planted-token", "got ParserError"),
        (b"\xff\xfeplanted-token", "got UnicodeDecodeError"),
        (GOOD.replace("current-context: here", "current-context: there"), "there"),
        (GOOD.replace("cluster: k,", "cluster: other,"), "other"),
        (GOOD.replace("server: ", "sever: "), "a cluster with a server in"),
        (None, "expected to run in a cluster, or a KUBECONFIG"),
    ],
)
def test_a_file_that_cannot_be_one_is_refused_and_not_quoted(
    named: Path, text: str | bytes | None, says: str
) -> None:
    if text is not None:
        named.write_bytes(text if isinstance(text, bytes) else text.encode())

    with pytest.raises(Rejected) as caught:
        kubeconfig.load()

    assert says in str(caught.value)
    assert "planted-token" not in str(caught.value)


def test_a_folder_is_no_kubeconfig(named: Path) -> None:
    named.mkdir()

    with pytest.raises(Rejected, match="got IsADirectoryError"):
        kubeconfig.load()
