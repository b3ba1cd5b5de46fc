# Two images:
#
#   docker build --target cloud -t twintable-cloud .
#   docker build --target agent -t twintable-agent .
#
# A schema is mounted or copied in; the agent's must be JSON or JSON5 (`mod.ts schema json FILE` makes one of TypeScript).
#
#   docker run -v "$PWD/schema.json5:/schema.json5:ro" -v twintable:/data -p 7300:7300 -p 1883:1883 twintable-cloud \
#     --schema /schema.json5 --table embedded:/data/cloud.db --broker --host 0.0.0.0 --port 7300 --token SECRET
#   docker run -v "$PWD/schema.json5:/schema.json5:ro" -v device:/data twintable-agent \
#     --schema /schema.json5 --db /data/device.db --device d-1 --account a-1 --mqtt mqtt://HOST:1883 --password TOKEN

FROM denoland/deno:2.9.6 AS source
WORKDIR /app
COPY . .
# The commands of the cloud are not in the graph of mod.ts.
RUN deno cache --frozen mod.ts cli/dev.ts cli/cloud.ts cli/device.ts

FROM source AS compile
RUN deno task compile

FROM debian:bookworm-slim AS agent
RUN useradd --system --uid 1993 twintable && mkdir -m 0700 /data && chown twintable /data
COPY --from=compile /app/dist/twintable /usr/local/bin/twintable
USER twintable
VOLUME /data
ENTRYPOINT ["twintable", "agent"]

FROM source AS cloud
RUN mkdir -m 0700 /data && chown deno /data
USER deno
VOLUME /data
EXPOSE 7300 1883
# The AWS SDK reads its configuration from the environment and files, and asks for the machine's name.
ENTRYPOINT ["deno", "run", "--v8-flags=--max-semi-space-size=8,--heap-growing-percent=50", "--no-prompt", "--cached-only", "--allow-net", "--allow-read", "--allow-write", "--allow-env", "--allow-sys", "mod.ts", "cloud"]
