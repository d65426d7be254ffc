# The server's image. Build it from the root of the checkout; docs/how-to/deploy.md says how, and how to run it.
#
# Nothing but constants is in here: no secret, no address of a package index, no download outside of pip.

FROM python:3.13-slim-trixie AS build
# `server,otel` adds OpenTelemetry's traces.
ARG EXTRAS=server
ENV PIP_CACHE_DIR=/var/cache/pip PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY requirements/constraints.txt requirements/
COPY sdk sdk
COPY server server
COPY admin_cli admin_cli
# The wheel of this checkout, built and installed with pinned versions only; nothing is compiled but bytecode, because
# the root of a running container is read-only. The optional secret `pip.conf` names a package index of your own. The
# cache is a mount, and so no part of any layer:
# hadolint ignore=DL3042
RUN --mount=type=cache,target=/var/cache/pip --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    python -m pip install --constraint requirements/constraints.txt --upgrade pip \
    && python -m venv --without-pip /app \
    && python -m pip --python /app/bin/python install --only-binary :all: --compile \
        --constraint requirements/constraints.txt --build-constraint requirements/constraints.txt ".[${EXTRAS}]"

FROM python:3.13-slim-trixie
LABEL org.opencontainers.image.title="Fader" \
      org.opencontainers.image.description="Feature flags for teams that ship Python: the server" \
      org.opencontainers.image.licenses="Apache-2.0"
# What a node without DATABASE_URL keeps: a volume that is mounted here takes over the owner.
RUN install --directory --owner=10001 --group=10001 /var/lib/fader
COPY --from=build /app /app
ENV PATH=/app/bin:$PATH FADER_HOST=0.0.0.0
# A number, so that Kubernetes can see that it is not root's.
USER 10001:10001
WORKDIR /var/lib/fader
EXPOSE 8080
STOPSIGNAL SIGTERM
# http.client and not urllib, which would ask a proxy for the way to this very container.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --start-interval=1s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; port = int(os.environ.get('FADER_PORT', '8080')); connection = http.client.HTTPConnection('127.0.0.1', port, timeout=4); connection.request('GET', '/health/live'); sys.exit(connection.getresponse().status != 200)"]
ENTRYPOINT ["fader-server"]
CMD ["serve"]
