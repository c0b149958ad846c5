"""Hostile HTML, Markdown and names, made by small grammars: the classes of public collections.

`html()` covers those of cure53/DOMPurify:test/fixtures/expect.mjs (223 payloads; MPL-2.0 or
Apache-2.0), `names()` those of swisskyrepo/PayloadsAllTheThings:Directory Traversal (MIT). None of
their lines is here.
"""
# ruff: noqa: E501, RUF001

from __future__ import annotations

import itertools
from collections.abc import Iterator

_RUN = "window.__ran=1"
_AWAY = "https://canary.example/x"

_ON = ("onclick", "onerror", "onload", "onfocus", "onmouseover", "ontoggle", "onbegin", "onanimationend",
       "onpointerrawupdate", "onbeforeinput")  # fmt: skip
_TAGS = ("img src=x", "svg", "body", "input autofocus", "details open", "video src=x", "iframe srcdoc=x",
         "math", "form", "marquee")  # fmt: skip
_URLS = (
    f"javascript:{_RUN}", f"JaVaScRiPt:{_RUN}", f"java\tscript:{_RUN}", f"java\nscript:{_RUN}",
    f"\x01javascript:{_RUN}", f" javascript:{_RUN}", f"&#106;avascript:{_RUN}", f"\u2028javascript:{_RUN}",
    f"javascript&colon;{_RUN}", f"vbscript:{_RUN}", f"data:text/html,<script>{_RUN}</script>",
    f"data:image/svg+xml,<svg onload={_RUN}>", "//canary.example/x", _AWAY,
    f"blob:{_AWAY}", f"feed:javascript:{_RUN}",
)  # fmt: skip
_LINKS = ('<a href="{}">x</a>', "<iframe src='{}'></iframe>", '<object data="{}"></object>',
          '<form action="{}"><button>x</button></form>', '<svg><a xlink:href="{}"><text>x</text></a></svg>',
          "[x]({})", "![x]({})", "<{}>", '<link rel=stylesheet href="{}">')  # fmt: skip
_CLOBBER = ("attributes", "body", "cookie", "children", "createElement", "location", "parentNode")
_RAW = ("title", "textarea", "style", "noscript", "template", "xmp", "noembed", "iframe", "option", "select",
        "listing", "plaintext", "comment")  # fmt: skip
_ODD = (
    f"<script>{_RUN}</script>", f"<script src={_AWAY}></script>", f"<ScRiPt>{_RUN}</sCrIpT>",
    f"<svg><script>{_RUN}</script></svg>", f"<<script>{_RUN}//<</script>", f"<script/x>{_RUN}</script>",
    f'<meta http-equiv="refresh" content="0;url={_AWAY}">', f'<base href="{_AWAY}">',
    f"<style>@import '{_AWAY}'</style>", f'<div style="background:url({_AWAY})">x</div>',
    f"<math><mtext><table><mglyph><style><img src onerror={_RUN}>", "<custom-element is=x>",
    f"<svg></p><style><a id='</style><img src=1 onerror={_RUN}>'>", "<![CDATA[<x>]]>",
    f"<img src=x id=/=' onerror={_RUN}//'>", "<?php echo 1 ?>", "<!DOCTYPE x [<!ENTITY y 'z'>]>",
    f"\" onmouseover={_RUN} x=\"", f"' onfocus={_RUN} autofocus x='", f"`><img src=x onerror={_RUN}>",
    f"--><img src=x onerror={_RUN}>", f"]]><img src=x onerror={_RUN}>", f"</pre></code><img src=x onerror={_RUN}>",
    f"</li></ul></main><iframe src={_AWAY}>", "{{7*7}}", "${7*7}", "{% for x in ().__class__.__base__.__subclasses__() %}",
    f"<div hx-get={_AWAY} hx-trigger=load>", f"<div data-hx-on:load={_RUN}>", "<slot name=x></slot>",
    "<dialog open>x</dialog>", "<template shadowrootmode=open><img src=x></template>", "<portal src=x>",
    f"<x contenteditable onbeforeinput={_RUN}>", "\ufeff<script>x</script>", "\x00<script>x</script>",
    f"+ADw-script+AD4-{_RUN}+ADw-/script+AD4-", f"%3Cscript%3E{_RUN}%3C/script%3E",
    f"&lt;img src=x onerror={_RUN}&gt;", f"<img src=x\x0conerror={_RUN}>", f"<img/src=x/onerror={_RUN}>",
    "```\n<script>x</script>\n```", "<details><summary>x", "@everyone <!channel>", "[a]: javascript:x\n[a]",
    "| a |\n|---|\n| <img src=x> |", "# heading\n<hr>", "- [x] <input type=checkbox>",
)  # fmt: skip


def html() -> list[str]:
    """Return hostile HTML and Markdown, each once."""
    made = [f"<{tag} {on}={_RUN}>x" for tag, on in zip(_TAGS * 10, _spread(_ON, 10), strict=True)]
    made += [link.format(url) for link in _LINKS for url in _URLS[:: 1 if "a href" in link else 3]]
    made += [f'<form {a}="{n}"><input {a}="{n}">' for a in ("id", "name") for n in _CLOBBER]
    made += [f"<{t}><{t}/><img src=x onerror={_RUN}></{t}>" for t in _RAW]
    made += [f'<{t}><a title="</{t}><img src=x onerror={_RUN}>"></{t}>' for t in _RAW]
    return list(dict.fromkeys([*made, *_ODD]))


def _spread(words: tuple[str, ...], times: int) -> list[str]:
    """Repeat the words so that each stands once beside each of as many others."""
    return [words[(n + n // times) % len(words)] for n in range(len(words) * times)]


_DOTS = ("..", "%2e%2e", "%252e%252e", "%c0%ae%c0%ae", "%e0%40%ae%e0%40%ae", "..%00", "．．", "\u2025",
         ".%2e", "....", "..;", "%uff0e%uff0e", ". .", "..%20", "%32%65%32%65")  # fmt: skip
_SLASHES = ("/", "\\", "%2f", "%5c", "%252f", "%c0%af", "%e0%80%af", "%c1%9c", "//", "\\\\", "/./",
            "\u2215", "\u2044", "%u2215", "/%00/", "..//")  # fmt: skip
_TARGETS = ("etc/passwd", "etc\\shadow", "windows\\win.ini", "proc/self/environ", "canary", "boot.ini",
            "incident.json", "payloads/2026-11-21/x.json")  # fmt: skip
_STARTS = ("", "/", "\\", "C:\\", "c:/", "file:///", "\\\\?\\C:\\", "\\\\host\\share\\", "~/", "./", "%00",
           "output/", "context/")  # fmt: skip
_ENDS = ("", "%00.txt", "\x00.html", "%23", "?", "/", "/.", " ", "::$DATA", ".", "\r\n", "%0d%0a")


def names() -> Iterator[str]:
    """Yield 23,101 hostile names: every dot by every slash, in each depth, before each target."""
    chosen = itertools.product(_DOTS, _SLASHES, range(1, 8), _STARTS)
    for n, (dots, slash, depth, start) in enumerate(chosen):
        target, end = _TARGETS[n % len(_TARGETS)], _ENDS[n // 7 % len(_ENDS)]
        yield f"{start}{(dots + slash) * depth}{target}{end}"
    for start, target, end in itertools.product(_STARTS, _TARGETS, _ENDS):
        yield f"{start}{target}{end}"
    yield from ("", ".", "..", "...", "/", "\\", "CON", "NUL.txt", "a" * 5000, "a/" * 3000, "\ud800", "é", "e\u0301")  # fmt: skip
