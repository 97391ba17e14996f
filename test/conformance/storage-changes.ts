// What every implementation of the storage port must do with what happens to a stream as a whole:
// removal, archiving, snapshots by hand, and the audit trail. Called by storage.ts.

import { expect } from "bun:test";
import type { Change } from "../../src/model/audit.ts";
import { canonicalOf } from "../../src/model/canonical.ts";
import type { CommittedEvent } from "../../src/model/event.ts";
import { planImports, type ImportedEvent } from "../../src/model/import.ts";
import { createMemoryStorage } from "../../src/storage/memory.ts";
import type { StreamKey } from "../../src/model/stream.ts";
import type { Storage } from "../../src/storage/storage.ts";
import { append, context, event, readAll, recompute, transaction } from "../support/storage.ts";

/** What an entry about an aggregate does not have. */
const nothingMore = { subject: null, details: canonicalOf(null) };

export interface Subject {
  readonly storage: Storage;
  /** The same memory after a restart; null where nothing survives one. */
  readonly reopen: (() => Promise<Storage>) | null;
}

export type Check = (title: string, use: (subject: Subject) => Promise<void>) => void;

const jane: StreamKey = { aggregate_type: "patient", aggregate_id: "p-001" };
const john: StreamKey = { aggregate_type: "patient", aggregate_id: "p-002" };
const unknown: StreamKey = { aggregate_type: "patient", aggregate_id: "nobody" };

const change = (comment: string | null = null, at = "2025-01-01T00:00:00.000000Z"): Change => ({
  at,
  issued_by: { group: "admin", user: "jane" },
  comment,
});

const trail = (storage: Storage) => storage.readAudit({ after: 0, limit: 100 });

export function changes(check: Check): void {
  removal(check);
  archiving(check);
  snapshots(check);
  imports(check);
}

function imports(check: Check): void {
  check("positions that were imported are known, and no others", async ({ storage, reopen }) => {
    const origin = createMemoryStorage({ sealing: "none" });
    for (let count = 0; count < 5; count++) {
      await append(origin, [transaction([event(count < 3 ? jane : john)])]);
    }
    const events = (await origin.readLog({ after: 0, limit: 9 })).map(importedFrom);
    const bring = (part: readonly ImportedEvent[]) =>
      storage.commit(
        {
          ...{ keys: [jane, john], event_ids: part.map(({ event_id }) => event_id) },
          token_ids: [],
        },
        (known) =>
          planImports(known, part, { created_at_max: null, snapshotThresholdOf: () => null }),
      );
    await append(storage, [transaction([event({ ...jane, aggregate_id: "own" })])]);
    await bring(events.slice(0, 2));
    await append(storage, [transaction([event({ ...jane, aggregate_id: "own" })])]);
    await bring(events);
    // All known: nothing is written, and nothing is an import.
    await bring(events);
    await append(storage, [transaction([event(john)])]);

    const again = (await reopen?.()) ?? storage;

    const within = (first: number, last: number) => again.readImports({ first, last });
    expect(await within(1, 8)).toEqual([
      { first: 2, last: 3 },
      { first: 5, last: 7 },
    ]);
    expect(await within(3, 5)).toEqual([
      { first: 3, last: 3 },
      { first: 5, last: 5 },
    ]);
    expect(await within(6, 6)).toEqual([{ first: 6, last: 6 }]);
    for (const position of [1, 4, 8, 99]) expect(await within(position, position)).toEqual([]);
    expect(await recompute(again)).toEqual([]);
  });
}

const importedFrom = ({ position: _position, ...one }: CommittedEvent): ImportedEvent => {
  const { payload, note, salt, ...rest } = one;
  return { ...rest, body: { payload, note, salt } };
};

function removal(check: Check): void {
  check("a stream without events is removed, and made anew", async ({ storage, reopen }) => {
    await storage.createStream(jane, change());
    await storage.createStream(john, change());
    const { keys } = await storage.readLogHead();

    expect(await storage.removeStream(jane, change("mistyped"))).toBe("removed");

    expect(await storage.readHead(jane)).toBeUndefined();
    expect((await storage.readLogHead()).streams).toBe(1);
    expect((await storage.readLogHead()).keys).not.toEqual(keys);
    expect(await storage.removeStream(jane, change())).toBe("not_found");
    await append(storage, [transaction([event(jane, { expected_version: "no_stream" })])]);
    expect((await storage.readLogHead()).keys).toEqual(keys);
    expect(await recompute(storage)).toEqual([]);
    const again = (await reopen?.()) ?? storage;
    expect(await again.createStream(unknown, change("typed"))).toBe(true);
    expect(await again.createStream(unknown, change("twice"))).toBe(false);
    await append(again, [transaction([event(jane, { expected_version: 1 })])]);
    expect(await recompute(again)).toEqual([]);
    expect(await trail(again)).toEqual([
      { entry: 1, action: "create", ...jane, ...nothingMore, ...change() },
      { entry: 2, action: "create", ...john, ...nothingMore, ...change() },
      { entry: 3, action: "remove", ...jane, ...nothingMore, ...change("mistyped") },
      // Not jane again: an append made her.
      { entry: 4, action: "create", ...unknown, ...nothingMore, ...change("typed") },
    ]);
  });

  check("a stream with events stays", async ({ storage }) => {
    await append(storage, [transaction([event(jane)])]);

    expect(await storage.removeStream(jane, change())).toBe("has_events");
    expect(await storage.removeStream(unknown, change())).toBe("not_found");

    expect((await storage.readHead(jane))?.version).toBe(1);
    expect(await trail(storage)).toEqual([]);
  });

  check("removing, creating and appending at once are seen in call order", async ({ storage }) => {
    const answers = await Promise.all([
      storage.createStream(jane, change()),
      storage.removeStream(jane, change()),
      storage.removeStream(jane, change()),
      storage.createStream(jane, change()),
      storage.createStream(jane, change()),
      append(storage, [transaction([event(jane, { expected_version: "no_stream" })])]),
      storage.removeStream(jane, change()),
      storage.removeStream(john, change()),
      append(storage, [transaction([event(john)])]),
    ]);

    const [one, two, three, four, five, six, seven, eight, nine] = answers;
    expect([one, two, three, four, five]).toEqual([true, "removed", "not_found", true, false]);
    expect([seven, eight]).toEqual(["has_events", "not_found"]);
    expect([six.outcomes[0]?.kind, nine.outcomes[0]?.kind]).toEqual(["appended", "appended"]);
    expect((await storage.readLogHead()).streams).toBe(2);
    expect(await recompute(storage)).toEqual([]);
  });
}

function archiving(check: Check): void {
  check("an archived stream reads as before and takes no events", async ({ storage, reopen }) => {
    const planContext = { ...context, snapshotThresholdOf: () => 100 };
    const events = (key: StreamKey) =>
      Array.from({ length: 300 }, (_, n) =>
        event(key, { payload: canonicalOf({ n, ü: "\u0000é😀" }), note: n % 2 ? `é"${n}` : null }),
      );
    await append(storage, [transaction(events(jane))], planContext);
    await append(storage, [transaction(events(john)), transaction(events(jane))], planContext);
    await storage.keepSnapshot(jane, change("last"));
    const before = await everything(storage);

    const head = await storage.archiveStream(jane, change("old"));

    expect(head).toMatchObject({ ...jane, version: 600, archived: true });
    expect((await storage.readHead(jane))?.archived).toBe(true);
    expect(await everything(storage)).toEqual(before);
    const again = (await reopen?.()) ?? storage;
    expect(await everything(again)).toEqual(before);
    expect(await recompute(again)).toEqual([]);
    const refused = await append(again, [transaction([event(jane)]), transaction([event(john)])]);
    expect(refused.outcomes[0]).toMatchObject({
      kind: "refused",
      error: { code: "aggregate_archived" },
    });
    expect(refused.outcomes[1]?.kind).toBe("appended");
    expect(await again.keepSnapshot(jane, change())).toBe("archived");
    expect(await again.archiveStream(jane, change())).toMatchObject({ archived: true });

    const restored = await again.restoreStream(jane, change("needed"));

    expect(restored).toMatchObject({ version: 600, archived: false });
    expect(await again.restoreStream(jane, change())).toMatchObject({ archived: false });
    expect(await again.restoreStream(jane, change("why"))).toMatchObject({ archived: false });
    await append(again, [transaction([event(jane, { expected_version: 600 })])]);
    expect((await everything(again)).jane.slice(0, 600)).toEqual(before.jane);
    expect((await everything(again)).snapshots).toEqual(before.snapshots);
    expect(await recompute(again)).toEqual([]);
    expect((await trail(again)).map((entry) => [entry.action, entry.comment])).toEqual([
      ["snapshot", "last"],
      ["archive", "old"],
      ["restore", "needed"],
      // Nothing is done, but what somebody says to it is kept.
      ["restore", "why"],
    ]);
  });

  check("a known event id is answered after archiving, too", async ({ storage }) => {
    const asked = event(jane, { client_id: true, payload: canonicalOf({ long: "x".repeat(99) }) });
    const first = await append(storage, [transaction([asked])]);
    await storage.archiveStream(jane, change());

    const again = await append(storage, [transaction([asked])]);
    const other = await append(storage, [transaction([{ ...asked, note: "new" }])]);

    const [appended] = first.outcomes;
    if (appended?.kind !== "appended") throw new Error("not appended");
    expect(again.outcomes).toEqual([{ kind: "repeated", events: appended.events }]);
    expect(other.outcomes[0]).toMatchObject({ kind: "refused", error: { code: "already_exists" } });
    expect(await storage.readEvents([asked.event_id, Bun.randomUUIDv7()])).toEqual([
      ...appended.events,
    ]);
  });

  check(
    "archiving, restoring and appending at once are seen in call order",
    async ({ storage }) => {
      await append(storage, [transaction([event(jane), event(john)])]);

      const [archived, refused, , , appended, lastly] = await Promise.all([
        storage.archiveStream(jane, change()),
        append(storage, [transaction([event(jane)])]),
        storage.archiveStream(john, change()),
        storage.restoreStream(john, change()),
        append(storage, [transaction([event({ ...jane, aggregate_id: "other" })])]),
        storage.restoreStream(jane, change()),
      ]);

      expect(archived?.archived).toBe(true);
      expect(refused.outcomes[0]?.kind).toBe("refused");
      expect(appended.outcomes[0]?.kind).toBe("appended");
      expect(lastly?.archived).toBe(false);
      await append(storage, [transaction([event(jane, { expected_version: 1 }), event(john)])]);
      expect((await readAll(storage)).length).toBe(5);
      expect(await recompute(storage)).toEqual([]);
    },
  );

  check("an empty stream is archived and removed, an unknown one neither", async ({ storage }) => {
    await storage.createStream(jane, change());

    expect(await storage.archiveStream(jane, change())).toMatchObject({ version: 0 });
    expect(await storage.archiveStream(unknown, change())).toBeUndefined();
    expect(await storage.restoreStream(unknown, change())).toBeUndefined();

    expect(await recompute(storage)).toEqual([]);
    expect(await storage.removeStream(jane, change())).toBe("removed");
    await storage.createStream(jane, change());
    expect((await storage.readHead(jane))?.archived).toBe(false);
    expect(await recompute(storage)).toEqual([]);
  });
}

function snapshots(check: Check): void {
  check("a snapshot kept by hand is read back, and keeps its comment", async ({ storage }) => {
    const payload = canonicalOf({ a: 1 });
    await append(storage, [transaction([event(jane, { payload }), event(jane)])]);
    const head = await storage.readHead(jane);

    const first = await storage.keepSnapshot(jane, change());
    const second = await storage.keepSnapshot(jane, change("reviewed", "2025-01-02"));
    const third = await storage.keepSnapshot(jane, change(null, "2025-01-03"));

    const { at: created_at } = change();
    expect(first).toEqual({
      ...{ ...jane, version: 2, state: payload.replace("1", '"1"'), created_at, comment: null },
      merkle_root: head?.root,
    } as typeof first);
    expect(second).toEqual({ ...Object(first), comment: "reviewed" });
    expect(third).toEqual(second);
    expect(await storage.readSnapshots(jane, { after: 0, limit: 9 })).toEqual([Object(third)]);
    expect((await trail(storage)).map(({ entry, at }) => [entry, at])).toEqual([
      [1, created_at],
      [2, "2025-01-02"],
      [3, "2025-01-03"],
    ]);
    expect(await storage.readAudit({ after: 1, limit: 1 })).toMatchObject([{ entry: 2 }]);
  });

  check("the audit trail is read in pages, forwards and backwards", async ({ storage }) => {
    await append(storage, [transaction([event(jane)])]);
    for (let n = 0; n < 5; n++) await storage.keepSnapshot(jane, change(`${n}`));
    const all = await trail(storage);
    const back = (before: number, limit: number) => storage.readAuditBack({ before, limit });

    expect(all.map(({ entry }) => entry)).toEqual([1, 2, 3, 4, 5]);
    expect(await back(Number.MAX_SAFE_INTEGER, 100)).toEqual(all.toReversed());
    expect((await back(6, 2)).map(({ entry }) => entry)).toEqual([5, 4]);
    expect((await back(4, 2)).map(({ entry }) => entry)).toEqual([3, 2]);
    expect(await back(1, 2)).toEqual([]);
    expect(await back(0, 2)).toEqual([]);
    expect(await storage.readAudit({ after: 5, limit: 2 })).toEqual([]);
  });

  check("appends and snapshots at once are seen in call order", async ({ storage }) => {
    const planContext = { ...context, snapshotThresholdOf: () => 2 };
    const [, none, , first, , automatic] = await Promise.all([
      storage.createStream(jane, change()),
      storage.keepSnapshot(jane, change()),
      append(storage, [transaction([event(jane)])], planContext),
      storage.keepSnapshot(jane, change("one")),
      append(storage, [transaction([event(jane)])], planContext),
      storage.keepSnapshot(jane, change()),
      storage.keepSnapshot(jane, change("two")),
    ]);

    expect(none).toBe("no_events");
    expect(first).toMatchObject({ version: 1, comment: "one" });
    expect(automatic).toMatchObject({ version: 2, comment: "auto snapshot v2" });
    const all = await storage.readSnapshots(jane, { after: 0, limit: 9 });
    expect(all.map(({ version, comment }) => [version, comment])).toEqual([
      [1, "one"],
      [2, "two"],
    ]);
    expect(await storage.keepSnapshot(unknown, change())).toBeUndefined();
    expect((await trail(storage)).map(({ action }) => action)).toEqual([
      "create",
      "snapshot",
      "snapshot",
      "snapshot",
    ]);
  });

  check("the latest snapshot up to a version is found", async ({ storage }) => {
    const planContext = { ...context, snapshotThresholdOf: () => 3 };
    const events = Array.from({ length: 10 }, () => event(jane));
    await append(storage, [transaction(events)], planContext);
    const at = async (version_max: number) =>
      (await storage.readSnapshot(jane, { version_max }))?.version;

    for (const archived of [false, true]) {
      if (archived) await storage.archiveStream(jane, change());
      expect(await Promise.all([0, 2, 3, 5, 6, 8, 9, 10, 99].map(at))).toEqual([
        undefined,
        undefined,
        3,
        3,
        6,
        6,
        9,
        9,
        9,
      ]);
    }
    expect(await storage.readSnapshot(john, { version_max: 9 })).toBeUndefined();
  });
}

const everything = async (storage: Storage) => ({
  log: await readAll(storage, 90),
  jane: await storage.readStream(jane, { after: 0, limit: 1_000 }),
  middle: await storage.readStream(jane, { after: 250, limit: 10 }),
  byId: await storage.readEvents(
    (await storage.readLog({ after: 100, limit: 3 })).map((each) => each.event_id),
  ),
  snapshots: await storage.readSnapshots(jane, { after: 0, limit: 100 }),
  later: await storage.readSnapshots(jane, { after: 200, limit: 3 }),
});
