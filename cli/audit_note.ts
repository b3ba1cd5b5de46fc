/**
 * The audit of commands that change a cloud's tables: by whom, with the names of this machine and its user.
 *
 * @module
 */
import { hostname, userInfo } from "node:os";
import { Audit, auditDaysDefault } from "../cloud/operations/audit.ts";
import type { Table } from "../cloud/table/port.ts";

/** The flag of every command that writes the audit. */
export const auditDays = { default: auditDaysDefault, min: 1, max: 3_650 } as const;

/** `user@host`; a part that permissions forbid to read is left out. */
export function commandLineUser(): string {
  const asked = (ask: () => string) => {
    try {
      return ask();
    } catch {
      // Denied, or a user without a name.
      return "unknown";
    }
  };
  return `${asked(() => userInfo().username)}@${asked(hostname)}`;
}

/** Notes what a command is about to do. @throws SyncError if that fails: then the command must not do it */
export function auditOf(log: Table, days?: number): (action: string, target: string) => Promise<void> {
  const audit = new Audit(log, { now: Date.now, days }), who = commandLineUser();
  return (action, target) => audit.note({ who, via: "command line", action, target });
}
