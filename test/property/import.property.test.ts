// Taking over another node's events: whatever happened there, and however it comes over, the
// receiver ends up with the same streams or refuses; and nothing that was changed on the way gets
// in.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { erasedType } from "../../src/model/aggregate.ts";
import { verifyStream } from "../../src/engine/verify-stream.ts";
import { canonicalOf } from "../../src/model/canonical.ts";
import type { CommittedEvent } from "../../src/model/event.ts";
import { planImports, type ImportedEvent } from "../../src/model/import.ts";
import type { PlannedEvent } from "../../src/model/plan.ts";
import { keyText, type StreamKey } from "../../src/model/stream.ts";
import { createMemoryStorage } from "../../src/storage/memory.ts";
import type { Storage } from "../../src/storage/storage.ts";
import { append, event, openWriting, transaction, withDirectory } from "../support/storage.ts";

const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const runs = { seed, numRuns: 60 };

const keys: StreamKey[] = ["1", "2", "é\u{1f600}"].map((aggregate_id) => ({
  ...{ aggregate_type: "a", aggregate_id },
}));

interface Happening {
  readonly key: number;
  readonly erases: boolean;
  readonly payload: fc.JsonValue;
  readonly note: string | null;
}
const anyHistory = fc.array(
  fc.record<Happening>({
    key: fc.nat({ max: keys.length - 1 }),
    erases: fc.integer({ min: 0, max: 9 }).map((one) => one === 0),
    payload: fc.jsonValue({ maxDepth: 3 }),
    note: fc.constantFrom(null, null, "", "é\u0000", "note"),
  }),
  { minLength: 1, maxLength: 30 },
);

const keyAt = (index: number): StreamKey => keys[index] ?? { aggregate_type: "", aggregate_id: "" };

/** A node on which this has happened. */
async function nodeOf(history: readonly Happening[]): Promise<Storage> {
  const storage = createMemoryStorage({ sealing: "all" });
  const versions = new Map<number, number>();
  let minute = 0;
  for (const { key, erases, payload, note } of history) {
    const version = versions.get(key) ?? 0;
    const erasure: Partial<PlannedEvent> =
      erases && version > 0 ? { event_type: erasedType, erasure: { reason: `"${note}` } } : {};
    const planned = event(keyAt(key), { payload: canonicalOf(payload), note, ...erasure });
    const now = `2024-12-01T17:${String(++minute).padStart(2, "0")}:43.512345Z`;
    const issued_by = key === 0 ? null : { group: "g", user: `u${key}` };
    await append(storage, [transaction([planned], { issued_by })], { ...usual, now });
    versions.set(key, version + 1);
  }
  return storage;
}

const usual = {
  now: "2024-12-01T17:22:43.512345Z",
  allowanceOf: () => ({ ok: true as const, writes_max: null, expires_at: null, term: "t" }),
  checkSchema: () => undefined,
  snapshotThresholdOf: () => null,
  hidesSomething: () => false,
};

const told = ({
  position: _position,
  payload,
  note,
  salt,
  erased,
  ...rest
}: CommittedEvent): ImportedEvent => ({
  ...rest,
  body: erased === true ? null : { payload, note, salt },
});

const context = { created_at_max: null, snapshotThresholdOf: () => 3 };

async function take(storage: Storage, events: readonly ImportedEvent[]) {
  const ask = {
    keys: [...new Map(events.map((one) => [keyText(one), keyFrom(one)])).values()],
    event_ids: [...new Set(events.map(({ event_id }) => event_id))],
    token_ids: [],
  };
  const { outcomes } = await storage.commit(ask, (known) => planImports(known, events, context));
  const [outcome] = outcomes;
  if (outcome === undefined) throw new Error("there is an outcome");
  return outcome;
}
const keyFrom = ({ aggregate_type, aggregate_id }: StreamKey) => ({ aggregate_type, aggregate_id });

const logOf = (storage: Storage) => storage.readLog({ after: 0, limit: 1_000 });

/** Everything of a stream that does not depend on the node. */
async function streamsOf(storage: Storage) {
  const heads = await storage.readHeads({
    ...{ aggregate_type: null, after: null, skip: 0, limit: 100 },
  });
  return Promise.all(
    heads.map(async (head) => ({
      head: { ...head, frontier: head.frontier.size, root: head.root.toHex() },
      events: (await storage.readStream(head, { after: 0, limit: 1_000 })).map(
        ({ position: _position, salt, hash, merkle_root, content_digest, ...rest }) => ({
          ...rest,
          salt: rest.erased === true ? "" : salt.toHex(),
          ...{ hash: hash.toHex(), merkle_root: merkle_root.toHex() },
          content_digest: content_digest.toHex(),
        }),
      ),
      faults: await verifyStream(storage, head),
    })),
  );
}

/** The log of a node in the order of its positions, cut where the dice say. */
const pieces = <Row>(rows: readonly Row[], cuts: readonly number[]): Row[][] => {
  const parts: Row[][] = [];
  let start = 0;
  for (const cut of cuts) {
    const end = Math.min(rows.length, start + 1 + (cut % 7));
    if (start < end) parts.push(rows.slice(start, end));
    start = end;
  }
  if (start < rows.length) parts.push(rows.slice(start));
  return parts;
};

for (const where of ["memory", "sqlite, sealed"] as const) {
  test(`any history comes over, in pieces and again, to ${where} (SEED=${seed})`, async () => {
    await fc.assert(
      fc.asyncProperty(anyHistory, fc.array(fc.nat(), { maxLength: 12 }), async (history, cuts) => {
        const origin = await nodeOf(history);
        const events = (await logOf(origin)).map(told);
        await withDirectory(async (directory) => {
          const dek = new Uint8Array(32).fill(7);
          const receiver =
            where === "memory"
              ? createMemoryStorage({ sealing: "all" })
              : await openWriting(directory, { dek });
          // Bodies that are gone come with what erased them, so such a log comes in one piece.
          const hasErased = events.some(({ body }) => body === null);
          for (const part of hasErased ? [events] : pieces(events, cuts)) {
            const first = await take(receiver, part);
            expect(first.kind).toBe("appended");
            // An answer that was lost: the same once more.
            expect(await take(receiver, part)).toEqual({ kind: "appended", events: [] });
          }
          const here = await streamsOf(receiver);
          expect(here.map(({ faults }) => faults)).toEqual(here.map(() => []));
          expect(here).toEqual(await streamsOf(origin));
          await receiver.close();
        });
      }),
      where === "memory" ? runs : { ...runs, numRuns: 15 },
    );
  });
}

const forgeries: readonly ((event: ImportedEvent) => ImportedEvent)[] = [
  (event) => ({ ...event, event_type: `${event.event_type}x` }),
  (event) => ({ ...event, aggregate_id: `${event.aggregate_id}x` }),
  (event) => ({ ...event, event_id: Bun.randomUUIDv7() }),
  (event) => ({ ...event, created_at: "2024-12-01T17:59:59.999999Z" }),
  (event) => ({ ...event, issued_by: { group: "g", user: "mallory" } }),
  (event) => ({ ...event, version: event.version + 1 }),
  (event) => ({ ...event, content_digest: flipped(event.content_digest) }),
  (event) => ({ ...event, hash: flipped(event.hash) }),
  (event) => ({ ...event, merkle_root: flipped(event.merkle_root) }),
  (event) => withBody(event, { payload: canonicalOf({ forged: true }) }),
  (event) => withBody(event, { note: "forged" }),
  (event) => withBody(event, { salt: new Uint8Array(16) }),
  (event) => ({ ...event, body: null }),
];
const flipped = (bytes: Uint8Array) => bytes.map((byte, index) => (index === 5 ? byte ^ 4 : byte));
const withBody = (event: ImportedEvent, over: Partial<CommittedEvent>): ImportedEvent => ({
  ...event,
  body: event.body === null ? null : { ...event.body, ...over },
});

test(`whatever is changed on the way is refused, and nothing of its batch gets in (SEED=${seed})`, async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        anyHistory.map(([one]) => ({ ...one!, erases: false })),
        { minLength: 2, maxLength: 9 },
      ),
      fc.nat(),
      fc.nat({ max: forgeries.length - 1 }),
      async (history, at, which) => {
        const events = (await logOf(await nodeOf(history))).map(told);
        const index = at % events.length;
        const changed = events.map((one, place) =>
          place === index ? forgeries[which]!(one) : one,
        );
        const receiver = createMemoryStorage({ sealing: "all" });
        const outcome = await take(receiver, changed);
        expect(outcome.kind).toBe("refused");
        if (outcome.kind !== "refused") return;
        expect(outcome.error.code).toBe("failed_precondition");
        expect(outcome.error.details).toHaveProperty("reason");
        expect(await logOf(receiver)).toEqual([]);
        expect((await receiver.readLogHead()).streams).toBe(0);
      },
    ),
    { ...runs, numRuns: 200 },
  );
});
