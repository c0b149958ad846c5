"""Knative shell for context; the step itself lives in faultline.steps.context."""

from faultline.bootstrap import build
from faultline.serve import EventFunction
from faultline.steps.context import context


def new() -> EventFunction:
    return EventFunction(context, build())
