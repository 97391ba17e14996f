// Random appends between random steps of followers who select, are slow, are killed and come back:
// each has seen exactly what the log, filtered, has after his first position, once and in order.

import { expect, test } from "bun:test";
import fc from "fast-check";
import type { LiveBatch } from "../../src/api/live.ts";
import { selects } from "../../src/engine/log-reader.ts";
import {
  follow,
  openLiveLog,
  positionsOf,
  type Name,
  type Selected,
  type TestFollower,
  type TestLog,
} from "../support/live-log.ts";

const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 31));

/** Few names, so that every selection meets some. */
const names = fc
  .tuple(fc.constantFrom("a", "b"), fc.constantFrom("1", "2"), fc.constantFrom("x", "y"))
  .map((parts) => parts.join("/") as Name);
const selections = fc.record(
  {
    aggregate_type: fc.constantFrom("a", "b"),
    aggregate_id: fc.constantFrom("1", "2"),
    event_type: fc.constantFrom("x", "y"),
  },
  { requiredKeys: [] },
);
const meant = selections.map(({ aggregate_id, ...rest }): Selected =>
  rest.aggregate_type === undefined || aggregate_id === undefined
    ? rest
    : { ...rest, aggregate_id },
);

const who = fc.nat({ max: 2 });
const anyStep = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("append" as const),
      names: fc.array(names, { minLength: 1, maxLength: 6 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("large" as const),
      chars: fc.constantFrom(50, 900, 2_000),
    }),
  },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("step" as const), who }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("kill" as const), who }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("turn" as const) }) },
);
type Step = typeof anyStep extends fc.Arbitrary<infer Value> ? Value : never;

interface Model {
  readonly selected: Selected;
  readonly seen: number[];
  /** From where it would resume. */
  position: number;
  follower: TestFollower;
  /** The batch it has asked for and not taken yet. */
  pending: Promise<LiveBatch | undefined> | null;
}

test(`followers see the log, filtered, exactly once (SEED=${seed})`, async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.tuple(meant, meant, meant),
      fc.array(anyStep, { minLength: 10, maxLength: 80 }),
      fc.record({ events_max: fc.nat({ max: 12 }), chars_max: fc.constantFrom(0, 300, 5_000) }),
      (selected, steps, bounds) => agree({ selected, steps, bounds }),
    ),
    { seed, numRuns: 1_000 },
  );
}, 120_000);

async function agree(options: {
  selected: readonly Selected[];
  steps: readonly Step[];
  bounds: { events_max: number; chars_max: number };
}): Promise<void> {
  // Signs of life come whenever nothing else does: they are part of the history.
  const log = openLiveLog({ ...options.bounds, heartbeat_ms: 0 });
  const open = (selected: Selected, after: number) => follow(log.live, { ...selected, after });
  const models = options.selected.map((selected): Model => ({
    ...{ selected, seen: [], position: 0, pending: null },
    follower: open(selected, 0),
  }));
  for (const step of options.steps) await take(log, models, { step, open });
  const { position } = (await log.append("a/1/x")).at(-1) ?? { position: NaN };
  const events = await log.storage.readLog({ after: 0, limit: position });
  for (const model of models) {
    while (model.position < position) await step(model);
    const wanted = events.filter((event) => selects(model.selected, event));
    expect(model.seen).toEqual(wanted.map((event) => event.position));
    model.follower.abort();
  }
  expect(log.live.figures()).toMatchObject({ followers: 0 });
}

async function take(
  log: TestLog,
  models: readonly Model[],
  { step: one, open }: { step: Step; open: (selected: Selected, after: number) => TestFollower },
): Promise<void> {
  if (one.kind === "append") await log.append(...one.names);
  else if (one.kind === "large") await log.appendLarge(one.chars);
  else if (one.kind === "turn") await new Promise<void>((done) => setImmediate(done));
  else {
    const model = models[one.who];
    if (model === undefined) throw new Error("there are three");
    if (one.kind === "step") {
      // It asks now; what was asked for before is taken first, however late.
      if (model.pending !== null) await step(model);
      model.pending = model.follower.next();
    } else {
      // A batch that was asked for and not taken is lost with the connection.
      model.follower.abort();
      await model.pending;
      model.pending = null;
      model.follower = open(model.selected, model.position);
    }
  }
}

async function step(model: Model): Promise<void> {
  const batch = await (model.pending ?? model.follower.next());
  model.pending = null;
  if (batch === undefined) throw new Error("nobody has ended it");
  expect(batch.position).toBeGreaterThanOrEqual(model.position);
  model.seen.push(...positionsOf(batch));
  model.position = batch.position;
}
