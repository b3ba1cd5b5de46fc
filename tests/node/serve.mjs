// Serves a handler's bundle on Node: node serve.mjs BUNDLE PORT. What any adapter for Node does.
import { createServer } from "node:http";
import { Readable } from "node:stream";

const [bundle, port] = process.argv.slice(2);
const { default: handler } = await import(bundle);
createServer(async (incoming, outgoing) => {
  const { method, headers, url } = incoming;
  const hasBody = method !== "GET" && method !== "HEAD";
  const request = new Request(`http://127.0.0.1:${port}${url}`, {
    method,
    headers,
    ...(hasBody ? { body: Readable.toWeb(incoming), duplex: "half" } : {}),
  });
  const response = await handler.fetch(request);
  outgoing.writeHead(response.status, Object.fromEntries(response.headers));
  outgoing.end(Buffer.from(await response.arrayBuffer()));
}).listen(Number(port), "127.0.0.1");
