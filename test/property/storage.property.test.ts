// Random histories: SQLite and memory answer every command alike, refusals included, and end up
// alike.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { canonicalOf } from "../../src/model/canonical.ts";
import { DbxError } from "../../src/model/error.ts";
import type { CommittedEvent } from "../../src/model/event.ts";
import type { PlanContext, PlannedEvent, Transaction } from "../../src/model/plan.ts";
import type { ExpectedVersion, StreamKey } from "../../src/model/stream.ts";
import { createMemoryStorage } from "../../src/storage/memory.ts";
import type { OpenOptions } from "../../src/storage/sqlite/open.ts";
import type { CommittedOutcome, Storage } from "../../src/storage/storage.ts";
import { append, openWriting, readAll, recompute, withDirectory } from "../support/storage.ts";

const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 31));

const keys: StreamKey[] = ["a", "b"].flatMap((aggregate_type) =>
  ["1", "2", "é\u{1f600}"].map((aggregate_id) => ({ aggregate_type, aggregate_id })),
);
const knownIds = Array.from({ length: 8 }, () => Bun.randomUUIDv7());
const tokenIds = ["00", "11"];

const context: PlanContext = {
  now: "2024-12-01T17:22:43.512345Z",
  allowanceOf: (token_id) => ({
    ok: true,
    writes_max: token_id === "00" ? 3 : null,
    expires_at: token_id === "00" ? null : "2030-01-01T00:00:00.000000Z",
    term: "t",
  }),
  checkSchema: ({ event_type }) => {
    if (event_type === "bad") throw new DbxError("schema_violation", "no such event");
  },
  snapshotThresholdOf: (type) => (type === "a" ? 3 : null),
  hidesSomething: (type) => type === "a",
};

const anyKey = fc.constantFrom(...keys);
const anyPayload = fc
  .oneof(fc.jsonValue(), fc.dictionary(fc.constantFrom("x", "y", "é"), fc.jsonValue()))
  .map(canonicalOf);
const anyExpectation = fc.oneof(
  { weight: 6, arbitrary: fc.constant<ExpectedVersion>("any") },
  { weight: 1, arbitrary: fc.constantFrom<ExpectedVersion>("no_stream", "stream_exists") },
  { weight: 1, arbitrary: fc.nat({ max: 6 }) },
);
const anyEvent: fc.Arbitrary<PlannedEvent> = fc
  .record({
    key: anyKey,
    event_type: fc.constantFrom("noted", "noted", "noted", "noted", "noted", "changed", "bad"),
    payload: fc.oneof(
      { weight: 9, arbitrary: fc.constant(canonicalOf({ x: 1 })) },
      { weight: 3, arbitrary: anyPayload },
      // Makes the states, and so the snapshots, larger than a block of the archive.
      { weight: 1, arbitrary: fc.constant(canonicalOf({ large: "x".repeat(400_000) })) },
    ),
    note: fc.constantFrom(null, null, "", "é\u0000", "note"),
    id: fc.oneof(
      { weight: 3, arbitrary: fc.constant(null) },
      { weight: 1, arbitrary: fc.constantFrom(...knownIds) },
    ),
    expected_version: anyExpectation,
    salt: fc.uint8Array({ minLength: 16, maxLength: 16 }),
  })
  .map(({ key, id, ...rest }) => ({
    ...key,
    ...rest,
    event_id: id ?? Bun.randomUUIDv7(),
    client_id: id !== null,
  }));
/** The event a client would send again: the id alone decides the rest, but for the salt. */
const anyRetry: fc.Arbitrary<PlannedEvent> = fc.nat({ max: knownIds.length - 1 }).map((index) => ({
  ...(keys[index % keys.length] ?? keys[0] ?? { aggregate_type: "a", aggregate_id: "1" }),
  event_type: "noted",
  payload: canonicalOf({ x: 1 }),
  note: null,
  event_id: knownIds[index] ?? "",
  client_id: true,
  expected_version: "any",
  salt: new Uint8Array(16),
}));
const anyTransaction: fc.Arbitrary<Transaction> = fc.record({
  // The same id twice in a batch is refused before it comes here.
  events: fc.oneof(
    {
      weight: 3,
      arbitrary: fc.uniqueArray(anyEvent, {
        minLength: 1,
        maxLength: 4,
        selector: (event) => event.event_id,
      }),
    },
    { weight: 1, arbitrary: fc.tuple(anyRetry) },
  ),
  batch: fc.boolean(),
  issued_by: fc.option(fc.constant({ group: "g", user: "ü" })),
  token_id: fc.option(fc.constantFrom(...tokenIds)),
});

const changes = ["remove", "archive", "restore", "keep"] as const;

type Command =
  | { readonly kind: "commits"; readonly commits: readonly (readonly Transaction[])[] }
  | { readonly kind: "bulk"; readonly key: StreamKey; readonly events: number }
  | { readonly kind: "create" | "erase" | (typeof changes)[number]; readonly key: StreamKey }
  | { readonly kind: "turns"; readonly key: StreamKey }
  | { readonly kind: "read"; readonly after: number; readonly limit: number }
  | { readonly kind: "reopen" };

/** Only what is sealed can be erased. */
const anyErasure = fc.record({ kind: fc.constant("erase" as const), key: anyKey });
const anyCommand = ({ erases }: { erases: boolean }): fc.Arbitrary<Command> =>
  fc.oneof(
    ...(erases ? [{ weight: 3, arbitrary: anyErasure }] : []),
    {
      weight: 8,
      arbitrary: fc.record({
        kind: fc.constant("commits" as const),
        // Several commits at once: none waits for the one before.
        commits: fc.array(fc.array(anyTransaction, { maxLength: 4 }), {
          minLength: 1,
          maxLength: 4,
        }),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant("bulk" as const),
        key: anyKey,
        events: fc.integer({ min: 60, max: 140 }),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("create" as const), key: anyKey }) },
    {
      weight: 4,
      arbitrary: fc.record({ kind: fc.constantFrom(...changes), key: anyKey }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("turns" as const), key: anyKey }) },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant("read" as const),
        after: fc.nat({ max: 150 }),
        limit: fc.nat({ max: 70 }),
      }),
    },
    { weight: 1, arbitrary: fc.constant({ kind: "reopen" as const }) },
  );

const dek = new Uint8Array(32).fill(7);
const ways = [
  { threads: false, dek: null, runs: 120 },
  { threads: "copier", dek: null, runs: 30 },
  { threads: "both", dek: null, runs: 30 },
  { threads: false, dek, runs: 60 },
  { threads: "both", dek, runs: 20 },
] as const;

for (const { runs, ...way } of ways) {
  const name = `${way.dek === null ? "" : "sealed, "}threads: ${way.threads}`;
  test(`sqlite, ${name}, agrees with memory (SEED=${seed})`, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(anyCommand({ erases: way.dek !== null }), { maxLength: 12 }),
        fc.constantFrom(1, 3, 1000),
        (commands, heads_max) =>
          // What is compared does not depend on when the disk has it; fsyncs would only take time.
          agree(commands, { heads_max, ...way, durability: "normal" }),
      ),
      { seed, numRuns: runs },
    );
    // A history generator that stopped provoking refusals would agree about nothing.
    for (const kind of [...refusalKinds, "appended", "repeated"]) expect(seen).toContain(kind);
    if (way.dek !== null) expect(seen).toContain("erased");
  }, 120_000);
}

async function agree(commands: readonly Command[], options: Partial<OpenOptions>): Promise<void> {
  await withDirectory(async (directory) => {
    const memory = createMemoryStorage({ sealing: "none" });
    let sqlite = await openWriting(directory, options);
    try {
      for (const command of commands) {
        if (command.kind === "reopen") {
          await sqlite.close();
          sqlite = await openWriting(directory, options);
          continue;
        }
        const prepared = prepare(command);
        expect(await prepared(sqlite)).toEqual(await prepared(memory));
      }
      const remembered = await everything(sqlite);
      expect(remembered).toEqual(await everything(memory));
      if (remembered.events.some(({ erased }) => erased === true)) seen.add("erased");
      expect(await recompute(sqlite)).toEqual([]);
    } finally {
      await sqlite.close();
    }
  });
}

/** What both are asked; everything random is drawn before either is. */
function prepare(command: Exclude<Command, { kind: "reopen" }>) {
  switch (command.kind) {
    case "commits":
      return (storage: Storage) =>
        Promise.all(
          command.commits.map(async (transactions) => {
            const { outcomes, position } = await append(storage, transactions, context);
            return { position, outcomes: outcomes.map(comparable) };
          }),
        );
    case "bulk": {
      const events = Array.from({ length: command.events }, (): PlannedEvent => ({
        ...command.key,
        event_type: "noted",
        payload: canonicalOf({ bulk: true }),
        note: null,
        event_id: Bun.randomUUIDv7(),
        client_id: false,
        expected_version: "any",
        salt: new Uint8Array(16),
      }));
      const transactions = [{ events, batch: true, issued_by: null, token_id: null }];
      return async (storage: Storage) =>
        (await append(storage, transactions, context)).outcomes.map(comparable);
    }
    case "erase": {
      const erasing: PlannedEvent = {
        ...command.key,
        event_type: "$erased",
        payload: canonicalOf(null),
        note: null,
        event_id: Bun.randomUUIDv7(),
        client_id: false,
        expected_version: "stream_exists",
        salt: new Uint8Array(16),
        erasure: { reason: "asked for" },
      };
      const transactions = [{ events: [erasing], batch: false, issued_by: null, token_id: null }];
      return async (storage: Storage) => {
        const { outcomes } = await append(storage, transactions, context);
        // Whoever has no answer may never ask for it; nothing may depend on it.
        if (command.key.aggregate_type === "a") await storage.forgetErased(command.key);
        return outcomes.map(comparable);
      };
    }
    case "create":
      return (storage: Storage) => storage.createStream(command.key, why);
    case "remove":
      return (storage: Storage) => storage.removeStream(command.key, why);
    case "archive":
      return (storage: Storage) => storage.archiveStream(command.key, why);
    case "restore":
      return (storage: Storage) => storage.restoreStream(command.key, { ...why, comment: "é" });
    case "keep":
      return (storage: Storage) => storage.keepSnapshot(command.key, { ...why, comment: "kept" });
    case "turns":
      // None waits for the one before. A restore comes last of those that stand on the archive: it
      // waits for the move before it, and others do not wait for it.
      return (storage: Storage) =>
        Promise.all([
          storage.createStream(command.key, why),
          storage.keepSnapshot(command.key, why),
          storage.archiveStream(command.key, why),
          storage.keepSnapshot(command.key, why),
          storage.restoreStream(command.key, why),
          storage.removeStream(command.key, why),
          storage.createStream(command.key, why),
        ]);
    case "read":
      return (storage: Storage) => pages(storage, command);
  }
}

const why = { at: "2025-01-01T00:00:00.000000Z", issued_by: null, comment: null };

async function pages(storage: Storage, { after, limit }: { after: number; limit: number }) {
  const skip = after % 4;
  return {
    log: await storage.readLog({ after, limit }),
    streams: await Promise.all(keys.map((key) => storage.readStream(key, { after, limit }))),
    heads: await storage.readHeads({
      aggregate_type: [null, "a", "b"][limit % 3] ?? null,
      ...{ after: keys[after % 7] ?? null, skip, limit },
    }),
    snapshot: await storage.readSnapshot(
      { aggregate_type: "a", aggregate_id: "1" },
      { version_max: after },
    ),
    known: await storage.readEvents(knownIds.slice(skip)).then(byPosition),
    audit: await storage.readAudit({ after: skip, limit }),
    back: await storage.readAuditBack({ before: after, limit }),
    snapshots: await storage.readSnapshots(
      { aggregate_type: "a", aggregate_id: "1" },
      { after, limit },
    ),
  };
}

const byPosition = (events: readonly CommittedEvent[]) =>
  events.toSorted((left, right) => left.position - right.position);

const seen = new Set<string>();
const refusalKinds = [
  "aggregate_archived",
  "already_exists",
  "permission_denied",
  "version_conflict",
  "schema_violation",
];

/** Errors compare by what a client sees of them. */
function comparable(outcome: CommittedOutcome) {
  seen.add(outcome.kind === "refused" ? outcome.error.code : outcome.kind);
  if (outcome.kind !== "refused") return outcome;
  const { code, message, details } = outcome.error;
  return { kind: outcome.kind, code, message, details };
}

const everything = async (storage: Storage) => ({
  events: await readAll(storage, 7),
  streams: await Promise.all(keys.map((key) => storage.readStream(key, { after: 0, limit: 999 }))),
  heads: await storage.readHeads({ aggregate_type: null, after: null, skip: 0, limit: 100 }),
  each: await Promise.all(keys.map((key) => storage.readHead(key))),
  log: await storage.readLogHead(),
  snapshots: await Promise.all(
    keys.map((key) => storage.readSnapshots(key, { after: 0, limit: 999 })),
  ),
  uses: await storage.readTokenUses(tokenIds),
  audit: await storage.readAudit({ after: 0, limit: 999 }),
});
