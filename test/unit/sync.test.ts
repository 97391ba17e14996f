// Bringing one node up to another: what moves, what is reported, and what ends it before anything
// is written. Two real stores; the wire between them has tests of its own.

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { Ask } from "../../src/api/dbx.ts";
import { DbxError } from "../../src/model/error.ts";
import { root } from "../support/store.ts";
import { bring, openNode, type Node } from "../support/nodes.ts";

let here: Node;
let there: Node;
beforeEach(async () => {
  here = await openNode();
  there = await openNode();
});
afterEach(async () => {
  await here[Symbol.asyncDispose]();
  await there[Symbol.asyncDispose]();
});

const key = (aggregate_id: string) => ({ aggregate_type: "ward", aggregate_id });

async function refusal(work: Promise<unknown>): Promise<DbxError> {
  const thrown = await work.catch((error: unknown) => error);
  if (thrown instanceof DbxError) return thrown;
  throw new Error(`refused: ${String(thrown)}`);
}

describe("what one node has", () => {
  test("comes over as it is, in batches, and once", async () => {
    for (let n = 0; n < 25; n++) await here.append("ward", `w-${n % 3}`, { n });
    await here.append("bed", "b-1", [1]);
    const seen: string[] = [];
    const report = await bring(here, there, {
      batch_events: 4,
      progress: ({ phase, done, of }) => void seen.push(`${phase} ${done} ${of}`),
    });
    expect(report).toEqual({
      ...{ events: 26, aggregates: 4, flags: 0, types: { bed: 1, ward: 25 } },
      ahead: { count: 0, listed: [] },
    });
    expect(seen).toContain("comparing 4 null");
    expect(seen.at(-1)).toBe("moving 26 26");
    expect(await there.contents()).toEqual(await here.contents());
    expect(await bring(here, there)).toMatchObject({ events: 0, aggregates: 0 });
    expect(await there.store.dbx.verifyLog(root, {})).toMatchObject({ position: 26 });
  });

  test("is only counted in a dry run", async () => {
    await here.append("ward", "w-1", 1);
    const report = await bring(here, there, { dry_run: true });
    expect(report).toMatchObject({ events: 1, types: { ward: 1 } });
    expect(await there.contents()).toEqual([]);
  });

  test("comes over by type and by aggregate, where that is asked for", async () => {
    for (const [type, id] of [
      ...[["a", "1"] as const, ["a", "2"] as const, ["b", "1"] as const, ["c", "1"] as const],
    ]) {
      await here.append(type, id, 1);
    }
    // Of a type of which aggregates are named, these alone.
    const selection = [{ type: "a" }, { type: "a", id: "2" }, { type: "c" }, { type: "none" }];
    await bring(here, there, { selection });
    const names = async () =>
      (await there.ask("listPositions", { take: 9 })).map(
        ({ aggregate_type, aggregate_id }) => aggregate_type + aggregate_id,
      );
    expect(await names()).toEqual(["a2", "c1"]);
    await bring(here, there, { selection: [{ type: "a", id: "none" }] });
    expect(await names()).toEqual(["a2", "c1"]);
  });

  test("that the other has more of is reported, and stays", async () => {
    await there.append("ward", "w-1", 1);
    await there.append("ward", "only-there", 1);
    await bring(there, here);
    await there.append("ward", "w-1", 2);
    await there.append("ward", "new-there", 2);
    const report = await bring(here, there);
    expect(report).toMatchObject({ events: 0 });
    expect(report.ahead).toEqual({
      count: 2,
      listed: [
        { ...key("new-there"), source_version: 0, target_version: 1 },
        { ...key("w-1"), source_version: 1, target_version: 2 },
      ],
    });
  });
});

describe("a fork", () => {
  test("is found before anything is written, with the first version that differs", async () => {
    for (let n = 0; n < 20; n++) await here.append("ward", "w-1", { n });
    await bring(here, there);
    for (let n = 0; n < 7; n++) await here.append("ward", "w-1", { here: n });
    for (let n = 0; n < 3; n++) await there.append("ward", "w-1", { there: n });
    await here.append("aaa", "first", 1);
    await here.append("zzz", "last", 1);
    const before = [await here.contents(), await there.contents()];
    for (const [from, to] of [...[[here, there] as const, [there, here] as const]]) {
      const error = await refusal(bring(from, to));
      expect(error.code).toBe("failed_precondition");
      expect(error.message).toBe(
        "the nodes have two histories: ward/w-1 from version 21 on; nothing was changed on either",
      );
      expect(error.details).toMatchObject({
        ...{ reason: "fork", count: 1, forks: [{ ...key("w-1"), version: 21 }] },
      });
      // A dry run tells as much.
      expect((await refusal(bring(from, to, { dry_run: true }))).details).toEqual(error.details);
    }
    expect([await here.contents(), await there.contents()]).toEqual(before);
  });

  test("of as many versions on both sides is one, too, and in the first version as well", async () => {
    await here.append("ward", "w-1", "here");
    await there.append("ward", "w-1", "there");
    expect((await refusal(bring(here, there))).details).toMatchObject({
      forks: [{ ...key("w-1"), version: 1 }],
    });
  });

  test("is named for many aggregates, searched for a few", async () => {
    for (let n = 0; n < 15; n++) {
      await here.append("ward", `w-${n}`, "here");
      await there.append("ward", `w-${n}`, "there");
    }
    const { details } = await refusal(bring(here, there));
    const forks = details["forks"] as { version: number | null }[];
    expect(details["count"]).toBe(15);
    expect(forks.filter(({ version }) => version === 1)).toHaveLength(10);
    expect(forks.filter(({ version }) => version === null)).toHaveLength(5);
  });

  test("outside of what is asked for is nobody's business", async () => {
    await here.append("ward", "w-1", "here");
    await there.append("ward", "w-1", "there");
    await here.append("bed", "b-1", 1);
    expect(await bring(here, there, { selection: [{ type: "bed" }] })).toMatchObject({ events: 1 });
  });
});

describe("archived aggregates", () => {
  test("travel with their flag, both ways, also when that alone differs", async () => {
    await here.append("ward", "w-1", 1);
    await here.store.dbx.archiveAggregate(root, key("w-1"));
    await bring(here, there);
    expect(await there.contents()).toEqual(await here.contents());
    await here.store.dbx.restoreAggregate(root, key("w-1"));
    expect(await bring(here, there)).toMatchObject({ events: 0, flags: 1 });
    expect(await there.contents()).toEqual(await here.contents());
  });

  test("take what came after they were restored elsewhere, and what was archived again", async () => {
    await here.append("ward", "w-1", 1);
    await here.store.dbx.archiveAggregate(root, key("w-1"));
    await bring(here, there);
    await here.store.dbx.restoreAggregate(root, key("w-1"));
    await here.append("ward", "w-1", 2);
    await here.store.dbx.archiveAggregate(root, key("w-1"));
    expect(await bring(here, there)).toMatchObject({ events: 1 });
    expect(await there.contents()).toEqual(await here.contents());
    expect(await there.ask("getAggregate", key("w-1"))).toMatchObject({ archived: true });
  });
});

describe("erased aggregates", () => {
  test("come over without bodies, however small the batches are", async () => {
    for (let n = 0; n < 9; n++) await here.append("ward", "w-1", { secret: n });
    await here.store.dbx.eraseAggregate(root, { ...key("w-1"), reason: "asked for" });
    await here.append("ward", "w-1", "after");
    await bring(here, there, { batch_events: 2 });
    expect(await there.contents()).toEqual(await here.contents());
    expect(await there.ask("verifyAggregate", key("w-1"))).toMatchObject({ erased: 9 });
  });

  test("lose their bodies on a node that had them already", async () => {
    for (let n = 0; n < 5; n++) await here.append("ward", "w-1", { secret: n });
    await bring(here, there);
    await here.append("ward", "w-1", "more");
    await here.store.dbx.eraseAggregate(root, { ...key("w-1"), reason: "asked for" });
    await bring(here, there, { batch_events: 1 });
    expect(await there.contents()).toEqual(await here.contents());
    expect(JSON.stringify(await there.contents())).not.toContain("secret");
  });
});

test("a transfer that is cut anywhere goes on from there", async () => {
  for (let n = 0; n < 30; n++) await here.append("ward", `w-${n % 4}`, { n });
  for (let cut = 1; cut < 12; cut++) {
    let left = cut;
    const cutting: Ask = (operation, input) => {
      if (operation === "importEvents" && left-- === 0) throw new Error("cut");
      return there.ask(operation, input);
    };
    await bring(here, { ask: cutting }, { batch_events: 3 }).catch((error: unknown) =>
      expect(String(error)).toBe("Error: cut"),
    );
    await there.store.dbx.verifyLog(root, {});
  }
  await bring(here, there);
  expect(await there.contents()).toEqual(await here.contents());
  expect(await there.store.dbx.verifyLog(root, {})).toMatchObject({ position: 30 });
});

test("what a liar sends is refused", async () => {
  await here.append("ward", "w-1", { n: 1 });
  const lying: Ask = async (operation, input) => {
    const answer = await here.ask(operation, input);
    if (operation !== "readForeign" || !Array.isArray(answer)) return answer;
    return (answer as object[]).map((event) => ({
      ...event,
      payload: '{"n":2}',
    })) as unknown as typeof answer;
  };
  expect((await refusal(bring({ ask: lying }, there))).details).toMatchObject({
    reason: "unproven",
  });
  expect(await there.contents()).toEqual([]);
});
