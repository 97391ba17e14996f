// Data keys, as one connection sees them: wrapped by the data encryption key (DEK) in the table
// data_key, unwrapped in memory. A key is bound to the number of its stream; 0 is the vault's.

import type { Database } from "bun:sqlite";
import { assert, dataCorrupted, failedPrecondition } from "../../model/error.ts";
import { limits } from "../../model/limits.ts";
import { createVault, keyBytes, newKey, seal, unseal, wrappingKeyOf } from "../seal.ts";
import type { Vault } from "../storage.ts";
import { readOne } from "./connect.ts";
import * as sql from "./sql-sealing.ts";
import { readPendingMoves } from "./sql.ts";
import { beginRotation, endRotation, updateDataKey } from "./sql-sealing-job.ts";

/** The row of an encrypted store; see migrations.ts. */
export interface SealingRow {
  /** The number of the data encryption key. */
  readonly dek: number;
  readonly pending: "encrypt" | "rotate" | null;
  /** While keys are rotated: the DEK before, wrapped by the one after, and the other way round. */
  readonly before: Uint8Array | null;
  readonly after: Uint8Array | null;
}

export interface KeyRow {
  readonly dek: number;
  readonly wrapped: Uint8Array;
}

/** The keys that wrap data keys, by number, and under which number new ones go. */
interface Wrapping {
  readonly keys: ReadonlyMap<number, Uint8Array>;
  readonly current: number;
}

/** Where the vault's key stands among those of the streams. */
const vaultId = 0;

export type Keyring = ReturnType<typeof createKeyring>;

/**
 * Throws `failed_precondition` where the store is encrypted and there is no key; whether it is the
 * right one, requireKey tells. Without one, or before encryption has begun, nothing is sealed.
 */
export function createKeyring(database: Database, firstDek: Uint8Array | null) {
  let dek = firstDek;
  const statements = {
    sealing: database.prepare<SealingRow, []>(sql.readSealing),
    dataKey: database.prepare<KeyRow, [number]>(sql.readDataKey),
    erased: database.prepare<{ erased: number }, [number]>(sql.readErased),
    insertDataKey: database.prepare(sql.insertDataKey),
    deleteDataKey: database.prepare(sql.deleteDataKey),
  };
  const keys = createCache(limits.data_keys_max);
  /** The key that was given, or the one that has taken its place. */
  let own = dek;
  let wrapping = createWrapping(statements.sealing.get(), own);
  /** The key that wraps under this number now; a rotation may have begun since it was looked at. */
  const wrappingKey = (number: number): Uint8Array | undefined => {
    const known = wrapping?.keys.get(number);
    if (known !== undefined) return known;
    wrapping = createWrapping(statements.sealing.get(), own);
    return wrapping?.keys.get(number);
  };
  const readKey = (stream_id: number): Uint8Array | undefined => {
    const row = statements.dataKey.get(stream_id);
    if (row === null) return undefined;
    const under = wrappingKey(row.dek);
    if (under === undefined) return undefined;
    const key = unwrapKey(under, stream_id, row);
    if (key === null) throw dataCorrupted(`the data key ${stream_id} is damaged`, { stream_id });
    return key;
  };
  const keyAgain = (stream_id: number): Uint8Array | undefined => {
    const key = readKey(stream_id);
    if (key === undefined) keys.delete(stream_id);
    else keys.set(stream_id, key);
    return key;
  };
  const makeKey = (stream_id: number): Uint8Array => {
    assert(wrapping !== null, "keys are made in an encrypted store");
    const under = wrapping.keys.get(wrapping.current);
    assert(under !== undefined, "the key that wraps is there");
    const key = newKey();
    statements.insertDataKey.run(stream_id, wrapping.current, wrapKey(under, stream_id, key));
    keys.set(stream_id, key);
    return key;
  };
  const keyOf = (stream_id: number): Uint8Array | undefined =>
    keys.get(stream_id) ?? keyAgain(stream_id);
  return {
    /** Whether what is written from now on is to be sealed. */
    seals: (): boolean => wrapping !== null,
    sealing: (): "none" | "partly" | "all" => {
      const row = statements.sealing.get();
      if (row === null) return "none";
      return row.pending === "encrypt" ? "partly" : "all";
    },
    /** Undefined for a stream without a key, which has nothing that is sealed. */
    keyOf,
    /** Read anew: it may have been replaced since, by an erasure. */
    keyAgain,
    /** For the writer, in a transaction: made where there is none. */
    keyFor: (stream_id: number): Uint8Array => keyOf(stream_id) ?? makeKey(stream_id),
    /** For the writer, in a transaction: what the old one has sealed is gone for good. */
    replaceKey: (stream_id: number): Uint8Array => {
      statements.deleteDataKey.run(stream_id);
      return makeKey(stream_id);
    },
    /** For the writer, in a transaction. */
    dropKey: (stream_id: number): void => {
      statements.deleteDataKey.run(stream_id);
      keys.delete(stream_id);
    },
    /** The data encryption key from now on: a rotation has begun, or has ended. */
    turnTo: (next: Uint8Array): void => {
      dek = next;
      wrapping = createWrapping(statements.sealing.get(), dek);
    },
    ...createRotating({
      database,
      row: () => statements.sealing.get(),
      own: () => own,
      use: (next) => {
        own = next;
        wrapping = createWrapping(statements.sealing.get(), own);
      },
      readKey,
      current: () => wrapping,
    }),
    /** After a transaction that was rolled back, or a key that others have changed. */
    forget: keys.clear,
    /** How many are in memory. */
    kept: keys.count,
    erasedOf: (stream_id: number): number => statements.erased.get(stream_id)?.erased ?? 0,
    /** Throws `data_corrupted` where an encrypted store has no key for it. */
    vault: (): Vault | null => {
      if (wrapping === null) return null;
      const key = keyOf(vaultId);
      if (key === undefined) throw dataCorrupted("the key of the documents is missing");
      return createVault(key);
    },
    close: (): void => {
      keys.clear();
      for (const statement of Object.values(statements)) statement.finalize();
    },
  };
}

/** Exchanging the data encryption key; all but `rotates`, `dekAfter` and `useDek` for the writer. */
function createRotating(parts: {
  readonly database: Database;
  readonly row: () => SealingRow | null;
  readonly own: () => Uint8Array | null;
  readonly use: (dek: Uint8Array) => void;
  readonly readKey: (stream_id: number) => Uint8Array | undefined;
  readonly current: () => Wrapping | null;
}) {
  const { database, row, own, use } = parts;
  /** The key that takes the place of the other; null where none does. */
  const dekAfter = (): Uint8Array | null => {
    const now = row();
    const known = own();
    if (now?.pending !== "rotate" || now.after === null || known === null) return null;
    return unwrapDek(wrappingKeyOf(known), now.dek, now.after) ?? known;
  };
  return {
    dekAfter,
    /** From here on this one is the key; called while either opens the store. */
    useDek: use,
    beginRotation: (after: Uint8Array): void => {
      const now = row();
      const before = own();
      assert(now !== null && before !== null, "only what is encrypted gets another key");
      const { changes } = database.run(beginRotation, [
        wrapDek(wrappingKeyOf(after), now.dek, before),
        wrapDek(wrappingKeyOf(before), now.dek + 1, after),
        now.dek,
      ]);
      assert(changes === 1, "one rotation comes after the other");
      use(after);
    },
    rewrap: (stream_id: number): void => {
      const key = parts.readKey(stream_id);
      const wrapping = parts.current();
      const under = wrapping?.keys.get(wrapping.current);
      // Erased, or removed, since somebody looked.
      if (key === undefined || wrapping === null || under === undefined) return;
      const wrapped = wrapKey(under, stream_id, key);
      database.run(updateDataKey, [wrapping.current, wrapped, stream_id]);
    },
    endRotation: (): void => {
      const after = dekAfter();
      const { changes } = database.run(endRotation);
      assert(
        changes === 1 && after !== null,
        "every key is under the new one when a rotation ends",
      );
      use(after);
    },
  };
}

/**
 * For a store that is opened for writing with a key, inside a transaction: from here on everything
 * new is sealed. What is older stays `pending`. Out: how much is sealed now; null where it began
 * before.
 */
export function beginSealing(database: Database, dek: Uint8Array): "partly" | "all" | null {
  if (readOne<SealingRow>(database, sql.readSealing) !== null) return null;
  const older = readOne<{ found: number }>(database, sql.anyStream)?.found === 1;
  const number = 1;
  database.run(sql.insertSealing, [number, older ? "encrypt" : null]);
  // Whoever moves a stream to the archive only reads, and finds its key.
  using moving = database.prepare<{ stream_id: number }, []>(readPendingMoves);
  const under = wrappingKeyOf(dek);
  for (const stream_id of [vaultId, ...moving.all().map((row) => row.stream_id)]) {
    database.run(sql.insertDataKey, [stream_id, number, wrapKey(under, stream_id, newKey())]);
  }
  return older ? "partly" : "all";
}

/**
 * The keys that wrap data keys, by number: one, or two while they are rotated. Null for a store
 * that is not encrypted.
 */
function createWrapping(row: SealingRow | null, dek: Uint8Array | null): Wrapping | null {
  if (row === null) return null;
  if (dek === null) throw keyMissing();
  const own = wrappingKeyOf(dek);
  const keys = new Map<number, Uint8Array>();
  if (row.before === null || row.after === null) {
    keys.set(row.dek, own);
    return { keys, current: row.dek };
  }
  // `dek` numbers the one after.
  const before = unwrapDek(own, row.dek - 1, row.before);
  const after = unwrapDek(own, row.dek, row.after);
  keys.set(row.dek - 1, before === null ? own : wrappingKeyOf(before));
  keys.set(row.dek, after === null ? own : wrappingKeyOf(after));
  return { keys, current: row.dek };
}

/**
 * Throws `failed_precondition` where `dek` does not open the store. Without any effect on it.
 */
export function requireKey(database: Database, dek: Uint8Array | null): void {
  const row = readOne<SealingRow>(database, sql.readSealing);
  if (row === null) return;
  const wrapping = createWrapping(row, dek);
  using statement = database.prepare<KeyRow, [number]>(sql.readDataKey);
  const vault = statement.get(vaultId);
  if (vault === null) throw dataCorrupted("the key of the documents is missing");
  const under = wrapping?.keys.get(vault.dek);
  if (under === undefined || unwrapKey(under, vaultId, vault) === null) throw keyWrong();
}

/** Part of the format, as is all that follows. */
const wrapKey = (under: Uint8Array, stream_id: number, key: Uint8Array): Uint8Array =>
  seal(under, ["key", stream_id], key);

/** Null where it was not wrapped under this key for this stream. */
function unwrapKey(
  under: Uint8Array,
  stream_id: number,
  { wrapped }: { readonly wrapped: unknown },
): Uint8Array | null {
  if (!(wrapped instanceof Uint8Array)) return null;
  const key = unseal(under, ["key", stream_id], wrapped);
  return key?.length === keyBytes ? new Uint8Array(key) : null;
}

/** A data encryption key under the one that comes after it, or came before. */
const wrapDek = (under: Uint8Array, number: number, dek: Uint8Array): Uint8Array =>
  seal(under, ["dek", number], dek);

const unwrapDek = (under: Uint8Array, number: number, wrapped: Uint8Array): Uint8Array | null =>
  unseal(under, ["dek", number], wrapped);

const keyMissing = () =>
  failedPrecondition(
    "this store is encrypted, but no data encryption key is set; set data_encryption_key or " +
      "dek_file in the configuration file, or EVENTDBX_DEK or EVENTDBX_DEK_FILE",
    { reason: "key_missing" },
  );

const keyWrong = () =>
  failedPrecondition(
    "the data encryption key that is set is not the one of this store; nothing was changed",
    { reason: "key_wrong" },
  );

/** Two generations: when the younger is full, the older goes. Cheaper than an order of use. */
function createCache(keys_max: number) {
  let younger = new Map<number, Uint8Array>();
  let older = new Map<number, Uint8Array>();
  const set = (stream_id: number, key: Uint8Array): void => {
    older.delete(stream_id);
    younger.set(stream_id, key);
    if (younger.size < keys_max / 2) return;
    older = younger;
    younger = new Map();
  };
  return {
    get: (stream_id: number): Uint8Array | undefined => {
      const key = younger.get(stream_id);
      if (key !== undefined) return key;
      const found = older.get(stream_id);
      if (found !== undefined) set(stream_id, found);
      return found;
    },
    set,
    delete: (stream_id: number): void => {
      younger.delete(stream_id);
      older.delete(stream_id);
    },
    count: (): number => younger.size + older.size,
    clear: (): void => {
      younger = new Map();
      older = new Map();
    },
  };
}
