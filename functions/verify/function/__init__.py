"""Knative shell for verify; the step itself lives in faultline.steps.verify."""

from faultline.bootstrap import build
from faultline.serve import EventFunction
from faultline.steps.verify import verify


def new() -> EventFunction:
    return EventFunction(verify, build())
