"""Knative shell for triage; the step itself lives in faultline.steps.triage."""

from faultline.bootstrap import build
from faultline.serve import EventFunction
from faultline.steps.triage import triage


def new() -> EventFunction:
    return EventFunction(triage, build())
