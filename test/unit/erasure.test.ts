// What erasing means to everything above the storage: the plan, folding, verifying, the past, the
// live tail, ids that come again. The storage here is the reference one; what becomes of keys and
// files is shown where those are.
import { describe, expect, test } from "bun:test";
import { aggregateOf } from "../../src/engine/past.ts";
import { createLiveTail } from "../../src/engine/live-tail.ts";
import { verifyStream } from "../../src/engine/verify-stream.ts";
import { canonicalOf } from "../../src/model/canonical.ts";
import { DbxError } from "../../src/model/error.ts";
import { toRecord, withoutBody, type CommittedEvent } from "../../src/model/event.ts";
import type { PlannedEvent } from "../../src/model/plan.ts";
import { createMemoryStorage } from "../../src/storage/memory.ts";
import type { Storage } from "../../src/storage/storage.ts";
import { append, event, jane, john, transaction } from "../support/storage.ts";

const erasing = (): PlannedEvent => ({
  ...event(jane),
  event_type: "$erased",
  client_id: false,
  erasure: { reason: "asked for" },
});

const three = async (storage: Storage): Promise<void> => {
  for (const name of ["a", "b", "c"]) {
    const payload = canonicalOf({ name });
    await append(storage, [transaction([event(jane, { payload, note: `note ${name}` })])]);
  }
};

async function erased(): Promise<Storage> {
  const storage = createMemoryStorage({ sealing: "all" });
  await three(storage);
  await append(storage, [transaction([event(john)])]);
  await append(storage, [transaction([erasing()])]);
  return storage;
}

const all = (storage: Storage) => storage.readStream(jane, { after: 0, limit: 100 });
const headOf = async (storage: Storage) => {
  const head = await storage.readHead(jane);
  if (head === undefined) throw new Error("jane is there");
  return head;
};
const codeOf = async (work: Promise<unknown>) => {
  const thrown = await work.catch((error: unknown) => error);
  if (!(thrown instanceof DbxError)) throw new Error(`refused: ${String(thrown)}`);
  return { code: thrown.code, erased: thrown.details["erased"] };
};

describe("an erased aggregate", () => {
  test("keeps its versions, hashes and roots, and loses every body before the erasure", async () => {
    const before = createMemoryStorage({ sealing: "all" });
    await three(before);
    const storage = await erased();
    const [first, second, third, last] = await all(storage);

    expect((await all(storage)).map(({ version }) => version)).toEqual([1, 2, 3, 4]);
    for (const gone of [first, second, third]) {
      expect(gone).toMatchObject({ payload: "null", note: null, erased: true });
      expect(gone?.salt).toHaveLength(0);
    }
    expect(last?.payload).toBe(canonicalOf({ reason: "asked for", through: 3 }));
    expect(last?.erased).toBeUndefined();
    expect(await headOf(storage)).toMatchObject({ version: 4, erased: 3, state: "{}" });
    expect(toRecord(withoutBody(last as CommittedEvent)).metadata.erased).toBe(true);
  });

  test("verifies, and says how far it is erased", async () => {
    const storage = await erased();
    expect(await verifyStream(storage, await headOf(storage))).toEqual([]);
  });

  test("is corrupt where a body is missing that no erasure covers", async () => {
    const storage = createMemoryStorage({ sealing: "all" });
    await three(storage);
    const lossy: Storage = {
      ...storage,
      readStream: async (key, page) =>
        (await storage.readStream(key, page)).map((each) =>
          each.version === 2 ? withoutBody(each) : each,
        ),
    };
    const faults = await verifyStream(lossy, await headOf(storage));
    expect(faults.map(({ fault }) => fault)).toContain(
      "its body is missing, and no erasure covers it",
    );
  });

  test("is corrupt where its head says otherwise than its events", async () => {
    const storage = await erased();
    for (const through of [0, 2, 4]) {
      const head = { ...(await headOf(storage)), erased: through };
      expect((await verifyStream(storage, head)).map(({ fault }) => fault)).toEqual([
        `the head says that versions up to ${through} are erased, its events say otherwise`,
      ]);
    }
  });

  test("goes on: later events fold from an empty state, and can be erased in turn", async () => {
    const storage = await erased();
    const payload = canonicalOf({ city: "x" });
    await append(storage, [transaction([event(jane, { payload })])]);
    expect(await headOf(storage)).toMatchObject({ version: 5, state: '{"city":"x"}' });
    await append(storage, [transaction([erasing()])]);
    expect(await headOf(storage)).toMatchObject({ version: 6, erased: 5, state: "{}" });
    expect(
      (await all(storage)).filter((each) => each.erased).map(({ version }) => version),
    ).toEqual([1, 2, 3, 4, 5]);
    expect(await verifyStream(storage, await headOf(storage))).toEqual([]);
  });

  test("has no past before the erasure, and has one after it", async () => {
    const storage = await erased();
    await append(storage, [transaction([event(jane, { payload: canonicalOf({ city: "x" }) })])]);
    const head = await headOf(storage);
    const at = (version: number) => aggregateOf(storage, head, { kind: "version", version });
    for (const version of [1, 2, 3]) {
      expect(await codeOf(at(version))).toEqual({ code: "failed_precondition", erased: true });
    }
    expect((await at(4)).state as string).toBe("{}");
    expect((await at(5)).state as string).toBe('{"city":"x"}');
    expect((await at(4)).merkle_root).toBe((await all(storage))[3]?.merkle_root.toHex() ?? "");
  });

  test("may be archived, where nobody else may append", async () => {
    const storage = createMemoryStorage({ sealing: "all" });
    await three(storage);
    const change = { at: "2024-12-01T17:22:43.512345Z", issued_by: null, comment: null };
    await storage.archiveStream(jane, change);
    await append(storage, [transaction([erasing()])]);
    expect(await headOf(storage)).toMatchObject({ version: 4, archived: true, erased: 3 });
  });

  test("answers an id that comes again with already_exists, and says that it is erased", async () => {
    const storage = createMemoryStorage({ sealing: "all" });
    const again = event(jane, { client_id: true });
    await append(storage, [transaction([again])]);
    await append(storage, [transaction([erasing()])]);
    const { outcomes } = await append(storage, [transaction([again])]);
    expect(outcomes).toMatchObject([
      { kind: "refused", error: { code: "already_exists", details: { erased: true } } },
    ]);
  });

  test("leaves no body in the memory of live streams", async () => {
    const storage = createMemoryStorage({ sealing: "all" });
    await three(storage);
    const tail = createLiveTail({ head: 0, events_max: 10, chars_max: 1_000 });
    tail.add(await storage.readLog({ after: 0, limit: 10 }));
    await append(storage, [transaction([erasing()])]);
    tail.add((await storage.readLog({ after: 3, limit: 10 })).slice(-1));
    const kept = tail.read({ after: 0, limit: 10 }) ?? [];
    expect(kept.map((each) => each.erased ?? false)).toEqual([true, true, true, false]);
    expect(kept.map(({ note }) => note)).toEqual([null, null, null, null]);
    const chars = kept.reduce((sum, each) => sum + each.payload.length, 0);
    expect(tail.figures().live_tail_chars).toBe(chars);
  });
});
