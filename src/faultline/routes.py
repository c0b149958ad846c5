"""STEPS: name -> step. Which event reaches which step stands in the Triggers, and only there."""

from __future__ import annotations

from faultline.ports import Step
from faultline.steps.close import close
from faultline.steps.context import context
from faultline.steps.launch import launch
from faultline.steps.package import package
from faultline.steps.sweep import sweep
from faultline.steps.triage import triage
from faultline.steps.verify import verify

STEPS: dict[str, Step] = {
    "triage": triage,
    "context": context,
    "launch": launch,
    "package": package,
    "close": close,
    "sweep": sweep,
    "verify": verify,
}
