// The port on bun:sqlite: reads go to the read-only connection, commits to core.ts. What is read is
// always durable already; plans alone see further.

import { failedPrecondition, type DbxError } from "../../model/error.ts";
import type { Storage } from "../storage.ts";
import type { Core } from "./core.ts";
import { translated } from "./failure.ts";
import type { Keyring } from "./keyring.ts";
import type { Reader } from "./reader.ts";
import { fromUuid } from "./rows.ts";
import type { SealingJob } from "./sealing-job.ts";

export interface SqliteStorage extends Storage {
  /**
   * Resolves when a write has failed and no more are taken: whoever serves must stop. Never
   * rejects.
   */
  readonly failure: Promise<DbxError>;
  /** The pragmas as read back, for the start log. */
  readonly settings: Readonly<Record<string, string | number>>;
}

export interface Parts {
  readonly reader: Reader;
  /** Of the connection that reads. */
  readonly keyring: Keyring;
  /** Null: opened for reading. */
  readonly core: Core | null;
  /** Null as well. */
  readonly sealing: SealingJob | null;
  readonly settings: Readonly<Record<string, string | number>>;
  readonly check: (limit: number) => Promise<string[]>;
  readonly figures: () => Record<string, number | string>;
  readonly close: () => Promise<void>;
}

export function createSqliteStorage(parts: Parts): SqliteStorage {
  const { reader, core } = parts;
  const read = async <T>(what: string, work: () => T): Promise<T> => translated(what, work);
  return {
    commit: core?.commit ?? refuseWrite,
    createStream: core?.createStream ?? refuseWrite,
    removeStream: core?.removeStream ?? refuseWrite,
    archiveStream: core?.archiveStream ?? refuseWrite,
    restoreStream: core?.restoreStream ?? refuseWrite,
    keepSnapshot: core?.keepSnapshot ?? refuseWrite,
    record: core?.record ?? refuseWrite,
    forgetErased: async (key) => {
      await (parts.sealing?.forgetErased ?? refuseWrite)(key);
      // What was read before may have left the old key in memory.
      parts.keyring.forget();
    },
    sealOlder: parts.sealing?.sealOlder ?? refuseWrite,
    sealing: parts.keyring.sealing,
    vault: parts.keyring.vault(),
    rotateKey: parts.sealing?.rotateKey ?? refuseWrite,
    readStream: (key, { after, limit }) =>
      read("read events", () => reader.streamPage(key, { after, limit })),
    readImports: (range) => read("read the log", () => reader.imports(range)),
    readLog: ({ after, limit }) => read("read the log", () => reader.logPage(after, limit)),
    readLeaves: ({ after, limit }) =>
      read("read the log's leaves", () => reader.leaves(after, limit)),
    readHead: (key) => read("read an aggregate", () => reader.head(key)?.head),
    readHeads: (options) => read("list aggregates", () => reader.headsPage(options)),
    readLogHead: () => read("read the log's head", () => reader.log()),
    readSnapshots: (key, { after, limit }) =>
      read("read snapshots", () => reader.snapshotPage(key, { after, limit })),
    readSnapshot: (key, { version_max }) =>
      read("read a snapshot", () => reader.snapshotBefore(key, version_max)),
    readEvents: (event_ids) =>
      read("read events", () => event_ids.flatMap((id) => reader.eventById(fromUuid(id)) ?? [])),
    readAudit: ({ after, limit }) =>
      read("read the audit trail", () => reader.auditPage(after, limit)),
    readAuditBack: ({ before, limit }) =>
      read("read the audit trail", () => reader.auditPageBack(before, limit)),
    readTokenUses: (token_ids) =>
      read("read token uses", () => token_ids.flatMap((id) => reader.tokenUse(id) ?? [])),
    check: ({ limit }) => parts.check(limit),
    figures: () => read("read figures", parts.figures),
    close: parts.close,
    failure: core?.failure ?? Promise.withResolvers<DbxError>().promise,
    settings: parts.settings,
  };
}

/**
 * Storage opened for reading: a mistake of the caller's, but one a person can cause and must
 * understand.
 */
export async function refuseWrite(): Promise<never> {
  throw failedPrecondition("the database is open for reading only");
}
