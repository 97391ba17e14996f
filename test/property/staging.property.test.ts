// Random histories of staging against a queue and a list: whatever is staged, committed, discarded
// or cut short by a crash, each event ends up where the model has it, and never twice.

import { expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import fc from "fast-check";
import { canonicalOf } from "../../src/model/canonical.ts";
import { loggedIds, noted, refusalOf, stagedIds, stagedPath } from "../support/staged.ts";
import { openStore, root, type TestStore } from "../support/store.ts";
import { tempDir } from "../support/temp.ts";

const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 31));

const id = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`;
/** The number decides everything about an event, so that the same one may come again. */
const eventOf = (n: number) =>
  noted(`p-${n % 3}`, { event_id: id(n), payload: canonicalOf({ n }), note: `${n}` });

const number = fc.nat({ max: 5 });
const anyStep = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constant("stage" as const), n: number, other: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("append" as const), n: number }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("discard" as const), n: number }) },
  ...(["discard all", "commit", "restart", "crash in commit", "crash in stage"] as const).map(
    (kind) => ({ weight: 1, arbitrary: fc.record({ kind: fc.constant(kind), n: number }) }),
  ),
);
type Step = typeof anyStep extends fc.Arbitrary<infer Value> ? Value : never;

interface Model {
  queue: number[];
  log: number[];
}

const seen = new Set<string>();

test(`any history of staging agrees with a queue and a list (SEED=${seed})`, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyStep, { minLength: 5, maxLength: 40 }), (steps) => agree(steps)),
    { seed, numRuns: 100 },
  );
  // A generator that stopped getting anywhere would agree about nothing.
  for (const what of ["staged", "again", "taken", "already", "committed", "discarded", "unknown"]) {
    expect(seen).toContain(what);
  }
}, 120_000);

async function agree(steps: readonly Step[]): Promise<void> {
  using dir = tempDir();
  // What is compared does not depend on when the disk has it; fsyncs would only take time.
  const reopen = () => openStore(dir.path, { config: { storage: { durability: "normal" } } });
  const model: Model = { queue: [], log: [] };
  let store = await reopen();
  try {
    for (const step of steps) {
      const path = stagedPath(dir.path);
      const before = existsSync(path) ? readFileSync(path) : "";
      await take(store, model, step);
      const isCut = step.kind === "crash in commit" || step.kind === "crash in stage";
      if (isCut || step.kind === "restart") {
        await store.close();
        // What a crash between the commit and the emptying, or before the replacing, leaves.
        if (isCut) writeFileSync(path, before);
        store = await reopen();
      }
      expect(await stagedIds(store)).toEqual(model.queue.map(id));
      expect(await loggedIds(store)).toEqual(model.log.map(id));
    }
    await store.dbx.verifyLog(root, {});
  } finally {
    await store.close();
  }
}

async function take({ dbx }: TestStore, model: Model, step: Step): Promise<void> {
  const { kind, n } = step;
  if (kind === "stage") return stage({ dbx }, model, step);
  if (kind === "crash in stage") {
    await dbx.stageEvent(root, noted("p-9"));
  } else if (kind === "commit" || kind === "crash in commit") {
    const records = await dbx.commitStaged(root, {});
    expect(records.map(({ metadata }) => metadata.event_id)).toEqual(model.queue.map(id));
    if (records.length > 0) seen.add("committed");
    model.log.push(...model.queue);
    model.queue = [];
  } else if (kind === "append") {
    await dbx.appendEvent(root, eventOf(n));
    if (!model.log.includes(n)) model.log.push(n);
    model.queue = model.queue.filter((other) => other !== n);
  } else if (kind === "discard all") {
    expect(await dbx.discardStaged(root, { all: true })).toHaveLength(model.queue.length);
    model.queue = [];
  } else if (kind === "discard") {
    const discarding = dbx.discardStaged(root, { event_id: id(n) });
    const isThere = model.queue.includes(n);
    seen.add(isThere ? "discarded" : "unknown");
    if (isThere) expect(await discarding).toHaveLength(1);
    else expect((await refusalOf(discarding)).code).toBe("not_found");
    model.queue = model.queue.filter((other) => other !== n);
  }
}

async function stage(
  { dbx }: Pick<TestStore, "dbx">,
  model: Model,
  { n, other }: { n: number; other: boolean },
): Promise<void> {
  const event = other ? { ...eventOf(n), note: "other" } : eventOf(n);
  const staging = dbx.stageEvent(root, event);
  const isQueued = model.queue.includes(n);
  const isFree = !isQueued && !model.log.includes(n);
  if (isQueued && !other) {
    seen.add("again");
    expect((await staging).event_id).toBe(id(n));
  } else if (isFree && !other) {
    seen.add("staged");
    await staging;
    model.queue.push(n);
  } else if (!isFree) {
    seen.add(isQueued ? "taken" : "already");
    expect((await refusalOf(staging)).code).toBe("already_exists");
  } else {
    // It is free, so it is staged; it would stand for `n`, so it is taken out at once.
    await staging;
    await dbx.discardStaged(root, { event_id: id(n) });
  }
}
