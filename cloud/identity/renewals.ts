/**
 * Answers devices that ask for their next certificate, over the connection that the present one opened. Guarantee: only a device
 * whose certificate this authority issued gets another, for its own id, for as long a time as the first; the registry knows the
 * new key before the device has the certificate, and both stay valid until the new one is used.
 *
 *     asked ─▶ (refused: its own reason) ─▶ issued ─▶ noted in the audit ─▶ in the registry ─▶ sent
 *
 * A crash after any of these leaves a device that asks again with the same key, which takes the place of the same.
 *
 * @module
 */
import { Log } from "../../protocol/log.ts";
import type { Renew, Renewed } from "../../protocol.ts";
import { SyncError } from "../../schema.ts";
import type { Registered } from "../sync/registry.ts";
import type { Audit } from "../operations/audit.ts";
import { Lru } from "../sync/lru.ts";
import type { Registry } from "../sync/registry.ts";
import type { Authority } from "./authority.ts";

/** What a {@link Renewals} works with. */
export interface RenewalsContext {
  readonly authority: Pick<Authority, "certify">;
  readonly registry: Pick<Registry, "certificates" | "certify">;
  readonly audit: Pick<Audit, "note">;
  readonly now: () => number;
}

/** What a device is told. */
type Answer = Pick<Renewed, "cert" | "reason" | "afterMs">;

/** A device gets so many in a time: an agent asks once, and once more for each crash in between. */
const perWindow = 6, windowMs = 3_600_000;
/** When to ask again after a refusal that asking again does not mend. */
const refusedMs = 6 * 3_600_000;
const logger = new Log("cloud");

/** See the module. */
export class Renewals {
  readonly #asked = new Lru<string, { count: number; untilMs: number }>({
    bytesMax: 4 * 1024 * 1024,
    sizeOf: (deviceId) => 2 * deviceId.length + 80,
  });

  constructor(private readonly context: RenewalsContext) {}

  /** The certificate, or why there is none. @throws SyncError where the table fails: the device asks again */
  async answer({ deviceId, registration }: Registered, { csr }: Pick<Renew, "csr">): Promise<Answer> {
    const waitMs = this.#waitMs(deviceId);
    if (waitMs > 0) return { reason: "it has asked too often", afterMs: waitMs };
    try {
      return { cert: await this.#renew(deviceId, registration, csr) };
    } catch (error) {
      if (!(error instanceof SyncError) || error.retryable) throw error;
      logger.warn("{deviceId} gets no other certificate: {reason}", { deviceId, reason: error.message });
      return { reason: error.message, afterMs: refusedMs };
    }
  }

  async #renew(deviceId: string, registration: string, csr: string): Promise<string> {
    const { authority, registry, audit } = this.context;
    // A device that shows a token gets no certificate by asking: it would outlive the token.
    const newest = (await registry.certificates(deviceId)).at(-1);
    if (!newest) {
      throw new SyncError("denied", "no certificate was issued for this device here: device add --cert does");
    }
    const { cert, key } = await authority.certify(deviceId, csr, newest.valid);
    await audit.note({ who: deviceId, via: "device", action: "device.renew", target: deviceId });
    await registry.certify(deviceId, key, registration);
    return cert;
  }

  /** Counts a question. @returns 0, or for how long none is answered */
  #waitMs(deviceId: string): number {
    const now = this.context.now(), known = this.#asked.get(deviceId);
    const asked = known && known.untilMs > now ? known : { count: 0, untilMs: now + windowMs };
    asked.count++;
    this.#asked.set(deviceId, asked);
    return asked.count <= perWindow ? 0 : asked.untilMs - now;
  }
}
