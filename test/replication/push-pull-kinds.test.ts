// What travels with events: archived flags, erasures, large payloads, clocks that are ahead. Nodes
// with keys of their own, which share nothing but what they tell each other.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import type { RunningServer } from "../support/cli.ts";
import { introduce, openHome, type Home } from "../support/homes.ts";
import { openStore, root } from "../support/store.ts";

let here: Home;
let there: Home;
let server: RunningServer;
beforeAll(async () => {
  const keyOf = (byte: number) => ({ dek: Buffer.alloc(32, byte).toString("base64") });
  [here, there] = await Promise.all([openHome(keyOf(1)), openHome(keyOf(2))]);
  server = await there.start();
  await introduce(here, there, { port: server.socket_port });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  here[Symbol.dispose]();
  there[Symbol.dispose]();
});

const replayed = async (home: Home, type: string): Promise<unknown[]> => {
  const text = await home.ok("aggregate", "replay", type, "1", "--json");
  return (JSON.parse(text) as object[]).map((event) => ({ ...event, position: null }));
};
const archivedOf = async (home: Home, type: string): Promise<unknown> =>
  JSON.parse(await home.ok("aggregate", "get", type, "1", "--json")).archived;
const both = [
  ...[["push", () => [here, there] as const] as const],
  ...[["pull", () => [there, here] as const] as const],
] as const;

test.each(both)("%s takes archived aggregates over, and flags alone", async (way, ends) => {
  const [from, to] = ends();
  const type = `shelf-${way}`;
  await from.apply([type, "1", 1], [type, "1", 2]);
  await from.ok("aggregate", "archive", type, "1");
  await here.ok(way, "called");
  expect(await archivedOf(to, type)).toBe(true);
  expect(await replayed(to, type)).toEqual(await replayed(from, type));

  await from.ok("aggregate", "restore", type, "1");
  expect(await here.ok(way, "called")).toContain("  1 aggregate(s) archived or restored\n");
  expect(await archivedOf(to, type)).toBe(false);
  await to.ok("aggregate", "verify", "--all");
});

test.each(both)("%s takes erasures over, and what was there before goes", async (way, ends) => {
  const [from, to] = ends();
  const [type, secret] = [`erased-${way}`, `secret-of-${way}`];
  await from.apply([type, "1", { name: secret }, "--note", secret], [type, "1", secret]);
  await here.ok(way, "called");
  expect(JSON.stringify(await replayed(to, type))).toContain(secret);

  await from.ok("aggregate", "erase", type, "1", "--reason", "request 17", "--yes");
  await from.apply([type, "1", "afterwards"]);
  await here.ok(way, "called", "--batch-size", "1");
  const events = await replayed(to, type);
  expect(events).toHaveLength(4);
  expect(JSON.stringify(events)).not.toContain(secret);
  expect(events).toEqual(await replayed(from, type));
  expect(to.rows(type)).toMatchObject(from.rows(type).map(({ digests }) => ({ digests })));
  await to.ok("aggregate", "verify", "--all");
});

test("a node that cannot forget takes no erasure over, and nothing else with it", async () => {
  await here.apply(["forget", "1", 1]);
  await here.ok("aggregate", "erase", "forget", "1", "--reason", "asked for", "--yes");
  using plain = await openHome();
  await using receiver = await plain.start();
  const name = ["plain", `127.0.0.1:${receiver.socket_port}`, "--public-key", plain.key];
  await here.ok("remote", "add", ...name);
  await plain.ok("remote", "add", "caller", "127.0.0.1", "--public-key", here.key);
  expect(await here.refused("push", "plain", "--aggregate", "forget")).toStartWith(
    "4 the remote refused: events were erased at their origin, which this node cannot do",
  );
  expect(plain.rows()).toEqual([]);
});

test("payloads as large as they may be come over, whole and many", async () => {
  const text = "é".repeat(500_000);
  await here.fill("large", 9, { text });
  await here.ok("push", "called", "--aggregate", "large");
  expect(there.rows("large").map(({ digests }) => digests)).toEqual(
    here.rows("large").map(({ digests }) => digests),
  );
  const got = JSON.parse(await there.ok("aggregate", "get", "large", "1", "--json"));
  expect(got.state.text === text).toBe(true);
});

test("--allow-future takes what is more than a day ahead, which is refused otherwise", async () => {
  using ahead = await openHome();
  const now = (): string =>
    `${new Date(Date.now() + 2 * 86_400_000).toISOString().slice(0, -1)}000Z`;
  {
    await using store = await openStore(join(ahead.path, ".eventdbx"), { system: { now } });
    const event = { aggregate_type: "future", aggregate_id: "1", event_type: "noted" };
    await store.dbx.appendEvent(root, { ...event, payload: "1" as never });
  }
  await introduceAnother(ahead);
  const words = /^4 the remote refused: version 1 of future\/1 is of .*: a clock is wrong/;
  expect(await ahead.refused("push", "called")).toMatch(words);
  expect(there.rows("future")).toEqual([]);
  await ahead.ok("push", "called", "--allow-future");
  expect(there.rows("future")).toMatchObject([{ digests: ahead.rows("future")[0]?.digests }]);

  // The same the other way round.
  expect(await here.refused("pull", "called", "--aggregate", "future")).toMatch(
    /^4 version 1 of future\/1 is of .*: a clock is wrong/,
  );
  expect(here.rows("future")).toEqual([]);
  await here.ok("pull", "called", "--aggregate", "future", "--allow-future");
  expect(here.rows("future")).toHaveLength(1);
});

async function introduceAnother(home: Home): Promise<void> {
  const endpoint = `127.0.0.1:${server.socket_port}`;
  await home.ok("remote", "add", "called", endpoint, "--public-key", there.key);
  await there.ok("remote", "add", "another", "127.0.0.1", "--public-key", home.key);
}
