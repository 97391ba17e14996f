// Loading in order: what is durable, what is acknowledged, and where it ends. Over a real store.

import { describe, expect, test } from "bun:test";
import { createLoad, type LoadedEvent, type Progress } from "../../src/api/load.ts";
import type { Dbx } from "../../src/api/dbx.ts";
import { DbxError, unauthenticated } from "../../src/model/error.ts";
import { limits } from "../../src/model/limits.ts";
import { openStore, root, type TestStore } from "../support/store.ts";
import { tempDir } from "../support/temp.ts";

const eventOf = (number: number, over: Record<string, unknown> = {}): LoadedEvent => ({
  input: {
    aggregate_type: "load",
    aggregate_id: `l-${number % 5}`,
    event_type: "added",
    payload: `{"number":${number}}`,
    ...over,
  },
  chars: 600,
});

const eventsOf = (count: number): LoadedEvent[] =>
  Array.from({ length: count }, (_, number) => eventOf(number));

function begin(dbx: Dbx, over: Partial<Parameters<typeof createLoad>[0]> = {}) {
  const told: Progress[] = [];
  const calls = { rooms: 0, transactions: [] as number[] };
  const counted: Dbx = {
    ...dbx,
    appendEvents: (actor, input) => {
      calls.transactions.push(input.events.length);
      return dbx.appendEvents(actor, input);
    },
  };
  const load = createLoad({
    dbx: counted,
    actorOf: () => root,
    acknowledge: (progress) => told.push(progress),
    onRoom: () => calls.rooms++,
    ...over,
  });
  return { load, told, calls };
}

const payloadsIn = async (store: TestStore): Promise<string[]> =>
  (await store.dbx.readLog(root, { take: 1000 })).map(({ payload }) => payload);

async function refusalOf(done: Promise<void>): Promise<DbxError> {
  const error = await done.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (error instanceof DbxError) return error;
  throw new Error(`not refused: ${String(error)}`);
}

describe("a load", () => {
  test("appends everything in its order, and the last word covers all of it", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const { load, told } = begin(store.dbx);
    const events = eventsOf(700);
    for (const event of events) load.add([event]);
    load.finish();
    await load.done;
    expect(told.at(-1)).toEqual({ acknowledged: 700, position: 700 });
    expect(await payloadsIn(store)).toEqual(events.map(({ input }) => String(input["payload"])));
  });

  test("gathers what comes while a transaction is written, up to its bound", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const { load, told, calls } = begin(store.dbx);
    for (const event of eventsOf(1_200)) load.add([event]);
    load.finish();
    await load.done;
    // The first goes at once, because nothing is being written then.
    expect(calls.transactions).toEqual([1, 500, 500, 199]);
    expect(told.map(({ acknowledged }) => acknowledged)).toEqual([1, 501, 1001, 1200]);
  });

  test("says when it is full, and when there is room again", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const { load, calls } = begin(store.dbx);
    expect(load.add([eventOf(0)])).toBe(true);
    expect(load.add(eventsOf(limits.load_events_max - 1))).toBe(true);
    expect(load.add([eventOf(1)])).toBe(false);
    expect(calls.rooms).toBe(0);
    load.finish();
    await load.done;
    expect(calls.rooms).toBe(1);
  });

  test("is full by the size of its events, too", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const { load, calls } = begin(store.dbx);
    load.add([eventOf(0)]);
    const large = { ...eventOf(1), chars: limits.load_chars_max };
    expect(load.add([large])).toBe(false);
    expect(load.add([large])).toBe(false);
    load.finish();
    await load.done;
    expect(calls.transactions).toEqual([1, 1, 1]);
  });

  test("of nothing ends well", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const { load, told } = begin(store.dbx);
    load.finish();
    await load.done;
    expect(told).toEqual([]);
  });
});

describe("the first refusal ends a load", () => {
  const refused = eventOf(0, { aggregate_id: "other", expected_version: 7 });

  for (const at of [0, 1, 250, 600, 999]) {
    test(`all before event ${at} is durable and acknowledged, none after it`, async () => {
      using dir = tempDir();
      await using store = await openStore(dir.path);
      const { load, told } = begin(store.dbx);
      const events = eventsOf(1_000);
      events[at] = refused;
      for (const event of events) load.add([event]);
      load.finish();
      const error = await refusalOf(load.done);
      expect([error.code, error.details]).toEqual([
        "version_conflict",
        { aggregate_type: "load", aggregate_id: "other", expected: 7, actual: 0, index: at },
      ]);
      expect(told.at(-1)?.acknowledged ?? 0).toBe(at);
      expect(await payloadsIn(store)).toHaveLength(at);
    });
  }

  test("an event that does not fit is told as if it had come alone", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const { load } = begin(store.dbx);
    for (const event of [eventOf(0), eventOf(1), eventOf(2, { event_type: "" })]) load.add([event]);
    const error = await refusalOf(load.done);
    expect(error.message).toBe("event_type must not be empty");
    expect(error.details).toEqual({ path: "/event_type", index: 2 });
  });

  test("what was no event at all is refused once all before it is durable", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const { load, told } = begin(store.dbx);
    load.add(eventsOf(3));
    load.finish(new DbxError("invalid_argument", "no event", { path: "/events" }));
    const error = await refusalOf(load.done);
    expect([error.message, error.details]).toEqual(["no event", { path: "/events", index: 3 }]);
    expect(told.at(-1)?.acknowledged).toBe(3);
  });

  test("what is added after it is dropped", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const { load } = begin(store.dbx);
    load.add([refused]);
    await refusalOf(load.done);
    expect(load.add(eventsOf(5))).toBe(false);
    expect(await payloadsIn(store)).toEqual([]);
  });

  test("a defect is passed on as it is", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const broken = async () => {
      throw new TypeError("a defect");
    };
    const { load } = begin({ ...store.dbx, appendEvents: broken, appendEvent: broken });
    load.add(eventsOf(2));
    await expect(load.done).rejects.toThrow(TypeError);
  });
});

describe("a load that is resumed", () => {
  const withIds = (ids: readonly string[]): LoadedEvent[] =>
    ids.map((event_id, number) => eventOf(number, { event_id }));

  test("passes over events that are known already", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const ids = Array.from({ length: 300 }, () => crypto.randomUUID());
    const once = begin(store.dbx);
    once.load.add(withIds(ids).slice(0, 137));
    once.load.finish();
    await once.load.done;
    const again = begin(store.dbx);
    again.load.add(withIds(ids));
    again.load.finish();
    await again.load.done;
    expect(again.told.at(-1)).toEqual({ acknowledged: 300, position: 300 });
    expect(await payloadsIn(store)).toHaveLength(300);
  });

  test("stops where a known id belongs to another event", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const [first = "", second = ""] = [crypto.randomUUID(), crypto.randomUUID()];
    await store.dbx.appendEvents(root, {
      events: [{ ...eventOf(9).input, event_id: second }] as never,
    });
    const { load, told } = begin(store.dbx);
    load.add(withIds([first, second, crypto.randomUUID()]));
    const error = await refusalOf(load.done);
    expect([error.code, error.details["index"]]).toEqual(["already_exists", 1]);
    expect(told).toEqual([{ acknowledged: 1, position: 2 }]);
  });
});

describe("who loads", () => {
  test("is asked again for each transaction", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    let asked = 0;
    const actorOf = () => {
      if (++asked > 2) throw unauthenticated();
      return root;
    };
    const { load, told } = begin(store.dbx, { actorOf });
    for (const event of eventsOf(1_500)) load.add([event]);
    const error = await refusalOf(load.done);
    expect([error.code, error.details]).toEqual(["unauthenticated", { index: 501 }]);
    expect(told.at(-1)?.acknowledged).toBe(501);
    expect(await payloadsIn(store)).toHaveLength(501);
  });

  test("who may append so many loads exactly these", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const { token } = await store.dbx.issueToken(root, { group: "w", user: "w", limit: 37 });
    const { load, told } = begin(store.dbx, { actorOf: () => store.authenticate(token) });
    load.add(eventsOf(100));
    const error = await refusalOf(load.done);
    expect([error.code, error.details["index"]]).toEqual(["permission_denied", 37]);
    expect(told.at(-1)?.acknowledged).toBe(37);
  });

  test("who goes away leaves what was begun, and nothing that waited", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const { load } = begin(store.dbx);
    for (const event of eventsOf(1_000)) load.add([event]);
    load.abandon();
    await load.done;
    expect(load.add([eventOf(0)])).toBe(false);
    expect(await payloadsIn(store)).toEqual(['{"number":0}']);
  });

  test("who goes away before anything came ends at once", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const { load } = begin(store.dbx);
    load.abandon();
    await load.done;
    expect(await payloadsIn(store)).toEqual([]);
  });
});
