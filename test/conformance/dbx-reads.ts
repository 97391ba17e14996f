// Reading one aggregate: now, as it was, its events, and whether it verifies.

import { expect } from "bun:test";
import { eventOf, json, refusal } from "../support/surfaces.ts";
import type { Check } from "./dbx-check.ts";

const emptyRoot = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

export function reads(check: Check): void {
  check("a state is text for scalars, and exact for the rest", async ({ admin }) => {
    const payload = json(
      '{"n":9007199254740993,"t":true,"z":null,"s":"x","o":{"d":1e400},"l":[0.10,"a"]}',
    );
    await admin.appendEvent(eventOf("state", { payload }));
    const { state } = await admin.getAggregate({ aggregate_type: "state", aggregate_id: "a-1" });
    expect(`${state}`).toBe(
      '{"l":[0.1,"a"],"n":"9007199254740993","o":{"d":1e400},"s":"x","t":"true","z":""}',
    );
  });

  check("a state is that of a version, or of an instant", async ({ admin }) => {
    const key = { aggregate_type: "past", aggregate_id: "a-1" };
    const records = [];
    for (const n of [1, 2, 3]) {
      records.push(await admin.appendEvent(eventOf("past", { payload: json(`{"n":${n}}`) })));
    }
    for (const { version, merkle_root } of records) {
      const past = await admin.getAggregate({ ...key, version });
      const state = json(`{"n":"${version}"}`);
      expect(past).toEqual({ ...key, version, merkle_root, state, archived: false });
    }
    const none = await admin.getAggregate({ ...key, version: 0 });
    expect(none).toMatchObject({ version: 0, state: json("{}"), merkle_root: emptyRoot });
    const at = records[1]?.metadata.created_at ?? "";
    const last = records.findLast(({ metadata }) => metadata.created_at <= at);
    expect((await admin.getAggregate({ ...key, at })).version).toBe(last?.version ?? 0);

    const above = await refusal(admin.getAggregate({ ...key, version: 4 }));
    expect(above.code).toBe("not_found");
    expect(above.details).toEqual({ ...key, version: 4, current_version: 3 });
    const early = "2001-01-01T00:00:00Z";
    const before = await refusal(admin.getAggregate({ ...key, at: early }));
    expect([before.code, before.details]).toEqual(["not_found", { ...key, at: early }]);
    const both = await refusal(admin.getAggregate({ ...key, at, version: 1 }));
    expect([both.code, both.details]).toEqual(["invalid_argument", { path: "/at" }]);
    const noTime = await refusal(admin.getAggregate({ ...key, at: "yesterday" }));
    expect([noTime.code, noTime.details["path"]]).toEqual(["invalid_argument", "/at"]);
  });

  check("what is not there is not found, and named", async ({ admin }) => {
    const key = { aggregate_type: "no", aggregate_id: "ne" };
    for (const work of [
      () => admin.getAggregate(key),
      () => admin.listEvents(key),
      () => admin.verifyAggregate(key),
    ]) {
      const error = await refusal(work());
      expect(error.message).toBe("aggregate not found");
      expect([error.code, error.details]).toEqual(["not_found", key]);
    }
  });

  check("the log is read by type, by aggregate and by event type", async (world) => {
    const { admin } = world;
    const [first] = await admin.appendEvents({
      events: [
        eventOf("log-a"),
        eventOf("log-b"),
        eventOf("log-a", { aggregate_id: "b" }),
        eventOf("log-a", { event_type: "other" }),
      ],
    });
    const after = (first?.position ?? 0) - 1;
    const found = async (selection: object) =>
      (await admin.readLog({ after, ...selection })).map(({ position }) => position - after);
    expect(await found({})).toEqual([1, 2, 3, 4]);
    expect(await found({ take: 2 })).toEqual([1, 2]);
    expect(await found({ aggregate_type: "log-a" })).toEqual([1, 3, 4]);
    expect(await found({ aggregate_type: "log-a", take: 2 })).toEqual([1, 3]);
    expect(await found({ aggregate_type: "log-a", aggregate_id: "a-1" })).toEqual([1, 4]);
    expect(await found({ event_type: "other" })).toEqual([4]);
    expect(await found({ event_type: "other", aggregate_type: "log-b" })).toEqual([]);
    const error = await refusal(admin.readLog({ aggregate_id: "a-1" }));
    expect([error.code, error.details]).toEqual(["invalid_argument", { path: "/aggregate_id" }]);
  });

  check("beyond the end of the log there is nothing", async ({ admin }) => {
    expect(await admin.readLog({ after: Number.MAX_SAFE_INTEGER })).toEqual([]);
  });

  check(
    "a position is not below zero",
    async ({ admin }) => {
      expect((await refusal(admin.readLog({ after: -1 }))).code).toBe("invalid_argument");
    },
    "negative numbers",
  );
}

export function verification(check: Check): void {
  check("an aggregate verifies with its version and root", async ({ admin }) => {
    const key = { aggregate_type: "verified", aggregate_id: "a-1" };
    await admin.appendEvent(eventOf("verified"));
    const { merkle_root } = await admin.appendEvent(eventOf("verified"));
    expect(await admin.verifyAggregate(key)).toEqual({
      ...key,
      version: 2,
      merkle_root,
      erased: 0,
    });
  });
}
