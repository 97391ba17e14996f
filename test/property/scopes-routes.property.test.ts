// Random scopes and every route of the table: no answer to a token with a scope holds a word of
// what lies outside of it, nothing outside can be changed, and what is inside is all there.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { operations } from "../../src/api/operations.ts";
import { routes, type Route } from "../../src/api/routes.ts";
import { covers, type ScopeEntry } from "../../src/model/actor.ts";
import type { StreamKey } from "../../src/model/stream.ts";
import { foreignEvent } from "../support/foreign.ts";
import { startTestServer, type Answer, type TestServer } from "../support/server.ts";
import { root } from "../support/store.ts";
import { json } from "../support/surfaces.ts";

const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const test_ms_max = 60_000;

const types = ["a", "a:b", "b"] as const;
const ids = ["1", "b:1", "2"] as const;
const keys: StreamKey[] = types.flatMap((aggregate_type) =>
  ids.map((aggregate_id) => ({ aggregate_type, aggregate_id })),
);
const scopes: fc.Arbitrary<ScopeEntry[]> = fc.array(
  fc.oneof(
    fc.record({ aggregate_type: fc.constantFrom(...types) }),
    fc.record({ aggregate_type: fc.constantFrom(...types), aggregate_id: fc.constantFrom(...ids) }),
  ),
  { minLength: 1, maxLength: 4 },
);

/** In the payload, the note and the type of each event, so in states, snapshots and the queue. */
const wordOf = ({ aggregate_type, aggregate_id }: StreamKey): string =>
  `word<${aggregate_type}/${aggregate_id}>`;

const eventFor = (key: StreamKey) => ({
  ...key,
  event_type: `noted ${wordOf(key)}`,
  payload: json(JSON.stringify({ n: 1, word: wordOf(key) })),
  note: wordOf(key),
});

const later = "2100-01-01T00:00:00Z";
const everyWord = keys.map((key) => `filter=${encodeURIComponent(`word = "${wordOf(key)}"`)}`);

/** Other ways to ask the same; a route that is not here is asked as it is. */
const queries: Readonly<Record<string, readonly string[]>> = {
  listAggregates: [
    "",
    `at=${later}`,
    "filter=n>=0",
    "archived=false",
    "take=2",
    "skip=1",
    ...everyWord,
  ],
  exportAggregates: ["", `at=${later}`, "take=2", "type=a"],
  getAggregate: ["", "version=1", `at=${later}`, "include_hidden=true"],
  listEvents: ["", "take=1", "skip=1"],
  verifyAggregate: [""],
  readLog: [
    ...["take=100", "after=2", `event_type=${encodeURIComponent(`noted ${wordOf(keys[0]!)}`)}`],
    ...types.map((type) => `aggregate_type=${type}`),
  ],
};

const bodyFor = ({ operation }: Route, key: StreamKey): unknown => {
  if (operation === "appendEvents") return { events: [eventFor(key)] };
  if (operation === "appendEvent" || operation === "stageEvent") return eventFor(key);
  if (operation === "importEvents") return { events: [foreignEvent(key)] };
  if (operation === "createAggregate") return key;
  return operation === "eraseAggregate" ? { reason: "none" } : {};
};

const reachOf = ({ operation }: Route): string => operations[operation].reach;

function pathOf(route: Route, key: StreamKey, query: string): string {
  const named: Readonly<Record<string, string>> = { ...key, aggregate: key.aggregate_type };
  const path = route.path.replaceAll(/\{(\w+)\}/g, (_, name: string) =>
    encodeURIComponent(named[name] ?? "noted"),
  );
  return query === "" ? path : `${path}?${query}`;
}

/** Everything an answer tells, cursors taken apart. */
const toldBy = ({ text, headers }: Answer): string =>
  [text, Buffer.from(headers.get("x-next-cursor") ?? "", "base64url").toString("utf8")].join();

/** A token for the scope, and what it is told. */
function asking(server: TestServer, { token, scope }: { token: string; scope: ScopeEntry[] }) {
  const outside = keys.filter((key) => !covers({ scope }, key)).map(wordOf);
  return async (route: Route, key: StreamKey, query = ""): Promise<Answer> => {
    const { method } = route;
    const path = pathOf(route, key, query);
    const body = method === "POST" || method === "PATCH" ? bodyFor(route, key) : undefined;
    const answer = await server.ask(method, path, {
      token,
      ...(body === undefined ? {} : { body }),
    });
    // Whoever names what he may not see is told his own words again, and no others.
    const asked = decodeURIComponent(query);
    const told = outside.filter((word) => toldBy(answer).includes(word) && !asked.includes(word));
    expect([method, path, told]).toEqual([method, path, []]);
    return answer;
  };
}
type AskRoute = ReturnType<typeof asking>;

const namesOf = (list: readonly StreamKey[]): string[] => list.map(wordOf).sort();

/** What concerns the whole store is refused, whatever it is. */
async function askOfTheStore(ask: AskRoute): Promise<void> {
  for (const route of routes.filter((each) => reachOf(each) === "store")) {
    const { status } = await ask(route, keys[0]!);
    // Input is judged before permission; there is no case in which it is answered.
    expect([route.operation, [400, 403].includes(status)]).toEqual([route.operation, true]);
  }
}

/** Commands on aggregates of the scope are left to others: here nothing may change. */
async function askOfAggregates(ask: AskRoute, scope: ScopeEntry[]): Promise<void> {
  for (const route of routes.filter((each) => ["aggregate", "events"].includes(reachOf(each)))) {
    for (const key of keys) {
      const inside = covers({ scope }, key);
      const { kind } = operations[route.operation];
      if (inside && kind === "command") continue;
      for (const query of queries[route.operation] ?? [""]) {
        const { status } = await ask(route, key, query);
        const wanted = inside ? route.status : kind === "query" ? 404 : 403;
        expect([route.operation, query, key, status]).toEqual([
          route.operation,
          query,
          key,
          wanted,
        ]);
      }
    }
  }
}

async function askLists(ask: AskRoute): Promise<void> {
  const lists = routes.filter((each) => reachOf(each) === "listed" && each.method === "GET");
  expect(lists.length).toBeGreaterThanOrEqual(4);
  for (const route of lists) {
    for (const query of queries[route.operation] ?? [""]) {
      const first = await ask(route, keys[0]!, query);
      expect([route.operation, query, first.status]).toEqual([route.operation, query, 200]);
      const cursor = first.headers.get("x-next-cursor");
      if (cursor !== null) await ask(route, keys[0]!, `take=2&cursor=${cursor}`);
    }
  }
}

const routeOf = (wanted: Route["operation"]): Route =>
  routes.find(({ operation }) => operation === wanted)!;

test(
  `no route tells a scoped token a word from outside or lets it change that (SEED=${seed})`,
  async () => {
    await using server = await startTestServer({ least: "error" });
    const { dbx } = server.store;
    for (const key of keys) {
      await dbx.appendEvent(root, eventFor(key));
      await dbx.createSnapshot(root, key);
    }
    await fc.assert(
      fc.asyncProperty(scopes, async (scope) => {
        for (const key of keys) await dbx.stageEvent(root, eventFor(key));
        const { token } = await dbx.issueToken(root, {
          ...{ group: "admin", user: "u", aggregates: scope },
        });
        const ask = asking(server, { token, scope });
        const inside = namesOf(keys.filter((key) => covers({ scope }, key)));
        const outside = namesOf(keys.filter((key) => !covers({ scope }, key)));
        const before = await dbx.serverStatus(root, {});
        await askOfTheStore(ask);
        await askOfAggregates(ask, scope);
        await askLists(ask);
        expect(await dbx.serverStatus(root, {})).toMatchObject({
          ...{ position: before.position, aggregates: before.aggregates },
        });

        const staged = await ask(routeOf("listStaged"), keys[0]!);
        expect(namesOf(staged.json)).toEqual(inside);
        const committed = await ask(routeOf("commitStaged"), keys[0]!);
        expect(namesOf(committed.json)).toEqual(inside);
        expect(namesOf(await dbx.listStaged(root, {}))).toEqual(outside);
        await dbx.discardStaged(root, { all: true });
      }),
      { seed, numRuns: 5 },
    );
  },
  test_ms_max,
);
