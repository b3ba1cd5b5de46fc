/**
 * The commands for a device: all commands of the single binary (`agent_main.ts`), and a part of those of `mod.ts`. Each
 * is loaded when it is called.
 *
 * @module
 */
import type { Command } from "./command.ts";

/** A command's name, its line in the list, and the loader of its module. */
export type Commands = Readonly<Record<string, { readonly summary: string; readonly load: () => Promise<Command> }>>;

/** What is run on a device. */
export const deviceCommands: Commands = {
  agent: {
    summary: "sync a device's database with the cloud",
    load: async () => (await import("./agent.ts")).agentCommand as unknown as Command,
  },
  status: {
    summary: "show the sync state of a device's database",
    load: async () => (await import("./status.ts")).statusCommand as unknown as Command,
  },
  verify: {
    summary: "find and repair differences between a device and the cloud",
    load: async () => (await import("./verify.ts")).verifyCommand as unknown as Command,
  },
  rejected: {
    summary: "changes that the cloud refused: show, retry, drop",
    load: async () => (await import("./kept.ts")).rejectedCommand as unknown as Command,
  },
  conflicts: {
    summary: "versions that lost a conflict: show, restore, drop",
    load: async () => (await import("./kept.ts")).conflictsCommand as unknown as Command,
  },
  aside: {
    summary: "items from the cloud that their tables can't accept: show, try again",
    load: async () => (await import("./aside.ts")).asideCommand as unknown as Command,
  },
  tail: {
    summary: "follow events on a device as they happen",
    load: async () => (await import("./tail.ts")).tailCommand as unknown as Command,
  },
  doctor: {
    summary: "check everything that syncing needs, and say what is wrong",
    load: async () => (await import("./doctor.ts")).doctorCommand as unknown as Command,
  },
  data: {
    summary: "items of a device or a cloud: list, get, put, update, remove",
    load: async () => (await import("./data.ts")).dataCommand as unknown as Command,
  },
  export: {
    summary: "export all items of models to files, as JSONL or CSV",
    load: async () => (await import("./export.ts")).exportCommand as unknown as Command,
  },
  import: {
    summary: "import the items of JSONL or CSV files",
    load: async () => (await import("./import.ts")).importCommand as unknown as Command,
  },
  backup: {
    summary: "copy a device's database while it is in use",
    load: async () => (await import("./backup.ts")).backupCommand as unknown as Command,
  },
  restore: {
    summary: "restore a device's database from a copy",
    load: async () => (await import("./restore.ts")).restoreCommand as unknown as Command,
  },
  reset: {
    summary: "remove the sync state from a device's database",
    load: async () => (await import("./reset.ts")).resetCommand as unknown as Command,
  },
  claim: {
    summary: "turn a claim code into this device's credentials",
    load: async () => (await import("./claim.ts")).claimCommand as unknown as Command,
  },
  csr: {
    summary: "make this device's key, and the request for its certificate",
    load: async () => (await import("./csr.ts")).csrCommand as unknown as Command,
  },
  key: {
    summary: "change the key of an encrypted database",
    load: async () => (await import("./key.ts")).keyCommand as unknown as Command,
  },
  schema: {
    summary: "check a schema, show its tables",
    load: async () => (await import("./schema.ts")).schemaCommand as unknown as Command,
  },
  licenses: {
    summary: "the licences of what is in this program",
    load: async () => (await import("./licenses.ts")).licensesCommand as unknown as Command,
  },
};
