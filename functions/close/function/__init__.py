"""Knative shell for close; the step itself lives in faultline.steps.close."""

from faultline.bootstrap import build
from faultline.serve import EventFunction
from faultline.steps.close import close


def new() -> EventFunction:
    return EventFunction(close, build())
