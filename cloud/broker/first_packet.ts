/**
 * A connection's first packet, before the broker makes a client of it: only a whole CONNECT of bounded size leads on. What is
 * anything else, or never whole, costs a socket and some bytes, and none of the work of a client.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import { connectBytesMax, PacketGuard } from "./socket.ts";

/**
 * Calls back when a whole CONNECT has come, with everything that came still to be read from the socket. One whose first
 * packet is something else is destroyed.
 */
export function firstPacket(socket: Socket, whole: () => void): void {
  const guard = new PacketGuard(connectBytesMax);
  let received: Uint8Array = new Uint8Array();
  const read = () => {
    const chunk = socket.read() as Uint8Array | null;
    if (chunk !== null) {
      received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
      const length = packetLength(received);
      // Of what comes after the first packet another guard judges: it knows more.
      const fault = guard.accept(chunk.subarray(0, Math.max(0, length - (received.length - chunk.length))));
      if (fault !== undefined) return void socket.destroy();
      if (received.length >= length) {
        socket.off("readable", read);
        socket.unshift(received);
        return whole();
      }
    }
  };
  socket.on("readable", read);
}

/** How long the packet is that begins so, with its header; more than there is where that is not known yet. */
function packetLength(bytes: Uint8Array): number {
  let length = 0;
  for (let at = 1; at < Math.min(bytes.length, 5); at++) {
    length += (bytes[at]! & 0x7f) * 128 ** (at - 1);
    if (bytes[at]! < 0x80) return at + 1 + length;
  }
  return Infinity;
}
