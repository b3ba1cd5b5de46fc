/**
 * A connection's first packet, before the broker creates a client: only a complete CONNECT of bounded size passes.
 * Anything else, or an incomplete packet, costs a socket and some bytes, and none of the work of a client.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import { connectBytesMax, PacketGuard } from "./socket.ts";

/**
 * Calls back when a complete CONNECT has arrived; all its bytes can still be read from the socket. A connection with
 * another first packet is destroyed.
 */
export function firstPacket(socket: Socket, whole: () => void): void {
  const guard = new PacketGuard(connectBytesMax);
  let received: Uint8Array = new Uint8Array();
  const read = () => {
    const chunk = socket.read() as Uint8Array | null;
    if (chunk !== null) {
      received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
      const length = packetLength(received);
      // Another guard, which knows more, checks what follows the first packet.
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

/** The length of the packet that begins so, with its header; larger than the available bytes if not known yet. */
function packetLength(bytes: Uint8Array): number {
  let length = 0;
  for (let at = 1; at < Math.min(bytes.length, 5); at++) {
    length += (bytes[at]! & 0x7f) * 128 ** (at - 1);
    if (bytes[at]! < 0x80) return at + 1 + length;
  }
  return Infinity;
}
