# Two images, built from a clean clone:
#
#   docker build --target agent -t twintable-agent .
#   docker build --target cloud -t twintable-cloud .
#   docker buildx build --platform linux/amd64,linux/arm64 --target agent -t REGISTRY/twintable-agent --push .
#
# docs/containers.md says how they are configured and how a device gets its token. Both run as uid 1993
# and need no writable root: docker run --read-only --cap-drop=ALL --security-opt no-new-privileges.
#
# The bases are pinned by version. Pin them by digest in your own build: `docker buildx imagetools inspect denoland/deno:2.9.6` prints
# it; then --build-arg DENO_IMAGE=denoland/deno:2.9.6@sha256:… and the same for BASE_IMAGE.
ARG DENO_IMAGE=denoland/deno:2.9.6
ARG BASE_IMAGE=debian:12.12-slim

# Compiling is this machine's work, whatever machine the image is for: Deno brings the runtime of the target.
FROM --platform=$BUILDPLATFORM ${DENO_IMAGE} AS compile
ARG TARGETARCH
WORKDIR /app
COPY deno.json deno.lock agent_main.ts mod.ts schema.ts protocol.ts ./
COPY build build
COPY agent agent
COPY cli cli
COPY mqtt mqtt
COPY protocol protocol
COPY schema schema
RUN case "${TARGETARCH:-$(uname -m)}" in \
      amd64|x86_64) target=x86_64-unknown-linux-gnu ;; \
      arm64|aarch64) target=aarch64-unknown-linux-gnu ;; \
      *) echo "no runtime for ${TARGETARCH}" >&2; exit 1 ;; \
    esac && \
    deno task compile --target "$target" --output dist/twintable

FROM ${BASE_IMAGE} AS agent
COPY --from=compile --chmod=0755 /app/dist/twintable /usr/local/bin/twintable
RUN useradd --system --uid 1993 --user-group twintable && install -d -m 0700 -o twintable -g twintable /data
USER twintable
VOLUME /data
# A database of another path wants a check of its own.
HEALTHCHECK --interval=60s --timeout=10s --start-period=30s \
  CMD ["twintable", "status", "--db", "/data/device.db", "--check"]
ENTRYPOINT ["twintable"]
CMD ["agent", "--config", "/etc/twintable/agent.json5"]

FROM ${DENO_IMAGE} AS cloud
WORKDIR /app
ENV DENO_DIR=/app/.deno DENO_NO_UPDATE_CHECK=1
COPY deno.json deno.lock mod.ts schema.ts protocol.ts ./
COPY agent agent
COPY cli cli
COPY cloud cloud
COPY examples/schema.ts examples/demo_device.ts examples/
COPY mqtt mqtt
COPY protocol protocol
COPY schema schema
# The cloud's commands are not in the graph of mod.ts.
RUN deno cache --frozen mod.ts cli/cloud.ts cli/device.ts cli/tables.ts cloud/handler.ts && \
    groupadd --system --gid 1993 twintable && useradd --system --uid 1993 --gid 1993 twintable && \
    install -d -m 0700 -o twintable -g twintable /data
USER twintable
VOLUME /data
EXPOSE 7300 8883
HEALTHCHECK --interval=30s --timeout=10s --start-period=20s \
  CMD ["deno", "eval", "--no-config", "const r = await fetch('http://127.0.0.1:7300/healthz'); Deno.exit(r.ok ? 0 : 1)"]
# The AWS SDK reads its configuration from the environment and files, and asks for the machine's name.
ENTRYPOINT ["deno", "run", "--v8-flags=--max-semi-space-size=8,--heap-growing-percent=50,--no-concurrent-array-buffer-sweeping", "--no-prompt", "--cached-only", "--allow-net", "--allow-read", "--allow-write", "--allow-env", "--allow-sys", "/app/mod.ts"]
CMD ["cloud", "--help"]
