"""Knative shell for launch; the step itself lives in faultline.steps.launch."""

from faultline.bootstrap import build
from faultline.serve import EventFunction
from faultline.steps.launch import launch


def new() -> EventFunction:
    return EventFunction(launch, build())
