/** The HTTP server: what slow, silent and many clients can do to it, and that requests and answers pass unaltered. */
import assert from "node:assert/strict";
import { type HttpLimits, httpLimits, type HttpServer, serveHttp } from "../../../cloud/api/http_server.ts";
import { until } from "../../support/until.ts";

const utf8 = new TextEncoder();
const hello = () => new Response("hello");

async function served(
  handler: (request: Request) => Response | Promise<Response>,
  limits: Partial<HttpLimits>,
  use: (server: HttpServer) => Promise<void>,
): Promise<void> {
  const server = await serveHttp(handler, { host: "127.0.0.1", port: 0, limits: { ...httpLimits, ...limits } });
  try {
    await use(server);
  } finally {
    server.destroy();
    await server.shutdown();
  }
}

/** A connection that sends these pieces, so many ms apart; resolves with what came when the server ends it. */
async function raw(port: number, pieces: Iterable<string>, everyMs = 100): Promise<string> {
  const connection = await Deno.connect({ hostname: "127.0.0.1", port });
  const received: string[] = [], decoder = new TextDecoder();
  const reading = (async () => {
    const buffer = new Uint8Array(4096);
    for (;;) {
      const n = await connection.read(buffer).catch(() => null);
      if (n === null) return;
      received.push(decoder.decode(buffer.subarray(0, n)));
    }
  })();
  let ended = false;
  reading.then(() => ended = true);
  for (const piece of pieces) {
    if (ended) break;
    await connection.write(utf8.encode(piece)).catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
  await reading;
  connection.close();
  return received.join("");
}

function* drip(head: string): Generator<string> {
  yield head;
  for (;;) yield "a";
}

Deno.test("http: clients that send nothing, half a header or a body without end are let go, and others are served", async () => {
  await served(async (request) => new Response(await request.text()), {
    headersMs: 600,
    requestMs: 1_200,
  }, async ({ port }) => {
    const slow = Array.from({ length: 500 }, (_, at) =>
      raw(
        port,
        at % 4 === 0
          ? []
          : at % 4 === 1
          ? ["GET / HTTP/1.1\r\nho"]
          : at % 4 === 2
          ? drip("GET / HTTP/1.1\r\nhost: x\r\nx-long: ")
          : drip("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n"),
      ));
    const answer = await fetch(`http://127.0.0.1:${port}/`, { method: "POST", body: "served" });
    assert.equal(await answer.text(), "served");
    let left = slow.length;
    for (const one of slow) void one.then(() => left--);
    await until("each was let go", () => left === 0, 20_000);
  });
});

Deno.test("http: above the number of connections the one that waits longest gives way", async () => {
  await served(hello, { connections: 20 }, async ({ port }) => {
    let ended = 0;
    const silent = Array.from({ length: 50 }, () => raw(port, []).then(() => void ended++));
    await until("thirty gave way", () => ended === 30);
    const answer = await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: "close" } });
    assert.equal(await answer.text(), "hello");
    assert.equal(ended, 31);
    void Promise.all(silent);
  });
});

Deno.test("http: an answer that nobody reads is ended", async () => {
  let cancelled = 0;
  const endless = () =>
    new Response(
      new ReadableStream({ pull: (sink) => sink.enqueue(new Uint8Array(64 * 1024)), cancel: () => void cancelled++ }),
    );
  await served(endless, { unreadMs: 300 }, async ({ port }) => {
    const connection = await Deno.connect({ hostname: "127.0.0.1", port });
    await connection.write(utf8.encode("GET / HTTP/1.1\r\nhost: x\r\n\r\n"));
    await until("the answer was ended", () => cancelled === 1);
    connection.close();
  });
});

Deno.test("http: requests and answers pass unaltered", async () => {
  const echo = async (request: Request) => {
    const headers = new Headers({ "x-url": request.url, "x-host": request.headers.get("host") ?? "" });
    headers.append("set-cookie", "a=1");
    headers.append("set-cookie", "b=2");
    if (request.method === "DELETE") return new Response(null, { status: 204 });
    return new Response(request.method === "HEAD" ? null : await request.arrayBuffer(), { status: 202, headers });
  };
  await served(echo, {}, async ({ port }) => {
    const at = `http://127.0.0.1:${port}`;
    const body = crypto.getRandomValues(new Uint8Array(60_000));
    const put = await fetch(`${at}/a%20b?x=1&y=%2F`, { method: "PUT", body });
    assert.deepEqual(new Uint8Array(await put.arrayBuffer()), body);
    assert.equal(put.status, 202);
    assert.equal(put.headers.get("x-url"), `${at}/a%20b?x=1&y=%2F`);
    assert.deepEqual(put.headers.getSetCookie(), ["a=1", "b=2"]);
    const gone = await fetch(at, { method: "DELETE" });
    assert.deepEqual([gone.status, await gone.text()], [204, ""]);
    const head = await fetch(at, { method: "HEAD" });
    assert.deepEqual([head.status, await head.text()], [202, ""]);
    // A target that names another host, and requests that fetch has not.
    assert.match(
      await raw(port, ["GET http://evil.example/p HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"]),
      /x-url: http:\/\/x\/p/i,
    );
    assert.match(await raw(port, ["GET // HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"]), /^HTTP\/1.1 [24]0/);
    assert.match(await raw(port, ["TRACE / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"]), /^HTTP\/1.1 400/);
    assert.match(await raw(port, ["GET / HTTP/1.1\r\nconnection: close\r\n\r\n"]), /^HTTP\/1.1 400/);
    assert.doesNotMatch(await raw(port, ["nonsense\r\n\r\n"]), /hello/);
    assert.doesNotMatch(await raw(port, [`GET / HTTP/1.1\r\nx: ${"y".repeat(40_000)}\r\n\r\n`]), /x-url/);
    assert.match(
      await raw(port, [
        "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
      ]),
      /abc/,
    );
  });
});

Deno.test("http: a handler that fails ends its own connection; a port that is taken is said", async () => {
  await served(() => Promise.reject(new Error("no")), {}, async ({ port }) => {
    await assert.rejects(fetch(`http://127.0.0.1:${port}/`));
    await assert.rejects(serveHttp(hello, { host: "127.0.0.1", port }), /in use|EADDRINUSE/i);
  });
});
