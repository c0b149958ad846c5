"""Find secrets in bytes: shapes of tokens, keys beside their service's name, telling words.

Pure. `find` returns where secrets stand; what replaces them is decided in `faultline.redact`. Every
rule has a keyword and looks only where that keyword stands, a bounded distance, so time grows with
the length of the text. The shapes stand in `shapes.toml`.
"""

from __future__ import annotations

import bisect
import itertools
import math
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from faultline.redact.blocks import Span, mixed_hex, private_keys, secret_manifests

# what may stand between a name and its value, as it is or escaped in JSON (once or more often)
_ESCAPE = rb"\\{1,4}(?:[nrtfbv\"'/]|u00[0-9a-fA-F]{2})"
_GAP = rb"(?:[ \t\r\f\v\"'`?]|" + _ESCAPE + rb")"
_OPERATOR = rb"(?:[=>:|,]|" + _GAP + rb")"
_FILLER = rb"(?:[ \t\w.-]|\\{1,4}t){0,24}+"
_BEFORE = rb"(?:(?<![A-Za-z0-9])|(?<=\\[nrtfbv])|(?<=\\u00[0-9a-fA-F]{2})|(?<=[\[;0-9][0-9]m))"
_UUID = rb"[a-f0-9]{8}-(?:[a-f0-9]{4}-){3}[a-f0-9]{12}"

# a value behind `name =`: quoted (perhaps in escaped quotes), or up to a blank or a bracket
_QUOTE = rb"(?=[ \t]{0,3}\\*[\"'])"
_IS = (
    rb"(?:\\*[\"'])?[ \t]{0,3}(?:=>|:=|!?={2,3}" + _QUOTE
    + rb"|:[ \t]{0,3}(?i:str|string)[ \t]{0,3}=" + _QUOTE + rb"|=|:)[ \t]{0,3}(?i:&quot;)?"
)  # fmt: skip
_VALUE = (
    rb"(?:(?P<q>\\*[\"'])(?P<quoted>(?:(?!\\*[\"'])[^\n]){1,4096})"
    rb"|(?P<bare>[^\s\"',;&<>{}\[\]()\\$%*][^\s\"',;&\\}\])]{0,4095}))"
)
_NOTHING = re.compile(
    rb"(?i)(?:null|nil|none|true|false|undefined|empty|unset|required|invalid|missing|expired|"
    rb"\(?redacted\)?|x+|\*+|\.+|\$[({].*|<.*>|%[sdvq]|\{\{.*\}\}|\[REDACTED.*)?"
)
_DIGIT, _LETTER = re.compile(rb"[0-9]"), re.compile(rb"[A-Za-z]")
_MORE = re.compile(rb"[0-9][A-Za-z]|[A-Za-z][0-9]|[a-z][A-Z]|[!@#$%^&*+=?~]")
_NAME_LIKE = re.compile(rb"[a-z]+(?:[._/-][a-z0-9]+)*|[\w.-]*/[\w./-]*|" + _UUID)


@dataclass(frozen=True, slots=True)
class Rule:
    """Look for `pattern` where `keyword` stands, and for `head` in the `back` bytes before it."""

    kind: str
    keyword: bytes  # lower case
    pattern: bytes
    accept: Callable[[bytes], bool] | None = None  # the last word on a value
    head: bytes = b""
    back: int = 0
    bar: bytes = b""  # a letter that no head has: it is looked for behind the last one

    def spans(self, data: bytes, places: Sequence[int]) -> Iterator[Span]:
        """Yield where this rule finds a secret. `places` is where its keyword stands."""
        match_at = _compiled(self.pattern).match
        done = 0
        for place in places:
            match = match_at(data, place) if place >= done else None
            if match is None:
                continue
            start = self._head(data, place, done) if self.head else place
            if start is not None and (secret := self._secret(match)):
                yield (start if self.head else secret[0], secret[1], self.kind)
                done = match.end()

    def _head(self, data: bytes, place: int, done: int) -> int | None:
        """Return where the token begins; None if what stands before the keyword is not its head."""
        first = max(done, place - self.back)
        if self.bar:
            first = max(first, data.rfind(self.bar, first, place) + 1)
        match = _compiled(self.head).search(data, first, place)
        return match.start() if match else None

    def _secret(self, match: re.Match[bytes]) -> tuple[int, int] | None:
        span = match.span(match.lastgroup or 0)  # `s`, `quoted` or `bare`; else the whole match
        if self.accept and not self.accept(match.string[slice(*span)]):
            return None
        return span


@cache
def _compiled(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(pattern)


def _shape(kind: str, keyword: str, pattern: str, head: str = "", back: int = 0) -> Rule:
    tail = b"(?:" + pattern.encode() + b")"
    if head:
        return Rule(kind, keyword.encode(), tail, None, head.encode() + rb"\Z", back)
    bound = b"" if "(?<" in pattern else _BEFORE
    return Rule(kind, keyword.encode(), bound + tail)


def _vendor(kind: str, name: str, value: str) -> Rule:
    shape = value.encode().replace(b"UUID", _UUID)
    pattern = (
        rb"(?i:" + re.escape(name.encode()) + rb")" + _FILLER
        + _GAP + rb"{0,24}+[=>:|,]" + _OPERATOR + rb"{0,24}+"
        + rb"(?P<s>(?i:" + shape + rb"))(?![\w-])"
    )  # fmt: skip
    return Rule(kind, name.encode(), pattern)


def _is_value(value: bytes) -> bool:
    return _NOTHING.fullmatch(value) is None


def _is_random(value: bytes) -> bool:
    """Say whether a value looks made by a machine: digits and letters, and no name or UUID."""
    if not (_DIGIT.search(value) and _LETTER.search(value)):
        return False
    return _NAME_LIKE.fullmatch(value) is None and entropy(value) >= 3.0


def _is_chosen(value: bytes) -> bool:
    """Say whether a value looks like a password that somebody chose: letters, and more than that.

    Words, names, paths, numbers with a unit, places in files and options do not.
    """
    return (
        len(value) >= 6
        and _MORE.search(value) is not None
        and _LETTER.search(value) is not None
        and not value.startswith((b"-", b"/", b"."))
        and _NAME_LIKE.fullmatch(value) is None
        and _is_value(value)
    )


def entropy(value: bytes) -> float:
    """Return Shannon's entropy in bits per byte."""
    shares = (count / len(value) for count in Counter(value).values())
    return -sum(share * math.log2(share) for share in shares)


def _named(keyword: str, before: tuple[str, ...], rest: str = "") -> Rule:
    """`<name> = <value>`, whatever the value looks like. The name is telling by what is before."""
    words = [word + (joint if word.isalpha() else "") for word in before for joint in ("", "[_-]")]
    looks = "|".join(f"(?<={word}{keyword})" for word in dict.fromkeys(words))
    follows = "" if rest else "(?=[s0-9\\\\\"' \\t:=])"
    head = f"(?i:{keyword}{follows}(?:{looks}){rest}s?[0-9]{{0,2}})".encode()
    return Rule("password", keyword.encode(), head + _IS + _VALUE, _is_value)


def _short(keyword: str) -> Rule:
    """`pw: …`, `DB_PASS=…`: names that are words too, so the value has to look like one."""
    pattern = b"(?<![A-Za-z0-9])(?i:" + keyword.encode() + b")[0-9]{0,2}" + _IS + _VALUE
    return Rule("password", keyword.encode(), pattern, _is_chosen)


def _flag(keyword: str) -> Rule:
    """`--db-password …`: an argument of a command line, beside the flag that names it."""
    pattern = (
        rb"(?i:(?<=-)(?<![^\s\"'=\[(a-z-]-)" + keyword.encode()
        + rb")(?:\\*[\"'],)?[ \t]{1,4}" + _VALUE
    )  # fmt: skip
    return Rule("password", keyword.encode(), pattern, _is_chosen)


def _variable(keyword: str) -> Rule:
    """`DB_PASSWORD` as the name of one field, its value in the next: variables of containers."""
    return Rule(
        "password",
        keyword.encode(),
        rb"(?i:" + keyword.encode() + rb")" + _ENV_TAIL + _VALUE,
        _is_value,
    )


def _beside(keyword: str) -> Rule:
    """`<word> … = <value>`, if the value looks made by a machine."""
    before = rb"(?:(?<=api|ess|ret)|(?<=(?:api|ess|ret)[_-]))" if keyword == "key" else b""
    pattern = (
        rb"(?i:" + before + keyword.encode() + rb")" + _FILLER
        + _GAP + rb"{0,24}+[=>:|,]" + _OPERATOR + rb"{0,24}+(?P<s>[\w.=+/~-]{10,200})"
    )  # fmt: skip
    return Rule("secret", keyword.encode(), pattern, _is_random)


_ENV_TAIL = rb"[\w.-]{0,40}+(?:\\*[\"'])?,?\s{1,40}+(?:\\*[\"'])?(?i:value)(?:\\*[\"'])?\s?:\s?"
_NAMES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("pass", ("",), "(?:word|wd|phrase)"),
    ("pwd", ("",), ""),
    ("swd", ("p", "pa", "ps", "pas"), ""),
    ("swrd", ("p", "pa", "ps", "pas"), ""),
    ("sword", ("p", "pa", "ps"), ""),
    (
        "key",
        ("api", "access", "secret", "private", "account", "signing", "encryption", "master"),
        "",
    ),
    ("token", ("auth", "access", "refresh", "id", "session", "bearer", "bot", "_"), ""),
    ("secret", ("client", "app", "shared", "webhook", "jwt", "_"), ""),
)
_KINDS = (rb"[a-z]", rb"[A-Z]", rb"[0-9]")
_SHORT = ("pw", "pass")
_FLAGS = ("password", "passphrase", "passwd", "token", "secret", "api-key", "oauth2-bearer")
_WORDS = ("secret", "token", "credential", "key", "pass", "auth")

_CONTEXT = (
    # user info of addresses, credentials of database drivers
    Rule("url-credentials", b"://", rb"://(?P<s>(?:[^\s/@:\"'<>\\]{1,128}@)?"
         rb"[^\s/@\"'<>\\]{0,256}:[^\s/@\"'<>\\]{1,512})@"),
    Rule("url-credentials", b"@tcp(", rb"(?=@tcp[(])", None,
         rb"[\w.-]{1,32}+:[^\s@\"']{1,64}+\Z", 97, b"@"),
    # headers
    Rule(
        "authorization", b"authorization",
        rb"(?i)authorization(?:\\*[\"'])?[\s=:\[]{1,6}+(?:\\*[\"'])?"
        rb"(?:(?:bearer|basic|token|digest|apikey|negotiate|ntlm|bot|splunk)[ \t]+)?"
        rb"(?P<s>[\w.~+/=:-]{8,2048}+)", lambda v: _is_mixed(v[:256]) and entropy(v[:256]) >= 2.5,
    ),
    Rule("authorization", b"bearer", rb"(?i)bearer[ \t]+(?P<s>[\w.~+/=-]{12,8192})",
         lambda v: _is_random(v)),
    Rule("cookie", b"cookie",
         rb"(?i)cookie" + _IS + rb"(?:\\*[\"'])?(?P<s>[\w.-]{1,64}=[^\r\n\"\\]{1,4096})"),
    Rule("password", b"-u ",
         rb"(?<=\s)-u[ \t]{1,4}\\*[\"']?[^\s:\"'\\]{1,64}:(?P<s>[^\s\"'\\]{6,256})", _is_chosen),
    # signatures in addresses
    Rule("url-signature", b"sig", rb"(?i)(?<=[?&;])(?:sig|signature)=(?P<s>[\w.%~+/=-]{6,1024})"),
    Rule("url-signature", b"-signature=", rb"(?i)-signature=(?P<s>[\w%]{16,1024})"),
    Rule("url-signature", b"-credential=", rb"(?i)-credential=(?P<s>[\w%./-]{8,512})"),
    Rule("url-signature", b"-security-token=", rb"(?i)-security-token=(?P<s>[\w%./+=-]{16,4096})"),
    Rule("url-signature", b"oauth_signature=",
         rb"(?i)oauth_signature=\\*\"?(?P<s>[\w%+/=]{16,512})"),
    Rule("url-signature", b"key=", rb"(?i)(?<=[?&])key=(?P<s>[\w.%~+/=-]{16,512})", _is_random),
    Rule("url-signature", b"token%3d", rb"(?i)token%3d(?P<s>[\w.~+-]{6,4096})"),
    Rule("url-signature", b"token=", rb"(?i)(?<=[?&])token=(?P<s>[\w%./+=~-]{6,4096})", _is_value),
    # far from its name, as people align tables
    Rule("secret", b"secret_key",
         rb"(?i)secret_key(?:\\*[\"'])?" + _OPERATOR + rb"{1,300}+"
         rb"(?P<s>sk_[^\s\"'\\]{8,}+(?:\\*[\"'][^\s\"'\\,}]{1,8})?)"),
    Rule("password", b"userpwd", rb"(?i)userpwd,[ \t]{0,8}\\*\"(?P<s>[^\"\\\s]{4,256})\\*\""),
    # the private numbers of a JSON Web Key (RFC 7518, section 6)
    Rule("private-key", b"d\"", rb"(?<=\")d\\*\"\s{0,4}:\s{0,4}\\*\"(?P<s>[\w-]{40,1024})\\*\""),
    Rule("private-key", b"k\"", rb"(?<=\")k\\*\"\s{0,4}:\s{0,4}\\*\"(?P<s>[\w-]{22,1024})\\*\""),
    # SQL, and whoever writes a password in quotes behind the word
    Rule("password", b"identified ",
         rb"(?i)identified (?:with \\*['\"]?\w{1,40}\\*['\"]? )?(?:by|as) "
         rb"\\*['\"](?P<s>[^'\"\\\n]{1,256})"),
    Rule("password", b"identified by ", rb"(?i)identified by (?P<s>[^\s'\"\\;]{6,256})",
         _is_chosen),
    Rule("password", b"password",
         rb"(?i)password(?:\\*[\"'])?(?:,[ \t]{0,8}|(?:[ \t]|\\{1,4}t){1,8})\\*['\"]"
         rb"(?P<s>[^'\"\\\s]{4,256})\\*['\"]"
         rb"(?![ \t]{0,4}:)",
         _is_chosen),
    Rule("password", b"password ", rb"(?i)(?<=[ \"'(])password (?P<s>[^\s'\"\\;,]{6,256})",
         lambda v: _is_chosen(v) and all(re.search(kind, v) for kind in _KINDS)),
)  # fmt: skip


def _is_mixed(value: bytes) -> bool:
    return bool(re.search(rb"[0-9=]|[a-z][A-Z]", value))


@cache
def rules() -> tuple[Rule, ...]:
    """Return every rule: shapes, services, words."""
    table = tomllib.loads((Path(__file__).parent / "shapes.toml").read_text(encoding="utf-8"))
    return (
        *(_shape(*row) for row in table["shapes"]),
        *(_vendor(*row) for row in table["vendors"]),
        *_CONTEXT,
        *(_named(*row) for row in _NAMES),
        *(_short(name) for name in _SHORT),
        *(_flag(name) for name in _FLAGS),
        *(_beside(word) for word in _WORDS),
        *(_variable(word) for word in _WORDS if word != "auth"),
    )


Places = dict[bytes, list[int]]  # where each keyword stands, in order


def places(data: bytes, using: Sequence[Rule] | None = None) -> Places:
    """Return where the rules have to look."""
    return _words_of(using).places(data.lower())


def moved(places: Places, cuts: Sequence[tuple[int, int, int]]) -> Places:
    """Return the places after parts of the text were replaced: (start, end, new length), in order.

    What stands in the new parts is no secret, so there is nothing to be found that was not there.
    """
    ends = [end for _, end, _ in cuts]
    shifts = list(itertools.accumulate((n - (end - a) for a, end, n in cuts), initial=0))
    found: Places = {}
    for keyword, at in places.items():
        for place in at:
            nth = bisect.bisect_right(ends, place)
            if nth == len(cuts) or place < cuts[nth][0]:
                found.setdefault(keyword, []).append(place + shifts[nth])
    return found


def find(
    data: bytes, using: Sequence[Rule] | None = None, where: Places | None = None
) -> list[Span]:
    """Return where secrets stand in `data`, sorted, overlaps joined. `where` is `places` of it, if
    that is known."""
    spans: list[Span] = []
    words = _words_of(using)
    where = words.places(data.lower()) if where is None else where
    for keyword, at in where.items():
        spans += (span for rule in words.families[keyword] for span in rule.spans(data, at))
    spans += mixed_hex(data)
    spans += private_keys(data)
    spans += secret_manifests(data)
    return _joined(spans)


@dataclass(frozen=True, slots=True)
class _Words:
    """The keywords of rules, looked for all at once: one pass over the text, not one for each."""

    families: dict[bytes, list[Rule]]  # keyword -> its rules
    longest: re.Pattern[bytes]  # where a keyword begins: its first letter, then a group, its rest
    within: dict[bytes, list[bytes]]  # keyword -> the keywords that it begins with, itself included

    def places(self, lower: bytes) -> Places:
        """Return where each keyword stands, of those that do."""
        found: Places = {}
        for match in self.longest.finditer(lower):
            for keyword in self.within[match[0] + match[match.lastindex or 0]]:
                found.setdefault(keyword, []).append(match.start())
        return found


@cache
def _all_words() -> _Words:
    return _words(rules())


def _words_of(using: Sequence[Rule] | None) -> _Words:
    return _all_words() if using is None else _words(using)


def _words(all_rules: Sequence[Rule]) -> _Words:
    families: dict[bytes, list[Rule]] = {}
    for rule in all_rules:
        families.setdefault(rule.keyword, []).append(rule)
    within = {word: [other for other in families if word.startswith(other)] for word in families}
    rests: dict[bytes, set[bytes]] = {}
    for word in families:
        rests.setdefault(word[:1], set()).add(word[1:])
    # each branch begins with a letter of its own: the matcher leaps from one such to the next
    branches = (re.escape(first) + b"(?=(" + _any_of(rest) + b"))" for first, rest in rests.items())
    return _Words(families, re.compile(b"|".join(branches)), within)


def _any_of(words: Iterable[bytes]) -> bytes:
    """Return a pattern of the longest of these words, by their first letters, then the next: each
    letter of the text is compared once, however many words there are."""
    rests: dict[bytes, list[bytes]] = {}
    for word in sorted(words):
        rests.setdefault(word[:1], []).append(word[1:])
    may_end = rests.pop(b"", None) is not None
    branches = b"|".join(re.escape(first) + _any_of(rest) for first, rest in rests.items())
    if not branches:
        return b""
    return b"(?:" + branches + b")" + (b"?" if may_end else b"")


def _joined(spans: list[Span]) -> list[Span]:
    joined: list[Span] = []
    for start, end, kind in sorted(spans):
        if joined and start < joined[-1][1]:
            first, last, name = joined[-1]
            joined[-1] = (first, max(last, end), name)
        elif end > start:
            joined.append((start, end, kind))
    return joined
