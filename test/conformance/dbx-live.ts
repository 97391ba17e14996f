// Following the log: each event of a selection once, in order, from wherever one left off.

import { expect } from "bun:test";
import type { EventRecord } from "../../src/model/event.ts";
import { root } from "../support/store.ts";
import { eventOf, json, refusal, type Caller, type World } from "../support/surfaces.ts";
import { headOf, type Check } from "./dbx-check.ts";

type Selection = Parameters<Caller["follow"]>[0];

/** The first events of a stream. Fails where it ends before. */
async function firstOf(
  caller: Caller,
  selection: Selection,
  count: number,
): Promise<EventRecord[]> {
  const stop = new AbortController();
  const seen: EventRecord[] = [];
  for await (const record of caller.follow(selection, stop.signal)) {
    seen.push(record);
    if (seen.length === count) {
      stop.abort();
      return seen;
    }
  }
  throw new Error(`the stream ended after ${seen.length} of ${count} events`);
}

/** What is left of a stream. */
async function restOf(stream: AsyncIterable<EventRecord>): Promise<EventRecord[]> {
  const seen: EventRecord[] = [];
  for await (const record of stream) seen.push(record);
  return seen;
}

const append = ({ admin }: World, type: string, count: number): Promise<EventRecord[]> =>
  admin.appendEvents({ events: Array.from({ length: count }, () => eventOf(type)) });

export function live(check: Check): void {
  check("a follower gets what was there, and then what comes, as the log has it", async (world) => {
    const after = await headOf(world);
    await append(world, "follow", 3);
    const seen = firstOf(world.admin, { after }, 7);
    await append(world, "follow", 2);
    const payload = json('{"n":9007199254740993,"10":0.1,"9":1e400}');
    await world.admin.appendEvent(eventOf("follow", { payload, note: "n" }));
    await append(world, "follow", 1);
    const log = [
      ...(await world.admin.readLog({ after })),
      ...(await world.admin.readLog({ after: after + 5 })),
    ];
    expect(await seen).toEqual(log);
  });

  check("a follower goes on where he left off, without gap or repetition", async (world) => {
    const start = await headOf(world);
    await append(world, "resume", 7);
    const positions: number[] = [];
    let after = start;
    for (const count of [1, 3, 1, 2]) {
      const seen = await firstOf(world.admin, { after }, count);
      positions.push(...seen.map(({ position }) => position - start));
      after = seen.at(-1)?.position ?? after;
    }
    expect(positions).toEqual([1, 2, 3, 4, 5, 6, 7]);
  });

  check("who does not say from where gets what comes from now on", async (world) => {
    await append(world, "now", 1);
    const head = await headOf(world);
    const seen = firstOf(world.admin, {}, 2);
    let arrived = false;
    const waiting = seen.finally(() => (arrived = true));
    // When following has begun is not told everywhere: append until something comes.
    while (!arrived) await append(world, "now", 1);
    const [first, second] = await waiting;
    expect(first?.position).toBeGreaterThan(head);
    expect(second?.position).toBe((first?.position ?? 0) + 1);
  });

  check("a follower of a selection gets that and nothing else", async (world) => {
    const after = await headOf(world);
    const { admin } = world;
    const type = "select";
    const both = async () => {
      await append(world, "noise", 1);
      await admin.appendEvent(eventOf(type, { event_type: "other" }));
      await admin.appendEvent(eventOf(type, { aggregate_id: "b" }));
    };
    await both();
    const at = async (selection: Selection) =>
      (await firstOf(admin, { after, ...selection }, 2)).map(({ position }) => position - after);
    const late = Promise.all([
      at({ aggregate_type: type, aggregate_id: "b" }),
      at({ aggregate_type: type, event_type: "other" }),
      at({ event_type: "other" }),
      at({ aggregate_type: type }),
    ]);
    await both();
    expect(await late).toEqual([
      [3, 6],
      [2, 5],
      [2, 5],
      [2, 3],
    ]);
  });

  check("what cannot be followed is refused", async (world) => {
    const position = await headOf(world);
    const refused = (selection: Selection) => refusal(firstOf(world.admin, selection, 1));
    const ahead = await refused({ after: position + 1 });
    expect([ahead.code, ahead.details]).toEqual([
      "failed_precondition",
      { after: position + 1, position },
    ]);
    const many = await refused({ after: 0, aggregate_id: "a-1" });
    expect([many.code, many.details]).toEqual(["invalid_argument", { path: "/aggregate_id" }]);
    const unreadable = await refused({ after: 0, aggregate_type: " " });
    expect(unreadable.details).toEqual({ path: "/aggregate_type" });
  });

  check("what is hidden is not followed, until an admin asks", async (world) => {
    const { store, admin } = world;
    const type = "unseen";
    await store.dbx.createSchema(root, { aggregate: type, events: ["noted"] });
    await store.dbx.changeSchema(root, { aggregate: type, hidden: true });
    const after = await headOf(world);
    const seen = firstOf(admin, { after }, 1);
    const all = firstOf(admin, { after, include_hidden: true }, 2);
    await append(world, type, 1);
    await append(world, "seen", 1);
    const typesOf = (records: EventRecord[]) => records.map((record) => record.aggregate_type);
    expect([typesOf(await seen), typesOf(await all)]).toEqual([["seen"], [type, "seen"]]);
    const { token } = await store.dbx.issueToken(root, { group: "app", user: "bob" });
    const asked = refusal(firstOf(world.as(token), { after, include_hidden: true }, 1));
    expect((await asked).code).toBe("permission_denied");
  });

  check("a token that is revoked gets nothing more", async (world) => {
    const { store } = world;
    const { token, id } = await store.dbx.issueToken(root, { group: "app", user: "bob" });
    const after = await headOf(world);
    const stream = world.as(token).follow({ after }, new AbortController().signal);
    const reading = stream[Symbol.asyncIterator]();
    await append(world, "revoked", 1);
    expect((await reading.next()).value?.position).toBe(after + 1);
    await store.dbx.revokeToken(root, { token: id });
    await append(world, "revoked", 1);
    const error = await refusal(reading.next());
    expect([error.code, error.message]).toEqual(["unauthenticated", "token not found or inactive"]);
  });

  check("a follower who goes away while he waits is let go", async (world) => {
    const after = await headOf(world);
    const stop = new AbortController();
    const stream = world.admin.follow({ after }, stop.signal)[Symbol.asyncIterator]();
    await append(world, "gone", 1);
    expect((await stream.next()).done).toBe(false);
    const rest = restOf({ [Symbol.asyncIterator]: () => stream });
    stop.abort();
    expect(await rest).toEqual([]);
    // Nobody is left once the server has noticed.
    const followers = async () =>
      (await world.store.dbx.serverStatus(root, {})).figures["followers"];
    while ((await followers()) !== 0) await append(world, "gone", 1);
  });
}
