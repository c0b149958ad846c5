"""Text from outside, made harmless for the place where it is shown. Pure.

Names, logs and messages of a cluster are written by strangers, and so is what an agent makes of
them. Nothing hidden stays hidden, nothing acts: no links, images, HTML, mentions or references in
Markdown, no escape sequences in a terminal, no way out of a code block. HTML is escaped by the
templates themselves. Who calls what: `render.py`.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

# What a reader cannot see, or what turns or hides the text around it: control characters (also of
# terminals), soft hyphen, fillers, zero-width, bidirectional and line separators, variation
# selectors, tags, surrogates.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb"
    "\ud800-\udfff\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_ACTS = (
    (re.compile(r"://"), "[:]//"),  # addresses become links by themselves
    (re.compile(r"\b(www)\.", re.IGNORECASE), r"\1[.]"),
    (re.compile(r"\b(mailto|xmpp|javascript|data|tel):", re.IGNORECASE), r"\1[:]"),
    (re.compile(r"@"), "(at)"),  # a mention notifies people
    (re.compile(r"#(?=\w)"), "# "),  # a reference may close an issue
    (re.compile(r"\b(GH)-(?=\d)", re.IGNORECASE), r"\1 "),
    (re.compile(r"!(?=\d)"), "! "),  # GitLab's merge requests
)
_MAY_ACT = re.compile(r"[:.@#!-]")  # no pattern above matches without one of these
_MARKDOWN = re.compile(r"[\\`*\[\]<>|~&$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_BLOCK = re.compile(r"^(\d*)([-+=#:.)])")
_BRACKETS = {ord("<"): "\u2039", ord(">"): "\u203a", ord("`"): "'"}
_CODE = re.compile(r"`([^`\n]+)`")
_FORGED = re.compile(r"[<\uff1c]{3,}|[>\uff1e]{3,}")


def visible(text: str) -> str:
    """Return the text with all that is hidden written out, such as `[U+200B]`. Lines stay."""
    plain = text.replace("\r\n", "\n")
    return _HIDDEN.sub(lambda found: f"[U+{ord(found[0]):04X}]", plain)


def one_line(text: str, chars: int = 500) -> str:
    """Return the text in one visible line, cut after `chars` characters with an ellipsis."""
    line = visible(" ".join(text.split()))
    return line if len(line) <= chars else line[: chars - 1].rstrip() + "…"


def inert(text: str, chars: int = 500) -> str:
    """Return one line that acts nowhere: for titles and messages, without any markup."""
    line = _defused(one_line(text, chars)).translate(_BRACKETS)
    return line.replace("](", "] (")


def prose(text: str, chars: int = 4_000) -> str:
    """Return one Markdown paragraph that shows the text; `code` in it stays code."""
    parts = _CODE.split(one_line(text, chars))
    shown = [code(part) if n % 2 else _escaped(part) for n, part in enumerate(parts)]
    return _BLOCK.sub(r"\1\\\2", "".join(shown))


def code(text: str, chars: int = 500) -> str:
    """Return a Markdown code span that the text cannot leave."""
    line = one_line(text, chars)
    ticks = "`" * (_longest_run(line) + 1)
    gap = " " if line[:1] in ("`", "") or line[-1:] == "`" else ""
    return f"{ticks}{gap}{line}{gap}{ticks}"


def fence(text: str, language: str = "") -> str:
    """Return a Markdown code block that the text cannot leave."""
    shown = visible(text)
    ticks = "`" * max(3, _longest_run(shown) + 1)
    end = "" if shown.endswith("\n") else "\n"
    return f"{ticks}{language}\n{shown}{end}{ticks}"


def fenced_by(nonce: str, text: str) -> str:
    """Return the text without anything that looks like a fence with this nonce."""
    spread = _FORGED.sub(lambda found: " ".join(found[0]), visible(text))
    return re.sub(re.escape(nonce), "[fence removed]", spread, flags=re.IGNORECASE)


def address(url: str) -> str:
    """Return the address if people may follow it: http or https, a host, no password. Else ""."""
    try:
        parts = urlsplit(url)
        named = parts.hostname and parts.port != 0
    except ValueError:
        return ""
    clean = not re.search(r"[\s<>\"'`\\(){}|^]", url) and visible(url) == url
    ours = parts.scheme in ("http", "https") and "@" not in parts.netloc
    return url if named and clean and ours and len(url) <= 2_000 else ""


def _escaped(text: str) -> str:
    return _MARKDOWN.sub(lambda found: "\\" + found[0], _defused(text))


def _defused(text: str) -> str:
    if not _MAY_ACT.search(text):
        return text
    for pattern, instead in _ACTS:
        text = pattern.sub(instead, text)
    return text


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
