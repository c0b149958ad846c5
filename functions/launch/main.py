"""functions-framework shell for launch; the step itself lives in faultline.steps.launch."""

import flask
import functions_framework

from faultline.bootstrap import build
from faultline.serve import Request, answer
from faultline.steps.launch import launch as step


@functions_framework.http
def launch(request: flask.Request) -> tuple[bytes, int, dict[str, str]]:
    received = Request(request.method, request.path, dict(request.headers), request.get_data())
    status, headers, body = answer(step, build(), received)
    return body, status, headers
