"""Knative shell for package; the step itself lives in faultline.steps.package."""

from faultline.bootstrap import build
from faultline.serve import EventFunction
from faultline.steps.package import package


def new() -> EventFunction:
    return EventFunction(package, build())
