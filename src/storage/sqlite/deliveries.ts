// plugins.db: the port beside the log in a file of its own, so that no append waits for it. Made
// with the first plugin; without it everything reads as empty.

import type { Database } from "bun:sqlite";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { assert, failedPrecondition } from "../../model/error.ts";
import { limits } from "../../model/limits.ts";
import type { Plugin } from "../../model/plugin.ts";
import { keyText, type Position, type StreamKey } from "../../model/stream.ts";
import type { Deliveries, Settlement } from "../deliveries.ts";
import { syncDirectory } from "../documents.ts";
import { createMemoryDeliveries, noPlugin } from "../memory-deliveries.ts";
import type { Vault } from "../storage.ts";
import { compactDatabase } from "./checkpoint.ts";
import { connectReader, connectWriter } from "./connect.ts";
import { createDeliveryReads, type DeliveryReads } from "./deliveries-reads.ts";
import { createSeals, type DeliverySeals } from "./deliveries-rows.ts";
import { translated } from "./failure.ts";
import { createFile } from "./moves.ts";
import { begin, commit, rollback, writeSynchronous } from "./sql.ts";
import * as sql from "./sql-deliveries.ts";

const deliveriesName = "plugins.db";

export interface DeliveriesOptions {
  readonly directory: string;
  readonly access: "write" | "read";
  /** Of the store; null where nothing is sealed. */
  readonly vault: Vault | null;
}

/**
 * Whoever opens for writing MUST hold the store's lock. What is there in clear is sealed at once
 * where the store has a key.
 */
export async function openSqliteDeliveries(options: DeliveriesOptions): Promise<Deliveries> {
  const path = join(options.directory, deliveriesName);
  let opened: Deliveries | null = existsSync(path) ? await openFile(path, options) : null;
  const empty = createMemoryDeliveries();
  let opening: Promise<Deliveries> | null = null;
  const now = (): Deliveries => opened ?? empty;
  /** A file that cannot be made today may be made tomorrow. */
  const make = async (): Promise<Deliveries> => {
    try {
      return (opened ??= await (opening ??= openFile(path, options)));
    } finally {
      opening = null;
    }
  };
  return {
    readPlugins: () => now().readPlugins(),
    putPlugin: async (plugin, checkpoint) => (await make()).putPlugin(plugin, checkpoint),
    removePlugin: (name) => now().removePlugin(name),
    settle: (name, settlement) => now().settle(name, settlement),
    readDue: (name, asked) => now().readDue(name, asked),
    nextDue: (name) => now().nextDue(name),
    waiting: (name, keys) => now().waiting(name, keys),
    readOutbox: (selection, page) => now().readOutbox(selection, page),
    clearDead: (selection) => now().clearDead(selection),
    dropStream: (key, asked) => now().dropStream(key, asked),
    sealPlain: () => now().sealPlain(),
    check: (asked) => now().check(asked),
    close: () => now().close(),
  };
}

async function openFile(path: string, options: DeliveriesOptions): Promise<Deliveries> {
  const { access, vault } = options;
  if (access === "read") {
    const connection = translated(`open ${path}`, () => connectReader(path, sql.deliveriesFormat));
    if (connection === undefined) return refusing(createMemoryDeliveries());
    return refusing(createDeliveries(connection.database, vault));
  }
  if (createFile(path)) await syncDirectory(dirname(path));
  const { database } = translated(`open ${path}`, () =>
    connectWriter(path, {
      format: sql.deliveriesFormat,
      durability: "normal",
      autocheckpoint: pagesPerCheckpoint,
      // What was in clear before the store had a key must not stay in free space.
      secure_delete: vault !== null,
    }),
  );
  const deliveries = createDeliveries(database, vault);
  await deliveries.sealPlain();
  return deliveries;
}

/** 4 MiB of log: steps are small, and each copies it on the thread that answers requests. */
const pagesPerCheckpoint = 1_024;

const refuse = async (): Promise<never> => {
  throw failedPrecondition("the store is open for reading only");
};

const refusing = (deliveries: Deliveries): Deliveries => ({
  ...deliveries,
  ...{ putPlugin: refuse, removePlugin: refuse, settle: refuse },
  ...{ clearDead: refuse, dropStream: refuse, sealPlain: refuse },
});

function createDeliveries(database: Database, vault: Vault | null): Deliveries {
  const seals = createSeals(vault);
  const reads = createDeliveryReads(database, seals);
  const parts: Parts = { database, seals, reads };
  let closed = false;
  const run = async <T>(what: string, work: () => T): Promise<T> => translated(what, work);
  return {
    readPlugins: () => run("read the plugins", reads.plugins),
    putPlugin: (plugin, checkpoint) =>
      run("keep a plugin", () => synced(database, () => putPlugin(parts, plugin, checkpoint))),
    removePlugin: (name) => removePlugin(parts, name),
    settle: (name, settlement) =>
      run("settle deliveries", () =>
        inTransaction(database, () => settle(parts, name, settlement)),
      ),
    readDue: (name, asked) => run("read due deliveries", () => reads.due(name, asked)),
    nextDue: (name) => run("read due deliveries", () => reads.nextDue(name)),
    waiting: (name, keys) => run("read the outbox", () => reads.waiting(name, keys)),
    readOutbox: (selection, page) => run("read the outbox", () => reads.outbox(selection, page)),
    clearDead: (selection) => clearDead(parts, selection.plugin),
    dropStream: (key, { before }) => dropStream(parts, key, before),
    sealPlain: () => sealPlain(parts, vault),
    check: ({ limit }) => run("check plugins.db", () => reads.check(limit)),
    close: async () => {
      if (closed) return;
      closed = true;
      reads.close();
      database.close();
    },
  };
}

interface Parts {
  readonly database: Database;
  readonly seals: DeliverySeals;
  readonly reads: DeliveryReads;
}

function inTransaction<T>(database: Database, work: () => T): T {
  database.run(begin);
  try {
    const result = work();
    database.run(commit);
    return result;
  } catch (error) {
    if (database.inTransaction) database.run(rollback);
    throw error;
  }
}

/** As `inTransaction`, and on the disk afterwards with everything before it. */
function synced<T>(database: Database, work: () => T): T {
  database.run(writeSynchronous(2));
  try {
    return inTransaction(database, work);
  } finally {
    database.run(writeSynchronous(1));
  }
}

function putPlugin({ database, seals, reads }: Parts, plugin: Plugin, at: Position | null): void {
  const { name, enabled, config } = plugin;
  const text = seals.sealConfig(name, config);
  const row = reads.plugin(name);
  if (row === null) {
    assert(at !== null, "a new plugin begins somewhere");
    database.run(sql.insertPlugin, [name, Number(enabled), text, at]);
    return;
  }
  const id = row.plugin_id;
  database.run(sql.updatePlugin, [Number(enabled), text, at ?? row.checkpoint, id]);
  if (at !== null) while (deleted(database, sql.deleteBeyond, [id, at, part]) > 0);
}

/** Rows of the outbox that change in one transaction. */
const part = limits.scan_rows_max;

const deleted = (database: Database, statement: string, values: (number | string)[]): number =>
  database.run(statement, values).changes;

/** Goes on part by part until a part is empty; others get their turns in between. */
async function inParts(what: string, next: () => number): Promise<number> {
  let count = 0;
  for (;;) {
    const rows = translated(what, next);
    if (rows === 0) return count;
    count += rows;
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

async function removePlugin({ database, reads }: Parts, name: string): Promise<number> {
  const id = reads.idOf(name);
  const count = await inParts("delete from the outbox", () =>
    inTransaction(database, () => deleted(database, sql.deleteBeyond, [id, 0, part])),
  );
  translated("remove a plugin", () => synced(database, () => database.run(sql.deletePlugin, [id])));
  return count;
}

async function clearDead({ database, reads }: Parts, plugin?: string): Promise<number> {
  let count = 0;
  for (const { plugin_id, name } of reads.rows()) {
    if (plugin !== undefined && name !== plugin) continue;
    count += await inParts("delete from the outbox", () =>
      synced(database, () => deleted(database, sql.deleteDead, [plugin_id, part])),
    );
  }
  return count;
}

async function dropStream(parts: Parts, key: StreamKey, before: Position): Promise<number> {
  const { database, reads } = parts;
  let count = 0;
  for (const { plugin_id } of reads.rows()) {
    for (const dead of [0, 1]) {
      count += await inParts("delete from the outbox", () =>
        inTransaction(database, () => {
          const { aggregate_type, aggregate_id } = key;
          const of = [plugin_id, aggregate_type, aggregate_id, dead, before, part];
          const gone = deleted(database, sql.deleteStream, of);
          if (gone === 0) return 0;
          markFirst(database, plugin_id, key);
          database.run(sql.countDropped, [gone, plugin_id]);
          return gone;
        }),
      );
    }
  }
  return count;
}

function settle({ database, seals, reads }: Parts, name: string, settlement: Settlement): void {
  const row = reads.plugin(name);
  if (row === null) throw noPlugin(name);
  const { plugin_id } = row;
  const { failed, delivered, dropped, count } = settlement;
  const checkpoint = settlement.checkpoint ?? row.checkpoint;
  assert(checkpoint >= row.checkpoint, "a checkpoint never goes back");
  /** Whose earliest pending delivery may be another one now. */
  const streams = new Map<string, StreamKey>();
  const leaving = [...delivered, ...dropped, ...failed.map(({ position }) => position)];
  for (const position of leaving) {
    const key = reads.streamAt(plugin_id, position);
    if (key === null) continue;
    streams.set(keyText(key), key);
    database.run(sql.deleteDelivery, [plugin_id, position]);
  }
  for (const failure of failed) {
    assert(failure.position <= checkpoint, "the outbox is not ahead of the checkpoint");
    streams.set(keyText(failure), failure);
    const { aggregate_type, aggregate_id, version, event_id, event_type } = failure;
    const { position, attempts, dead, next_attempt_at } = failure;
    database.run(sql.insertDelivery, [
      ...[plugin_id, position, aggregate_type, aggregate_id, version, event_id, event_type],
      ...[attempts, Number(dead), next_attempt_at, seals.sealError(name, failure)],
    ]);
  }
  for (const key of streams.values()) markFirst(database, plugin_id, key);
  database.run(sql.advancePlugin, [checkpoint, count, dropped.length, plugin_id]);
}

function markFirst(database: Database, plugin_id: number, key: StreamKey): void {
  const of = [plugin_id, key.aggregate_type, key.aggregate_id];
  database.run(sql.clearFirst, of);
  database.run(sql.markFirst, of);
}

/** Definitions last: as long as one is in clear, there may be errors in clear. */
async function sealPlain({ database, seals, reads }: Parts, vault: Vault | null): Promise<void> {
  const plain = vault === null ? [] : reads.plainPlugins();
  if (plain.length === 0) return;
  for (const { plugin_id, name } of plain) {
    let after = 0;
    await inParts("seal errors of deliveries", () =>
      synced(database, () => {
        const rows = reads.plainErrors(plugin_id, { after, limit: part });
        for (const { position, last_error } of rows) {
          const text = seals.resealed(last_error, { plugin: name, field: `error/${position}` });
          database.run(sql.updateError, [text, plugin_id, position]);
          after = position;
        }
        return rows.length;
      }),
    );
  }
  // Pages that were split or emptied, and the log, have what was in clear.
  const compact = () => translated("compact plugins.db", () => compactDatabase(database, true));
  compact();
  translated("seal the plugins", () =>
    synced(database, () => {
      for (const { plugin_id, name, config } of plain) {
        const text = seals.resealed(config, { plugin: name, field: "config" });
        database.run(sql.updateConfig, [text, plugin_id]);
      }
    }),
  );
  compact();
}
