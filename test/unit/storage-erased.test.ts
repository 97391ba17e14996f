// An erasure, as the storage sees it: the key goes in the commit that tells of it, and nothing is
// read, moved or checked with what it had sealed.

import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { canonicalOf } from "../../src/model/canonical.ts";
import { planAppends } from "../../src/model/plan.ts";
import {
  append,
  change,
  context,
  event,
  jane,
  openReading,
  openWriting,
  transaction,
  withDirectory,
} from "../support/storage.ts";

const dek = new Uint8Array(32).fill(7);
const due = { ...context, snapshotThresholdOf: () => 2 };

describe("an erasure", () => {
  test.each([false, "both"] as const)(
    "makes what was before it unreadable for good (threads: %p)",
    (threads) =>
      withDirectory(async (directory) => {
        const storage = await openWriting(directory, { dek, threads });
        await append(storage, [transaction([event(jane), event(jane)])], due);
        const keyBefore = keyRow(directory, 1);
        const erasing = event(jane, { event_type: "$erased", erasure: { reason: "asked for" } });
        await storage.commit({ keys: [jane], event_ids: [], token_ids: [] }, (known) =>
          planAppends(known, [transaction([erasing])], context),
        );
        await append(storage, [transaction([event(jane)])], context);

        const events = await storage.readStream(jane, { after: 0, limit: 9 });
        expect(events.map(({ erased, payload, note }) => [erased, payload, note])).toEqual([
          [true, canonicalOf(null), null],
          [true, canonicalOf(null), null],
          [undefined, canonicalOf({ reason: "asked for", through: 2 }), null],
          [undefined, canonicalOf({ a: 1 }), null],
        ]);
        expect(await storage.readSnapshots(jane, { after: 0, limit: 9 })).toEqual([]);
        expect(await storage.readSnapshot(jane, { version_max: 9 })).toBeUndefined();
        const head = await storage.readHead(jane);
        expect(head).toMatchObject({ version: 4, erased: 2, state: canonicalOf({ a: "1" }) });
        expect(keyRow(directory, 1)).not.toEqual(keyBefore);
        expect(await storage.check({ limit: 9 })).toEqual([]);
        await storage.close();
        const again = await openReading(directory, { dek });
        expect(await again.readStream(jane, { after: 0, limit: 9 })).toEqual(events);
        await again.close();
      }),
  );
});

// A crash may come before `forgetErased`: nothing may depend on what it clears away.
test.each([
  { threads: false, forgets: true },
  { threads: false, forgets: false },
  { threads: "both", forgets: false },
] as const)("an archived aggregate is erased, restored and archived again: %o", (options) =>
  withDirectory(async (directory) => {
    const { threads, forgets } = options;
    let storage = await openWriting(directory, { dek, threads });
    /** The old key must not help because somebody still has it in memory. */
    const reopen = async () => {
      await storage.close();
      storage = await openWriting(directory, { dek, threads });
    };
    const sound = async (bodies: readonly (string | null)[]) => {
      const events = await storage.readStream(jane, { after: 0, limit: 9 });
      const seen = events.map(({ erased, payload }): string | null =>
        erased === true ? null : payload,
      );
      expect(seen).toEqual([...bodies]);
      expect(await storage.check({ limit: 9 })).toEqual([]);
    };
    await append(storage, [transaction([event(jane), event(jane), event(jane)])], due);
    await storage.keepSnapshot(jane, change);
    await storage.archiveStream(jane, change);
    const erasing = event(jane, { event_type: "$erased", erasure: { reason: "asked for" } });
    await storage.commit({ keys: [jane], event_ids: [], token_ids: [] }, (known) =>
      planAppends(known, [transaction([erasing])], context),
    );
    const told = canonicalOf({ reason: "asked for", through: 3 });
    if (forgets) await storage.forgetErased(jane);
    await reopen();
    await sound([null, null, null, told]);
    expect(await storage.readSnapshot(jane, { version_max: 9 })).toBeUndefined();

    await storage.restoreStream(jane, change);
    await append(storage, [transaction([event(jane)])]);
    await reopen();
    await sound([null, null, null, told, canonicalOf({ a: 1 })]);

    await storage.archiveStream(jane, change);
    await reopen();
    await sound([null, null, null, told, canonicalOf({ a: 1 })]);
    await storage.restoreStream(jane, change);
    await sound([null, null, null, told, canonicalOf({ a: 1 })]);
    await storage.close();
  }),
);

test("bodies and snapshots of an erased aggregate that are still there go when it is archived", () =>
  withDirectory(async (directory) => {
    const storage = await openWriting(directory, { dek });
    await append(storage, [transaction([event(jane), event(jane)])], due);
    const erasing = event(jane, { event_type: "$erased", erasure: { reason: "asked for" } });
    await storage.commit({ keys: [jane], event_ids: [], token_ids: [] }, (known) =>
      planAppends(known, [transaction([erasing])], context),
    );
    await storage.archiveStream(jane, change);
    expect(await storage.check({ limit: 9 })).toEqual([]);
    await storage.close();
    using database = new Database(join(directory, "dbx.db"), { readonly: true });
    expect(database.query("SELECT * FROM sealed_body").all()).toEqual([]);
    expect(database.query("SELECT * FROM snapshot").all()).toEqual([]);
  }));

test("whoever reads meanwhile in another process is told of it, whatever keys he has in memory", () =>
  withDirectory(async (directory) => {
    const storage = await openWriting(directory, { dek });
    await append(storage, [transaction([event(jane), event(jane)])], due);
    const reader = await openReading(directory, { dek });
    expect(await reader.readStream(jane, { after: 0, limit: 9 })).toHaveLength(2);
    expect((await reader.readHead(jane))?.state).toBe(canonicalOf({ a: "1" }));
    expect(await reader.readSnapshots(jane, { after: 0, limit: 9 })).toHaveLength(1);
    const erasing = event(jane, { event_type: "$erased", erasure: { reason: "asked for" } });
    await storage.commit({ keys: [jane], event_ids: [], token_ids: [] }, (known) =>
      planAppends(known, [transaction([erasing])], context),
    );
    const events = await reader.readStream(jane, { after: 0, limit: 9 });
    expect(events.map(({ erased }) => erased)).toEqual([true, true, undefined]);
    expect(events.at(-1)?.payload).toBe(canonicalOf({ reason: "asked for", through: 2 }));
    expect((await reader.readHead(jane))?.state).toBe(canonicalOf({}));
    expect(await reader.readSnapshots(jane, { after: 0, limit: 9 })).toEqual([]);
    await reader.close();
    await storage.close();
  }));

function keyRow(directory: string, stream_id: number): unknown {
  using database = new Database(join(directory, "dbx.db"), { readonly: true });
  return database.query("SELECT wrapped FROM data_key WHERE stream_id = ?").get(stream_id);
}
