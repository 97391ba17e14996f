// Random histories: SQLite and memory answer every command alike and end up alike, across restarts.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { createMemoryDeliveries } from "../../src/storage/memory-deliveries.ts";
import { createVault } from "../../src/storage/seal.ts";
import type { Deliveries, Failure } from "../../src/storage/deliveries.ts";
import { openSqliteDeliveries } from "../../src/storage/sqlite/deliveries.ts";
import { at, failureOf, pluginOf, settlementOf, streamOf } from "../conformance/deliveries.ts";
import { withDirectory } from "../support/storage.ts";

const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 31));

const names = ["p", "q", "é/\u{1f600}"];
const streams = ["a", "b", "ü"];
const anyName = fc.constantFrom(...names);
const anyPosition = fc.integer({ min: 1, max: 30 });
const anyHour = fc.integer({ min: 10, max: 14 }).map(at);

const anyFailure: fc.Arbitrary<Failure> = fc
  .record({
    stream: fc.constantFrom(...streams),
    position: anyPosition,
    kind: fc.constantFrom("pending", "pending", "waiting", "dead"),
    next_attempt_at: anyHour,
    last_error: fc.option(fc.string({ maxLength: 20 })),
  })
  .map(({ stream, position, kind, next_attempt_at, last_error }) =>
    failureOf(stream, position, {
      attempts: kind === "waiting" ? 0 : 1,
      dead: kind === "dead",
      next_attempt_at: kind === "pending" ? next_attempt_at : null,
      last_error,
    }),
  );

const positions = fc.uniqueArray(anyPosition, { maxLength: 4 });

type Command =
  | { readonly kind: "ask"; readonly ask: (deliveries: Deliveries) => Promise<unknown> }
  | { readonly kind: "reopen" };

const asks = (text: string, ask: (deliveries: Deliveries) => Promise<unknown>): Command => ({
  ...{ kind: "ask", ask },
  ...{ toString: () => text },
});

const anyCommand: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 2,
    arbitrary: fc
      .tuple(anyName, fc.boolean(), fc.option(fc.nat({ max: 30 })))
      .map(([name, enabled, checkpoint]) =>
        asks(`put ${name} ${checkpoint}`, (deliveries) =>
          deliveries.putPlugin(pluginOf(name, { enabled }), checkpoint),
        ),
      ),
  },
  {
    weight: 8,
    arbitrary: fc
      .record({
        name: anyName,
        checkpoint: fc.option(fc.nat({ max: 30 })),
        failed: fc.uniqueArray(anyFailure, { maxLength: 6, selector: ({ position }) => position }),
        delivered: positions,
        dropped: positions,
        count: fc.nat({ max: 5 }),
      })
      .map(({ name, ...settlement }) =>
        asks(`settle ${name} ${JSON.stringify(settlement)}`, (deliveries) =>
          deliveries.settle(name, settlementOf(settlement)),
        ),
      ),
  },
  {
    weight: 4,
    arbitrary: fc
      .tuple(anyName, anyHour, fc.nat({ max: 6 }), fc.integer({ min: 1, max: 4 }))
      .map(([name, now, limit, lane_limit]) =>
        asks(`due ${name} ${now} ${limit} ${lane_limit}`, async (deliveries) => [
          await deliveries.readDue(name, { now, limit, lane_limit }),
          await deliveries.nextDue(name),
          await deliveries.waiting(name, streams.map(streamOf)),
        ]),
      ),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom(...streams), anyPosition)
      .map(([stream, before]) =>
        asks(`drop ${stream} ${before}`, (deliveries) =>
          deliveries.dropStream(streamOf(stream), { before }),
        ),
      ),
  },
  {
    weight: 1,
    arbitrary: fc
      .option(anyName, { nil: undefined })
      .map((plugin) =>
        asks(`clear ${plugin}`, (deliveries) =>
          deliveries.clearDead(plugin === undefined ? {} : { plugin }),
        ),
      ),
  },
  {
    weight: 1,
    arbitrary: anyName.map((name) =>
      asks(`remove ${name}`, (deliveries) => deliveries.removePlugin(name)),
    ),
  },
  {
    weight: 3,
    arbitrary: fc
      .record({
        plugin: fc.option(anyName, { nil: undefined }),
        dead: fc.option(fc.boolean(), { nil: undefined }),
        position: fc.option(anyPosition, { nil: undefined }),
        after: fc.option(fc.record({ plugin: anyName, position: anyPosition })),
        limit: fc.nat({ max: 8 }),
      })
      .map(({ plugin, dead, position, after, limit }) =>
        asks(`outbox ${plugin} ${dead} ${position} ${limit}`, (deliveries) =>
          deliveries.readOutbox(
            {
              ...(plugin === undefined ? {} : { plugin }),
              ...(dead === undefined ? {} : { dead }),
              ...(position === undefined ? {} : { event_id: failureOf("a", position).event_id }),
            },
            { after, limit },
          ),
        ),
      ),
  },
  { weight: 1, arbitrary: fc.constant<Command>({ kind: "reopen" }) },
);

/** What came of it, so that two can be compared: refusals by their words. */
const outcomeOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    (value) => ({ value }),
    (error: unknown) => ({ refused: error instanceof Error ? error.message : String(error) }),
  );

const allOf = async (deliveries: Deliveries) => [
  await deliveries.readPlugins(),
  await deliveries.readOutbox({}, { after: null, limit: 1_000 }),
];

test(`SQLite and memory keep the same deliveries (seed ${seed})`, async () => {
  const run = async (commands: readonly Command[], sealed: boolean): Promise<void> => {
    await withDirectory(async (directory) => {
      const vault = sealed ? createVault(new Uint8Array(32).fill(7)) : null;
      const open = () => openSqliteDeliveries({ directory, access: "write", vault });
      const memory = createMemoryDeliveries();
      let file = await open();
      for (const command of commands) {
        if (command.kind === "reopen") {
          await file.close();
          file = await open();
          continue;
        }
        const wanted = await outcomeOf(command.ask(memory));
        expect(await outcomeOf(command.ask(file))).toEqual(wanted);
        expect(await allOf(file)).toEqual(await allOf(memory));
      }
      expect(await file.check({ limit: 10 })).toEqual([]);
      await file.close();
    });
  };
  await fc.assert(
    fc.asyncProperty(fc.array(anyCommand, { maxLength: 60, size: "max" }), fc.boolean(), run),
    { seed, numRuns: 60 },
  );
}, 120_000);
