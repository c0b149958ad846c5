"""functions-framework shell for verify; the step itself lives in faultline.steps.verify."""

import flask
import functions_framework

from faultline.bootstrap import build
from faultline.serve import Request, answer
from faultline.steps.verify import verify as step


@functions_framework.http
def verify(request: flask.Request) -> tuple[bytes, int, dict[str, str]]:
    received = Request(request.method, request.path, dict(request.headers), request.get_data())
    status, headers, body = answer(step, build(), received)
    return body, status, headers
