"""functions-framework shell for close; the step itself lives in faultline.steps.close."""

import flask
import functions_framework

from faultline.bootstrap import build
from faultline.serve import Request, answer
from faultline.steps.close import close as step


@functions_framework.http
def close(request: flask.Request) -> tuple[bytes, int, dict[str, str]]:
    received = Request(request.method, request.path, dict(request.headers), request.get_data())
    status, headers, body = answer(step, build(), received)
    return body, status, headers
