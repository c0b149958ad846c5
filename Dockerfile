# The one image of bridge, steps and pages: `faultline serve triage`, `faultline bridge`, `faultline web`.
# Built from the lock; runs as nobody, on a read-only root, with /tmp to write to.

FROM python:3.11-slim AS build
WORKDIR /build
RUN python -m venv /app
COPY requirements/runtime.txt requirements/
RUN /app/bin/pip install --no-cache-dir --require-hashes --requirement requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY infra/knative/triggers.yaml infra/knative/
COPY src src
# Bytecode is made here: later the root is read-only, and without bytecode every start takes twice as long.
RUN /app/bin/pip install --no-cache-dir --no-deps . \
 && /app/bin/pip uninstall --yes pip \
 && /app/bin/python -m compileall -q -j 0 /app/lib

FROM python:3.11-slim
# git: `package` reads the manifests from a repository and pushes a branch to it
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates git \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 faultline \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp faultline
COPY --from=build /app /app
# This image's own library comes without bytecode too. Then: is any missing of what our processes load?
RUN python -m compileall -q -j 0 "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" || true
RUN /app/bin/python -B -c "import os, sys; \
import boto3, faultline.agent.__main__, faultline.cli.serving, faultline.dev, kubernetes.client, uvicorn.main; \
from faultline.routes import STEPS; list(STEPS.values()); \
made = [m.__cached__ for m in list(sys.modules.values()) if getattr(m, '__cached__', None)]; \
sys.exit(str(lost) if (lost := [p for p in made if not os.path.exists(p)]) else 0)"
ENV PATH=/app/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /tmp
EXPOSE 8080
ENTRYPOINT ["faultline"]
CMD ["--help"]
