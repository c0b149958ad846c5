"""What people look at, made from records: load a `Case`, then render it.

`case.py` reads and orders, `words.py` says it, `neutral.py` makes foreign text harmless, and
`render.py` fills the templates of `texts/`. No clock, nothing kept, and no step reads a view.
"""

from faultline.views.case import Attempt, Case, Entry, Excerpt, excerpts, load, timeline
from faultline.views.render import (
    as_json,
    bucket_readme,
    check_templates,
    prompt,
    quoted,
    readme,
    report_html,
    report_of,
    result_text,
    system_instructions,
    write,
)

__all__ = [
    "Attempt",
    "Case",
    "Entry",
    "Excerpt",
    "as_json",
    "bucket_readme",
    "check_templates",
    "excerpts",
    "load",
    "prompt",
    "quoted",
    "readme",
    "report_html",
    "report_of",
    "result_text",
    "system_instructions",
    "timeline",
    "write",
]
