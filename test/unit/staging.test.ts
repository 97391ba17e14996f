// Staging over a real store: what may be queued, what one commit makes of the queue, and that no
// refusal, crash or crowd loses an event or appends one twice.

import { describe, expect, test } from "bun:test";
import { renameSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { canonicalOf } from "../../src/model/canonical.ts";
import type { ErrorCode } from "../../src/model/error.ts";
import type { Event } from "../../src/model/event.ts";
import { limits } from "../../src/model/limits.ts";
import type { StagedEvent } from "../../src/model/staged.ts";
import type { ExpectedVersion } from "../../src/model/stream.ts";
import { realSystem } from "../../src/system.ts";
import {
  loggedIds,
  noted,
  refusalOf,
  stagedIds,
  stagedPath,
  stagedText,
} from "../support/staged.ts";
import { openStore, root } from "../support/store.ts";
import { tempDir } from "../support/temp.ts";

const id = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`;
const jane = { ...root, group: "nurse", user: "jane", grants: ["read", "append"] as const };

describe("an event that is staged", () => {
  test("has its id, actor and time at once, and is in no log", async () => {
    using dir = tempDir();
    const now = "2026-01-01T00:00:00.000001Z";
    await using store = await openStore(dir.path, { system: { now: () => now } });
    const input = noted("p-1", { note: "n", expected_version: "no_stream" });
    const staged = await store.dbx.stageEvent(jane, input);
    expect(staged.event_id).toMatch(/^[0-9a-f-]{36}$/);
    expect(staged).toMatchObject({
      ...input,
      issued_by: { group: "nurse", user: "jane" },
      staged_at: now,
    });
    expect(await store.dbx.listStaged(root, {})).toEqual([staged]);
    expect(await loggedIds(store)).toEqual([]);
    expect(statSync(stagedPath(dir.path)).mode & 0o777).toBe(0o600);
  });

  test("is expected to meet its aggregate as the staged ones before leave it", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const stage = (expected_version: ExpectedVersion) =>
      store.dbx.stageEvent(root, noted("p-1", { expected_version }));
    await stage("no_stream");
    await store.dbx.stageEvent(root, noted("p-2"));
    await stage(1);
    const refusal = await refusalOf(stage(1));
    expect(refusal.code).toBe("version_conflict");
    expect(refusal.details).toMatchObject({ actual: 2 });
    expect((await refusalOf(stage("no_stream"))).code).toBe("version_conflict");
    const records = await store.dbx.commitStaged(root, {});
    expect(records.map(({ aggregate_id, version }) => [aggregate_id, version])).toEqual([
      ["p-1", 1],
      ["p-2", 1],
      ["p-1", 2],
    ]);
  });

  test("is one event however often it is sent under its id", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const event = noted("p-1", { event_id: "ABCDEF00-0000-4000-8000-000000000001" });
    const first = await store.dbx.stageEvent(jane, event);
    expect(first.event_id).toBe("abcdef00-0000-4000-8000-000000000001");
    const again = await store.dbx.stageEvent(root, { ...event, expected_version: 7 });
    expect(again).toEqual(first);
    const other = await refusalOf(store.dbx.stageEvent(root, { ...event, note: "other" }));
    expect(other.code).toBe("already_exists");
    expect(await stagedIds(store)).toEqual([first.event_id]);
  });

  test("is refused for what would refuse it now, and the queue stays as it is", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path, { config: { payload_limit: 10 } });
    await store.dbx.appendEvent(root, noted("p-1", { event_id: id(1) }));
    await store.dbx.appendEvent(root, noted("old"));
    await store.dbx.archiveAggregate(root, { aggregate_type: "patient", aggregate_id: "old" });
    await store.dbx.stageEvent(root, noted("p-2"));
    const before = stagedText(dir.path);
    const wrong: [Event, ErrorCode][] = [
      [noted("p-1", { expected_version: 2 }), "version_conflict"],
      [noted("p-1", { event_type: "$erased" }), "invalid_argument"],
      [noted("p-1", { payload: canonicalOf("x".repeat(9)) }), "too_large"],
      [noted("old"), "aggregate_archived"],
      [noted("p-1", { event_id: id(1), note: "other" }), "already_exists"],
      [noted("p-1", { event_id: id(1) }), "already_exists"],
    ];
    for (const [event, code] of wrong) {
      expect((await refusalOf(store.dbx.stageEvent(root, event))).code).toBe(code);
    }
    const last = await refusalOf(store.dbx.stageEvent(root, noted("p-1", { event_id: id(1) })));
    expect(last.message).toContain("is committed already, at position 1; nothing is staged");
    expect(stagedText(dir.path)).toBe(before);
  });

  test("needs a schema in strict mode", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path, { config: { restrict: "strict" } });
    const refusal = await refusalOf(store.dbx.stageEvent(root, noted("p-1")));
    expect(refusal.code).toBe("schema_violation");
    expect(await stagedIds(store)).toEqual([]);
  });

  test("is not refused because another one no longer fits", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const stale = noted("p-1", { event_id: id(1), expected_version: "no_stream" });
    await store.dbx.stageEvent(root, stale);
    await store.dbx.appendEvent(root, noted("p-1"));
    const next = noted("p-1", { event_id: id(2), expected_version: 1 });
    expect((await store.dbx.stageEvent(root, next)).event_id).toBe(id(2));
    const refusal = await refusalOf(store.dbx.commitStaged(root, {}));
    expect(refusal.details).toMatchObject({ index: 0, event_id: id(1), actual: 1 });
    await store.dbx.discardStaged(root, { event_id: id(1) });
    expect(await store.dbx.commitStaged(root, {})).toMatchObject([{ version: 2 }]);
  });
});

describe("the bounds of the queue", () => {
  test("one event more than fits says what to do; one commit takes all that fit", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const { staged_events_max } = limits;
    writeFileSync(stagedPath(dir.path), oldFile(staged_events_max - 1));
    await store.dbx.stageEvent(root, noted("last"));
    const refusal = await refusalOf(store.dbx.stageEvent(root, noted("more")));
    expect(refusal.code).toBe("failed_precondition");
    expect(refusal.message).toContain("commit or discard them first");
    expect(await store.dbx.commitStaged(root, {})).toHaveLength(staged_events_max);
    await store.dbx.stageEvent(root, noted("more"));
  });

  test("payloads are counted in bytes, up to the last one", async () => {
    using dir = tempDir();
    const { staged_bytes_max } = limits;
    const config = { payload_limit: staged_bytes_max };
    await using store = await openStore(dir.path, { config });
    const payloadOf = (bytes: number) => canonicalOf("ö".repeat((bytes - 2) / 2));
    const { dbx } = store;
    await dbx.stageEvent(root, noted("a", { payload: payloadOf(staged_bytes_max - 100) }));
    const refusal = await refusalOf(
      dbx.stageEvent(root, noted("a", { payload: payloadOf(102), event_id: id(1) })),
    );
    expect(refusal.code).toBe("too_large");
    expect(refusal.details).toEqual({ bytes: staged_bytes_max + 2, limit: staged_bytes_max });
    await dbx.stageEvent(root, noted("a", { payload: payloadOf(100) }));
    expect(await dbx.commitStaged(root, {})).toHaveLength(2);
  });
});

describe("a commit", () => {
  test("gives each event its own actor and id, and all of them the time of the commit", async () => {
    using dir = tempDir();
    let now = "2026-01-01T00:00:00.000000Z";
    await using store = await openStore(dir.path, { system: { now: () => now } });
    const first = await store.dbx.stageEvent(jane, noted("p-1", { note: "n" }));
    const second = await store.dbx.stageEvent(root, noted("p-1"));
    now = "2026-01-02T00:00:00.000000Z";
    const records = await store.dbx.commitStaged(root, {});
    const of = { created_at: now };
    expect(records.map(({ metadata }) => metadata)).toEqual([
      { ...of, event_id: first.event_id, issued_by: first.issued_by, note: "n" },
      { ...of, event_id: second.event_id, issued_by: second.issued_by },
    ]);
    expect(await stagedIds(store)).toEqual([]);
    expect(stagedText(dir.path)).toBe("[]\n");
    expect(await store.dbx.commitStaged(root, {})).toEqual([]);
    await store.dbx.verifyLog(root, {});
  });

  test("charges whoever commits, once for each event, and staging charges nobody", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const { token } = await store.dbx.issueToken(root, { group: "g", user: "u", limit: 2 });
    const actor = store.authenticate(token);
    const left = async () => (await store.dbx.listTokens(root, {}))[0]?.remaining_writes;
    for (const n of [1, 2, 3]) await store.dbx.stageEvent(actor, noted(`p-${n}`));
    expect(await left()).toBe(2);
    const before = stagedText(dir.path);
    const refusal = await refusalOf(store.dbx.commitStaged(actor, {}));
    expect(refusal.details).toEqual({ remaining_writes: 2, asked: 3 });
    expect(await left()).toBe(2);
    expect(stagedText(dir.path)).toBe(before);
    await store.dbx.refreshToken(root, { token, limit: 4 });
    expect(await store.dbx.commitStaged(actor, {})).toHaveLength(3);
    expect(await left()).toBe(1);
  });

  test("is refused as a whole, names the event and leaves queue and log alone", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    await store.dbx.stageEvent(root, noted("p-1"));
    await store.dbx.stageEvent(root, noted("p-2", { event_id: id(2), expected_version: 0 }));
    await store.dbx.appendEvent(root, noted("p-2", { event_id: id(9) }));
    const before = stagedText(dir.path);
    const refusal = await refusalOf(store.dbx.commitStaged(root, {}));
    expect(refusal.code).toBe("version_conflict");
    expect(refusal.message).toBe(
      `staged event 1 (patient/p-2 noted, id ${id(2)}): patient/p-2 is at version 1, expected 0`,
    );
    expect(stagedText(dir.path)).toBe(before);
    expect(await loggedIds(store)).toEqual([id(9)]);
    // With one event alone the planner has no index to tell.
    await store.dbx.discardStaged(root, { event_id: (await stagedIds(store))[0] ?? "" });
    const alone = await refusalOf(store.dbx.commitStaged(root, {}));
    expect(alone.details).toMatchObject({ index: 0, event_id: id(2) });
  });

  test("stands although the file could not be emptied; the next step makes up for it", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    await store.dbx.stageEvent(root, noted("p-1", { event_id: id(1) }));
    // Beside a name this long no temporary file fits.
    const aside = join(dir.path, "a".repeat(250));
    renameSync(stagedPath(dir.path), aside);
    symlinkSync(aside, stagedPath(dir.path));
    expect(await store.dbx.commitStaged(root, {})).toHaveLength(1);
    rmSync(stagedPath(dir.path));
    renameSync(aside, stagedPath(dir.path));
    expect(stagedText(dir.path)).toContain(id(1));
    expect(await stagedIds(store)).toEqual([]);
    await store.dbx.stageEvent(root, noted("p-1", { event_id: id(2) }));
    expect(stagedText(dir.path)).not.toContain(id(1));
    expect(await store.dbx.commitStaged(root, {})).toHaveLength(1);
    expect(await loggedIds(store)).toEqual([id(1), id(2)]);
  });

  test("leaves out what somebody has appended himself, and refuses what is another event", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    for (const n of [1, 2, 3]) {
      await store.dbx.stageEvent(root, noted("p-1", { event_id: id(n) }));
    }
    await store.dbx.appendEvent(root, noted("p-1", { event_id: id(1) }));
    await store.dbx.appendEvent(root, noted("p-1", { event_id: id(3), note: "another" }));
    const refusal = await refusalOf(store.dbx.commitStaged(root, {}));
    expect(refusal.code).toBe("already_exists");
    expect(refusal.details).toMatchObject({ index: 1, event_id: id(3) });
    await store.dbx.discardStaged(root, { event_id: id(3).toUpperCase() });
    await store.dbx.commitStaged(root, {});
    expect(await loggedIds(store)).toEqual([id(1), id(3), id(2)]);
  });

  test("goes on with the rest where somebody appends one of them at the last moment", async () => {
    using dir = tempDir();
    let meanwhile: (() => void) | undefined;
    const random = (bytes: number) => {
      // The last thing a commit asks for before it is handed in.
      const step = meanwhile;
      meanwhile = undefined;
      step?.();
      return realSystem.random(bytes);
    };
    await using store = await openStore(dir.path, { system: { random } });
    const events = [1, 2].map((n) => noted("p-1", { event_id: id(n) }));
    for (const event of events) await store.dbx.stageEvent(root, event);
    let appending: Promise<unknown> | undefined;
    meanwhile = () => (appending = store.dbx.appendEvent(root, noted("p-1", { event_id: id(1) })));
    const records = await store.dbx.commitStaged(root, {});
    expect(await appending).toMatchObject({ version: 1 });
    expect(records).toMatchObject([{ version: 2, metadata: { event_id: id(2) } }]);
    expect(stagedText(dir.path)).toBe("[]\n");
  });

  test("among many at once loses nothing and doubles nothing", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const ids = Array.from({ length: 60 }, (_, n) => id(n));
    const events = ids.map((event_id, n) => noted(`p-${n % 7}`, { event_id }));
    const steps = events.flatMap((event, n): Promise<unknown>[] => [
      // Every fifth is appended at the same time, before or after it is staged or committed.
      store.dbx.stageEvent(jane, event).catch(onlyCommitted),
      ...(n % 5 === 0 ? [store.dbx.appendEvent(root, event)] : []),
      ...(n % 3 === 0 ? [store.dbx.commitStaged(root, {})] : []),
      ...(n % 4 === 0 ? [store.dbx.listStaged(root, {})] : []),
    ]);
    await Promise.all(steps);
    await store.dbx.commitStaged(root, {});
    expect((await loggedIds(store)).toSorted()).toEqual(ids);
    await store.dbx.verifyLog(root, {});
  });

  test("that is under way is waited for by closing, and what comes later is refused", async () => {
    using dir = tempDir();
    const store = await openStore(dir.path);
    await store.dbx.stageEvent(root, noted("p-1", { event_id: id(1) }));
    const committing = store.dbx.commitStaged(root, {});
    const waiting = store.dbx.stageEvent(root, noted("p-1", { event_id: id(2) }));
    await store.close();
    expect(await committing).toHaveLength(1);
    expect((await refusalOf(waiting)).code).toBe("unavailable");
    expect((await refusalOf(store.dbx.listStaged(root, {}))).code).toBe("unavailable");
    expect(stagedText(dir.path)).toBe("[]\n");
  });
});

describe("discarding", () => {
  test("takes out one or all, and answers with what was taken out", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const all: StagedEvent[] = [];
    for (const n of [1, 2, 3]) all.push(await store.dbx.stageEvent(root, noted(`p-${n}`)));
    const event_id = all[1]?.event_id ?? "";
    expect(await store.dbx.discardStaged(root, { event_id })).toEqual(all.slice(1, 2));
    const gone = await refusalOf(store.dbx.discardStaged(root, { event_id }));
    expect([gone.code, gone.details]).toEqual(["not_found", { event_id }]);
    for (const input of [{}, { event_id, all: true as const }]) {
      expect((await refusalOf(store.dbx.discardStaged(root, input))).code).toBe("invalid_argument");
    }
    expect(await store.dbx.discardStaged(root, { all: true })).toEqual(all.toSpliced(1, 1));
    expect(await store.dbx.discardStaged(root, { all: true })).toEqual([]);
    expect(await loggedIds(store)).toEqual([]);
  });
});

/** As EventDBX 1.15.3 wrote it, with the members it left out where it had nothing to say. */
function oldFile(count: number): string {
  const entries = Array.from({ length: count }, (_, n) => ({
    aggregate: "patient",
    aggregate_id: `p-${n % 10}`,
    event: "noted",
    ...(n % 2 === 0 ? {} : { payload: { n }, issued_by: null, note: null }),
  }));
  return JSON.stringify(entries, null, 2);
}

function onlyCommitted(error: unknown): void {
  expect(String(error)).toContain("is committed already");
}
