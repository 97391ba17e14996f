// Two nodes, each a dbx of its own, the second fed by a gRPC plugin of the first: it has the same
// history in the end, hash by hash, whatever happens to either of them.

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { dbx, http, startForeground, type RunningServer } from "../support/cli.ts";
import { freePort } from "../support/free-port.ts";
import type { Loose } from "../support/grpc.ts";
import { makeStore, readEvents, until } from "../support/plugin-targets.ts";
import { tempDir, type TempDir } from "../support/temp.ts";
import { makePair } from "../support/tls.ts";

const entry = "test/support/hasty-dbx.ts";
const keyOf = (word: string): string => createHash("sha256").update(word).digest("base64");

let dirs: { first: TempDir; second: TempDir };
beforeEach(() => void (dirs = { first: tempDir(), second: tempDir() }));
afterEach(() => {
  dirs.first[Symbol.dispose]();
  dirs.second[Symbol.dispose]();
});

interface Node extends AsyncDisposable {
  readonly home: string;
  readonly port: () => number;
  readonly start: () => Promise<void>;
  /** SIGKILL. */
  readonly kill: () => Promise<void>;
  readonly append: (id: string, count?: number) => Promise<void>;
  readonly events: () => Promise<Loose[]>;
  readonly run: (words: string) => ReturnType<typeof dbx>;
  readonly token: string;
}

async function makeNode(
  home: string,
  over: { key?: string; port?: number; env?: Record<string, string>; toml?: string } = {},
): Promise<Node> {
  const token = await makeStore(home, async () => {}, over.key);
  const key = over.key === undefined ? "" : `data_encryption_key = "${over.key}"\n`;
  await Bun.write(join(home, ".eventdbx/config.toml"), key + (over.toml ?? ""));
  let server: RunningServer | null = null;
  let made = 0;
  const place = over.port ?? freePort();
  const port = (): number => place;
  const where = { home, entry, ...(over.env === undefined ? {} : { env: over.env }) };
  return {
    ...{ home, token, port },
    start: async () => {
      server = await startForeground({ ...where, args: ["--api", "all"], port: port() });
    },
    kill: async () => server?.[Symbol.asyncDispose](),
    append: async (id, count = 1) => {
      for (let left = count; left > 0; left--) {
        const body = JSON.stringify({
          ...{ aggregate_type: "person", aggregate_id: id, event_type: "person-noted" },
          ...{ payload: { n: ++made, big: "18446744073709551615" }, note: "é" },
        });
        const { status, text } = await http(port(), "/v1/events", { token, body });
        expect({ status, text }).toMatchObject({ status: 200 });
      }
    },
    events: () => readEvents(port(), token),
    run: (words) => dbx(words.split(" "), where),
    [Symbol.asyncDispose]: async () => server?.[Symbol.asyncDispose](),
  };
}

/** What makes an event the one that it is; positions are each node's own. */
const told = (event: Loose): string => JSON.stringify({ ...event, position: 0 });

/** Until the second node has all of it, in the order of the first for each aggregate. */
async function follows(first: Node, second: Node): Promise<void> {
  const all = await first.events();
  await until(async () => (await second.events()).length >= all.length);
  const byAggregate = (events: readonly Loose[]) =>
    Object.groupBy(events, ({ aggregate_id }) => aggregate_id);
  const [here, there] = [byAggregate(all), byAggregate(await second.events())];
  for (const id of Object.keys(here)) {
    expect(there[id]?.map(told)).toEqual(here[id]?.map(told) ?? []);
  }
  const verified = await second.run("aggregate verify --all");
  expect({ code: verified.code, stderr: verified.stderr }).toEqual({ code: 0, stderr: "" });
}

async function chain(
  first: Node,
  second: Node,
  over: { scheme?: string; host?: string } = {},
): Promise<void> {
  const { scheme = "grpc", host = "127.0.0.1" } = over;
  const endpoint = `${scheme}://${host}:${second.port()}`;
  const config = { type: "grpc", replicated: true, endpoint, token: second.token };
  const answer = await fetch(`http://127.0.0.1:${first.port()}/admin/plugins/next`, {
    method: "PUT",
    headers: { authorization: `Bearer ${first.token}`, "content-type": "application/json" },
    body: JSON.stringify({ config, enabled: true, from_beginning: true }),
  });
  expect({ status: answer.status, text: await answer.text() }).toMatchObject({ status: 201 });
}

const statusOf = async (node: Node): Promise<Loose> => {
  const { text } = await http(node.port(), "/admin/plugins", { token: node.token });
  return JSON.parse(text)[0];
};

const people = ["p-1", "p-2", "p-3"];
/** However long the next node takes to come back, nothing is given up meanwhile. */
const patient = "plugin_max_attempts = 1000000\n";

test("everything arrives as it is, over TLS, and verifies there", async () => {
  const pair = await makePair(dirs.second.path, "second");
  await using second = await makeNode(dirs.second.path, {
    toml: `[tls]\ncert = "${pair.cert}"\nkey = "${pair.key}"\n`,
  });
  await using first = await makeNode(dirs.first.path, { env: { NODE_EXTRA_CA_CERTS: pair.cert } });
  await first.start();
  for (const id of people) await first.append(id, 5);
  await second.start();
  await chain(first, second, { scheme: "grpcs", host: "localhost" });
  for (const id of people) await first.append(id, 5);
  await until(async () => (await statusOf(first))["checkpoint"] === 30);
  const { stdout } = await second.run("aggregate list --json");
  expect(JSON.parse(stdout)).toHaveLength(3);
  const verified = await second.run("aggregate verify --all");
  expect(verified.code).toBe(0);
  const [here, there] = await Promise.all(
    [first, second].map(async (node) =>
      JSON.parse((await node.run("aggregate get person p-2 --json")).stdout),
    ),
  );
  expect(there).toEqual(here);
}, 60_000);

test("kills of either node lose nothing and double nothing, and neither does a replay", async () => {
  await using first = await makeNode(dirs.first.path, { toml: patient });
  await using second = await makeNode(dirs.second.path);
  await second.start();
  await first.start();
  await chain(first, second);
  for (const node of [second, first, second]) {
    const before = (await first.events()).length;
    const appending = Promise.allSettled(people.map((id) => first.append(id, 20)));
    await until(async () => (await first.events()).length > before + 5);
    await node.kill();
    await appending;
    await node.start();
  }
  await first.append("p-1");
  await follows(first, second);
  const before = (await second.events()).length;
  const replayed = await first.run("plugin replay next person");
  expect(replayed.code).toBe(0);
  expect(await second.events()).toHaveLength(before);
}, 60_000);

async function erase(node: Node, id: string): Promise<void> {
  const { status, text } = await http(node.port(), `/v1/aggregates/person/${id}/erase`, {
    ...{ token: node.token, body: JSON.stringify({ reason: "asked for" }) },
  });
  expect({ status, text }).toMatchObject({ status: 200 });
}

describe("an aggregate that is erased", () => {
  test("is erased at the next node, too, which never saw some of it", async () => {
    await using first = await makeNode(dirs.first.path, { key: keyOf("first"), toml: patient });
    await using second = await makeNode(dirs.second.path, { key: keyOf("second") });
    await first.start();
    await second.start();
    await chain(first, second);
    await first.append("p-1", 3);
    await first.append("p-2", 3);
    await follows(first, second);
    expect(JSON.stringify(await second.events())).toContain('"n":3');

    await second.kill();
    await first.append("p-1", 2);
    await first.append("p-2");
    await erase(first, "p-1");
    await first.append("p-1");
    await second.start();

    await follows(first, second);
    const events = await second.events();
    expect(events.filter(({ metadata }) => metadata.erased === true)).toHaveLength(5);
    expect(JSON.stringify(events)).not.toContain('"n":3');
    expect(await statusOf(first)).toMatchObject({ dead: 0, pending: 0 });
  }, 60_000);

  test("arrives at a node that begins later, with what was erased twice", async () => {
    await using first = await makeNode(dirs.first.path, { key: keyOf("first") });
    await using second = await makeNode(dirs.second.path, { key: keyOf("second") });
    await first.start();
    await second.start();
    await first.append("p-1", 3);
    await erase(first, "p-1");
    await first.append("p-1", 2);
    await first.append("p-2", 2);
    await erase(first, "p-1");
    await first.append("p-1", 2);
    await chain(first, second);
    await follows(first, second);
    expect(await statusOf(first)).toMatchObject({ dead: 0, pending: 0, sequence: 5 });
  }, 60_000);

  test("is refused by a node without a key, in words; others go on", async () => {
    await using first = await makeNode(dirs.first.path, { key: keyOf("first") });
    await using second = await makeNode(dirs.second.path);
    await first.start();
    await second.start();
    await first.append("p-1", 3);
    await chain(first, second);
    await follows(first, second);
    await erase(first, "p-1");
    await first.append("p-2", 3);
    await until(async () => (await statusOf(first))["dead"] === 1);
    await until(async () => (await second.events()).length === 6);
    const { stdout } = await first.run("queue");
    expect(stdout).toContain("event=$erased");
    expect(stdout).toContain("it cannot erase without a key of its own");
  }, 60_000);
});
