// Random histories and random scopes: whatever a token with a scope is shown, on any surface and by
// any question, is of aggregates that its scope covers; and of those it misses none.
import { expect, test } from "bun:test";
import fc from "fast-check";
import { call } from "../../src/api/call.ts";
import { covers, type ScopeEntry } from "../../src/model/actor.ts";
import type { StreamKey } from "../../src/model/stream.ts";
import { engineSurface } from "../support/surfaces-engine.ts";
import { graphqlSurface } from "../support/surfaces-graphql.ts";
import { grpcSurface } from "../support/surfaces-grpc.ts";
import { restSurface } from "../support/surfaces-rest.ts";
import { json, openWorld, type Caller, type World } from "../support/surfaces.ts";
import { root } from "../support/store.ts";

const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 31));

const types = ["a", "a:b", "b"] as const;
const ids = ["1", "b:1", "2"] as const;
const keys = types.flatMap((aggregate_type) =>
  ids.map((aggregate_id) => ({ aggregate_type, aggregate_id })),
);
const entry: fc.Arbitrary<ScopeEntry> = fc.oneof(
  fc.record({ aggregate_type: fc.constantFrom(...types, "none") }),
  fc.record({
    aggregate_type: fc.constantFrom(...types, "none"),
    aggregate_id: fc.constantFrom(...ids, "none"),
  }),
);
const scopes = fc.array(entry, { minLength: 1, maxLength: 4 });
const histories = fc.array(fc.constantFrom(...keys), { minLength: 1, maxLength: 12 });

/** After everything. */
const later = "2100-01-01T00:00:00Z";
const ways = [
  ...["list", "filter", "list at an instant", "list of what is not archived", "list by offset"],
  ...["log", "log of an event type", "log of one", "log of a type", "one", "follow"],
];

const nameOf = ({ aggregate_type, aggregate_id }: StreamKey): string =>
  JSON.stringify([aggregate_type, aggregate_id]);

/** Everything that the caller can be shown, by every question that he can ask. */
async function shownTo(caller: Caller, position: number): Promise<Map<string, Set<string>>> {
  const shown = new Map<string, Set<string>>();
  const note = (by: string, list: readonly StreamKey[]): void => {
    const names = shown.get(by) ?? new Set();
    for (const each of list) names.add(nameOf(each));
    shown.set(by, names);
  };
  let cursor: string | null = null;
  do {
    const page: Awaited<ReturnType<Caller["listAggregates"]>> = await caller.listAggregates({
      ...{ take: 2 },
      ...(cursor === null ? {} : { cursor }),
    });
    note("list", page.aggregates);
    ({ next_cursor: cursor } = page);
  } while (cursor !== null);
  for (const [by, selection] of [
    ["filter", { filter: "n >= 0" }],
    ["list at an instant", { at: later }],
    ["list of what is not archived", { archived: false }],
  ] as const) {
    note(by, (await caller.listAggregates({ ...selection, take: 100 })).aggregates);
  }
  note("list by offset", await byOffset(caller));
  note("log", await caller.readLog({ take: 100 }));
  note("log of an event type", await caller.readLog({ event_type: "noted", take: 100 }));
  for (const key of keys) {
    note("log of one", await caller.readLog({ ...key, take: 100 }));
    note("log of a type", await caller.readLog({ aggregate_type: key.aggregate_type, take: 100 }));
    for (const work of [
      async () => [await caller.getAggregate(key)],
      async () => [await caller.getAggregate({ ...key, version: 1 })],
      async () => [await caller.getAggregate({ ...key, at: later })],
      () => caller.listEvents(key),
      async () => [await caller.verifyAggregate(key)],
    ]) {
      note("one", await work().catch(() => []));
    }
  }
  const until = new AbortController();
  const last = (await caller.readLog({ take: 100 })).at(-1);
  if (last !== undefined && position > 0) {
    for await (const record of caller.follow({ after: 0 }, until.signal)) {
      note("follow", [record]);
      if (record.position >= last.position) until.abort();
    }
  }
  return shown;
}

/** What lies outside must not be counted among what is passed over either. */
async function byOffset(caller: Caller): Promise<StreamKey[]> {
  const found: StreamKey[] = [];
  for (;;) {
    const { aggregates } = await caller.listAggregates({ skip: found.length, take: 2 });
    if (aggregates.length === 0) return found;
    found.push(...aggregates);
  }
}

async function fill(world: World, history: readonly StreamKey[]): Promise<void> {
  for (const key of history) {
    await world.store.dbx.appendEvent(root, {
      ...key,
      ...{ event_type: "noted", payload: json('{"n":1}') },
    });
  }
}

test.each([engineSurface, restSurface, graphqlSurface, grpcSurface])(
  `$name shows a scoped token its scope, the whole of it and nothing else (SEED=${seed})`,
  async (surface) => {
    await using world = await openWorld(surface);
    const there = new Set<string>();
    let position = 0;
    await fc.assert(
      fc.asyncProperty(histories, scopes, async (history, aggregates) => {
        await fill(world, history);
        position += history.length;
        for (const key of history) there.add(nameOf(key));
        const { dbx } = world.store;
        const issued = await dbx.issueToken(root, { group: "app", user: "u", aggregates });
        const covered = keys
          .filter((key) => covers({ scope: aggregates }, key) && there.has(nameOf(key)))
          .map(nameOf)
          .sort();
        const shown = await shownTo(world.as(issued.token), position);
        for (const by of ways) {
          expect([by, [...(shown.get(by) ?? [])].sort()]).toEqual([by, covered]);
        }

        // What the other surfaces do not have.
        const actor = world.store.authenticate(issued.token);
        const input = { take: 100 };
        const exported = await call(dbx, { operation: "exportAggregates", input, actor });
        expect(exported.aggregates.map(nameOf).sort()).toEqual(covered);
      }),
      { seed, numRuns: 12 },
    );
  },
);
