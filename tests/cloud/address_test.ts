/** Bounds by address: an IPv6 subscriber has 2^64 addresses, and counts as one, wherever addresses are counted. */
import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import type net from "node:net";
import fc from "fast-check";
import { isLoopback, OpenBySource, sourceOf } from "../../cloud/address.ts";
import { Connections as HttpConnections, httpLimits } from "../../cloud/api/http_server.ts";
import { Throttle } from "../../cloud/api/throttle.ts";
import { Connections as BrokerConnections } from "../../cloud/broker/connections.ts";
import type { AuditEntry } from "../../cloud/operations/audit.ts";
import { FailedSignIns } from "../../cloud/operations/failed_sign_ins.ts";

const group = fc.integer({ min: 0, max: 0xffff });
const text = (groups: readonly number[]) => groups.map((one) => one.toString(16)).join(":");

/** The same address in the ways in which it may be written. */
function spellings(groups: readonly number[]): string[] {
  const whole = text(groups), long = groups.map((one) => one.toString(16).padStart(4, "0")).join(":");
  const short = whole.replace(/(^|:)(0:)+0(:|$)/, "::").replace(/(^|:)0(:0)+$/, "::");
  return [whole, long, long.toUpperCase(), short, `[${whole}]`, `${whole}%eth0`];
}

Deno.test("addresses: all of a /64 count as one, however they are written, and no other /64 does", () => {
  const prefix = fc.tuple(fc.integer({ min: 0x2000, max: 0x3fff }), group, group, group);
  const rest = fc.tuple(group, group, group, group);
  fc.assert(
    fc.property(prefix, rest, rest, fc.nat(3), fc.integer({ min: 1, max: 0xff }), (net, one, two, at, other) => {
      const sources = new Set([...spellings([...net, ...one]), ...spellings([...net, ...two])].map(sourceOf));
      assert.equal(sources.size, 1, [...sources].join(" "));
      const elsewhere = net.with(at, net[at]! ^ other);
      assert.ok(!sources.has(sourceOf(text([...elsewhere, ...one]))));
    }),
  );
});

Deno.test("addresses: an IPv4 address counts as itself, also where a socket shows it as IPv6", () => {
  const byte = fc.integer({ min: 0, max: 255 });
  fc.assert(fc.property(fc.tuple(byte, byte, byte, byte), ([a, b, c, d]) => {
    const plain = `${a}.${b}.${c}.${d}`, hex = text([0, 0, 0, 0, 0, 0xffff, a * 256 + b, c * 256 + d]);
    for (
      const one of [
        plain,
        `::ffff:${plain}`,
        `::FFFF:${plain}`,
        `0:0:0:0:0:ffff:${plain}`,
        ...spellings(hex.split(":").map((n) => parseInt(n, 16))),
      ]
    ) {
      assert.equal(sourceOf(one), plain, one);
      assert.equal(isLoopback(one), a === 127, one);
    }
  }));
  for (const own of ["::1", "[::1]", "0:0:0:0:0:0:0:1", "127.0.0.1", "127.255.0.9", "::ffff:7f00:1"]) {
    assert.ok(isLoopback(own), own);
  }
  for (
    const other of ["", "::", "::2", "127.evil.example", "1270.0.0.1", "127.0.0.1.evil", "2001:db8::1", "fe80::1%lo"]
  ) {
    assert.ok(!isLoopback(other), other);
  }
});

Deno.test("addresses: what is none counts as it is written, and is bounded", () => {
  for (const odd of ["", "unix", "1:2:3", "::1::", "1:2:3:4:5:6:7:8:9", "1:2:3:4::5:6:7:8", "g::1", "12345::1"]) {
    assert.equal(sourceOf(odd), odd);
  }
  fc.assert(fc.property(fc.string({ maxLength: 300 }), (odd) => assert.ok(sourceOf(odd).length <= 64)));
});

/** As much of a socket as is looked at. */
class FakeSocket extends EventEmitter {
  destroyed = false;
  constructor(readonly remoteAddress: string) {
    super();
  }
  destroy(): void {
    this.destroyed = true;
    this.emit("close");
  }
  get socket(): net.Socket {
    return this as unknown as net.Socket;
  }
}

/** Every bound by address that there is: how many of so many addresses get through. */
const bounds: Record<string, (addresses: readonly string[], max: number) => number> = {
  "connections of the broker": (addresses, perAddressMax) => {
    const all = new BrokerConnections({ connectionsMax: 1_000, pendingMax: 1_000, perAddressMax, timeoutMs: 10_000 });
    return addresses.filter((one) => all.open(new FakeSocket(one).socket) === undefined).length;
  },
  "connections of HTTP": (addresses, perAddress) => {
    const all = new HttpConnections({ ...httpLimits, perAddress }),
      sockets = addresses.map((one) => new FakeSocket(one));
    for (const { socket } of sockets) all.add(socket);
    return sockets.filter(({ destroyed }) => !destroyed).length;
  },
  "tries to sign in, and claims": (addresses, max) => {
    const throttle = new Throttle(max);
    return addresses.filter((one) => throttle.tried(one, 1) === 0).length;
  },
  "failed sign-ins in the audit": (addresses) => {
    const written: AuditEntry[] = [];
    const failed = new FailedSignIns({ note: (entry) => Promise.resolve(void written.push(entry)) }, () => 1, () => {});
    for (const one of addresses) failed.failed("api", one, "a wrong token");
    return written.length;
  },
};

Deno.test("addresses: no bound by address is evaded within a /64, and IPv4 neighbours don't share one", () => {
  const within = Array.from({ length: 8 }, (_, n) => `2001:db8:1:2:${n}::${n + 1}`);
  const neighbours = Array.from({ length: 8 }, (_, n) => `${n % 2 ? "::ffff:" : ""}203.0.113.${n}`);
  for (const [name, through] of Object.entries(bounds)) {
    assert.ok(through(within, 3) <= 3, name);
    assert.equal(through(neighbours, 3), 8, name);
    assert.ok(through(neighbours.flatMap((one) => [one, one, one, one, one]), 3) <= 24, name);
  }
});

Deno.test("addresses: what has ended is counted no more, and leaves nothing in memory", () => {
  const open = new OpenBySource();
  assert.deepEqual([1, 2, 3].map((n) => open.enter(`2001:db8::${n}`, 2)), [true, true, false]);
  open.leave("2001:db8::9");
  assert.ok(open.enter("2001:db8::3", 2));
  open.leave("2001:db8::1");
  open.leave("2001:db8::2");
  assert.equal(open.size, 0);
});
