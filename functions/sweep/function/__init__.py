"""Knative shell for sweep; the step itself lives in faultline.steps.sweep."""

from faultline.bootstrap import build
from faultline.serve import EventFunction
from faultline.steps.sweep import sweep


def new() -> EventFunction:
    return EventFunction(sweep, build())
