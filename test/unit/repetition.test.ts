// Which events count as the first ones again, and what a refusal says about a batch and a single
// event.

import { describe, expect, test } from "bun:test";
import type { Issuer } from "../../src/model/actor.ts";
import { canonicalOf } from "../../src/model/canonical.ts";
import { noted, refusalOf } from "../support/staged.ts";
import { openStore, root } from "../support/store.ts";
import { tempDir } from "../support/temp.ts";

const id = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`;
const actorOf = ({ group, user }: Issuer) => ({ ...root, group, user });

describe("a refusal names the index", () => {
  test("of every batch, were it of one, and of no single event", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path, { config: { payload_limit: 10 } });
    const { dbx } = store;
    await dbx.appendEvent(root, noted("p-1", { event_id: id(1) }));
    const wrong = [
      noted("p-1", { expected_version: 7 }),
      noted("p-1", { event_type: "$erased" }),
      noted("p-1", { payload: canonicalOf("x".repeat(9)) }),
      noted("p-1", { event_id: id(1), note: "another" }),
    ];
    for (const event of wrong) {
      const single = await refusalOf(dbx.appendEvent(root, event));
      const alone = await refusalOf(dbx.appendEvents(root, { events: [event] }));
      const second = await refusalOf(dbx.appendEvents(root, { events: [noted("p-2"), event] }));
      expect(single.details).not.toHaveProperty("index");
      expect(alone.details).toEqual({ ...single.details, index: 0 });
      expect(second.details).toEqual({ ...single.details, index: 1 });
    }
  });
});

describe("what repeats an event with its id", () => {
  const jane = { group: "nurse", user: "jane" };
  const others = [
    { group: "nurse", user: "joe" },
    { group: "admin", user: "jane" },
  ];
  const hiding = [{ hidden: true }, { hidden_field: { field: "ssn", hidden: true } }];

  test.each(hiding)("learns nothing of somebody else's, where %j holds", async (change) => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const { dbx } = store;
    await dbx.createSchema(root, { aggregate: "patient", events: ["noted"] });
    await dbx.changeSchema(root, { aggregate: "patient", ...change });
    const first = noted("p-1", { event_id: id(1), payload: canonicalOf({ ssn: "1" }) });
    const record = await dbx.appendEvent(actorOf(jane), first);
    const guesses = [
      first,
      { ...first, payload: canonicalOf({ ssn: "2" }) },
      { ...first, aggregate_type: "open" },
    ];
    const ways = ["appendEvent", "stageEvent"] as const;
    for (const way of ways) {
      for (const other of others) {
        const answers = await Promise.all(
          guesses.map((guess) => refusalOf(dbx[way](actorOf(other), guess))),
        );
        for (const { code, message, details } of answers) {
          expect({ code, message, details }).toEqual({
            code: "already_exists",
            message: `event id ${id(1)} is already used by another event`,
            details: { event_id: id(1) },
          });
        }
      }
    }
    expect(await dbx.appendEvent(actorOf(jane), first)).toEqual(record);
    const batch = [first, noted("p-1")];
    const [other] = others;
    if (other === undefined) throw new Error("there is another");
    const refusal = await refusalOf(dbx.appendEvents(actorOf(other), { events: batch }));
    expect(refusal.details).toEqual({ index: 0, event_id: id(1) });
  });

  test.each(hiding)("learns nothing of what is staged either, where %j holds", async (change) => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const { dbx } = store;
    await dbx.createSchema(root, { aggregate: "patient", events: ["noted"] });
    await dbx.changeSchema(root, { aggregate: "patient", ...change });
    const event = noted("p-1", { event_id: id(1), payload: canonicalOf({ ssn: "1" }) });
    const staged = await dbx.stageEvent(actorOf(jane), event);
    for (const guess of [event, { ...event, payload: canonicalOf({ ssn: "2" }) }]) {
      for (const other of others) {
        const refusal = await refusalOf(dbx.stageEvent(actorOf(other), guess));
        expect(refusal.message).toContain("is already used by another staged event");
      }
    }
    expect(await dbx.stageEvent(actorOf(jane), event)).toEqual(staged);
    // What somebody else commits under the id is not taken for it.
    await dbx.appendEvent(actorOf(others[0] ?? jane), event);
    expect(await dbx.listStaged(root, {})).toEqual([staged]);
    expect((await refusalOf(dbx.commitStaged(root, {}))).code).toBe("already_exists");
  });

  test("is answered whoever asks, where nothing is hidden", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const event = noted("p-1", { event_id: id(1) });
    const record = await store.dbx.appendEvent(actorOf(jane), event);
    for (const other of others) {
      expect(await store.dbx.appendEvent(actorOf(other), event)).toEqual(record);
    }
  });
});
