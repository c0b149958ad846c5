"""Markup from outside, in our pages and our Markdown: it is shown, and adds nothing to them."""

from __future__ import annotations

from collections import Counter
from html.parser import HTMLParser

import payloads
import pytest
from casebook import PROVED, Casebook, fault
from markdown_it import MarkdownIt
from test_web import Console

from faultline import views
from faultline.adapters.outlets.email import mail
from faultline.model import Action, Diagnosis, Evidence
from faultline.views import load, report_of

PAYLOADS = payloads.html()
HARMLESS = [f"nothing in number {n}" for n in range(len(PAYLOADS))]
# what our own Markdown is made of: no link, image, form or script among it
OURS = {
    "h1",
    "h2",
    "h3",
    "h4",
    "p",
    "ul",
    "ol",
    "li",
    "code",
    "pre",
    "strong",
    "em",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "hr",
    "br",
    "blockquote",
}


class Dom(HTMLParser):
    """Counts elements and their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.nodes: Counter[tuple[str, ...]] = Counter()
        self.addresses: set[str] = set()
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.nodes[(tag, *(name for name, _ in attrs))] += 1
        self.addresses |= {
            value or "" for name, value in attrs if name in ("href", "src", "action")
        }


def diagnosed(texts: list[str]) -> Diagnosis:
    """Return a diagnosis that says each text, everywhere where an agent may say something."""
    return PROVED.model_copy(
        update={
            "title": texts[0],
            "summary": texts[1],
            "root_cause": texts[2],
            "witty_line": texts[3][:60],
            "alternatives": tuple(texts),
            "actions": tuple(Action(action=t, check=t, way_back=t) for t in texts),
            "evidence": tuple(Evidence(file="context/logs.txt", quote=t) for t in texts[:10]),
        }
    )


def told(texts: list[str]) -> tuple[Console, str]:
    console = Console()
    id = console.book.packaged(fault(summary=texts[4]), diagnosis=diagnosed(texts))
    views.write(console.incidents, id, 1)
    return console, id


@pytest.mark.covers("UI-04")
def test_no_payload_adds_an_element_or_an_attribute_to_a_page() -> None:
    bad, bad_id = told(PAYLOADS)
    good, good_id = told(HARMLESS)
    pages = ("", "/report", "/files/runs/1/output/diagnosis.json")

    for path in pages:
        hostile = Dom(bad.get(f"/incidents/{bad_id}{path}").text)
        plain = Dom(good.get(f"/incidents/{good_id}{path}").text)

        assert len(PAYLOADS) >= 223
        assert hostile.nodes.keys() == plain.nodes.keys(), path
        assert {n: c for n, c in hostile.nodes.items() if c != plain.nodes[n]} == {}, path
        assert not [a for a in hostile.addresses if "canary" in a or "script" in a.lower()], path


@pytest.mark.covers("UI-04")
def test_the_page_of_any_one_payload_has_the_elements_of_a_harmless_one() -> None:
    console, plain = Console(), None
    for n, payload in enumerate(["nothing in it", *PAYLOADS[:: len(PAYLOADS) // 12]]):
        id = console.book.packaged(
            fault(condition=str(n), summary=payload), diagnosis=diagnosed([payload] * 5)
        )
        seen = Dom(console.get(f"/incidents/{id}").text).nodes
        plain = plain or seen

        assert seen.keys() == plain.keys(), payload


@pytest.mark.covers("UI-04")
def test_our_markdown_makes_of_a_payload_what_it_makes_of_a_word() -> None:
    markdown = MarkdownIt("commonmark", {"html": True}).enable("table")

    def page(texts: list[str]) -> Dom:
        book = Casebook(Console().incidents)
        id = book.packaged(fault(summary=texts[4]), diagnosis=diagnosed(texts))
        report = report_of(load(book.incidents, id), 1)
        return Dom(markdown.render(report.text) + markdown.render(report.message))

    hostile = Dom("")
    for start in range(0, len(PAYLOADS), 40):
        seen = page((PAYLOADS[start:] + PAYLOADS)[:40])
        hostile.nodes += seen.nodes
        hostile.addresses |= seen.addresses
    plain = page(HARMLESS[:20])

    assert {node[0] for node in hostile.nodes} <= OURS | {node[0] for node in plain.nodes}
    assert {node for node in hostile.nodes if len(node) > 1} <= set(plain.nodes)
    assert hostile.addresses <= plain.addresses


@pytest.mark.covers("UI-04")
def test_mail_is_made_of_the_same_few_elements_whatever_it_says() -> None:
    book = Casebook(Console().incidents)
    known = {
        "html",
        "head",
        "meta",
        "title",
        "body",
        "h2",
        "p",
        "strong",
        "table",
        "tr",
        "th",
        "td",
        "br",
        "small",
        "pre",
        "a",
    }
    for n, payload in enumerate(PAYLOADS[::20]):
        id = book.packaged(
            fault(condition=str(n), summary=payload), diagnosis=diagnosed([payload] * 5)
        )
        seen = Dom(mail(report_of(load(book.incidents, id), 1))["html"])

        assert {node[0] for node in seen.nodes} <= known
        assert not [a for a in seen.addresses if "canary" in a or "script" in a.lower()]
