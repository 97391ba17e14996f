// Who may push and pull, as its operators meet it: strangers, wrong keys, rights that are narrowed
// or taken away meanwhile, old protocols, and a node that stops in the middle.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import type { RunningServer } from "../support/cli.ts";
import { introduce, openHome, type Home } from "../support/homes.ts";
import { greeting } from "../support/session-raw.ts";
import { connectSocket } from "../support/socket.ts";
import { openStream } from "../support/sse.ts";

let here: Home;
let there: Home;
let server: RunningServer;
let admin: string;
beforeAll(async () => {
  [here, there] = await Promise.all([openHome(), openHome()]);
  server = await there.start();
  await introduce(here, there, { port: server.socket_port });
  await here.apply(["ward", "here", 1]);
  await there.apply(["ward", "there", 1]);
  admin = await tokenOf(there);
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  here[Symbol.dispose]();
  there[Symbol.dispose]();
});

const tokenOf = async (home: Home): Promise<string> =>
  JSON.parse(await home.ok("token", "generate", "--json", "--group", "admin", "--user", "eve"))
    .token;

/** What `there` lets `here` do from now on. */
const allow = (home: Home, rights: string) => {
  const key = ["--public-key", here.key, "--replace"];
  return home.ok("remote", "add", "caller", "127.0.0.1", ...key, "--allow", rights);
};

/** Pushes and pulls, which MUST be refused and write nothing on either side. Out: both refusals. */
async function refusals(from: Home): Promise<readonly string[]> {
  const before = [from.rows(), there.rows()];
  const said = [await from.refused("push", "called"), await from.refused("pull", "called")];
  expect([from.rows(), there.rows()]).toEqual(before);
  return said;
}

describe("no session, and nothing is written", () => {
  test("where the called node does not know the caller; both say what would name it", async () => {
    using stranger = await openHome();
    const port = server.socket_port;
    const endpoint = `127.0.0.1:${port}`;
    await stranger.ok("remote", "add", "called", endpoint, "--public-key", there.key);
    await stranger.apply(["ward", "strange", 1]);
    const words =
      `4 called at tcp://${endpoint} does not know this node; run there: dbx remote add NAME ADDRESS ` +
      `--public-key ${stranger.key} (with a name for this node and its address) (failed_precondition)`;
    expect(await refusals(stranger)).toEqual([words, words]);
    await server.until(`dbx remote add NAME 127.0.0.1 --public-key ${stranger.key}`);
    // It is what it says: with that command the next one comes through.
    const named = ["remote", "add", "stranger", "127.0.0.1", "--public-key", stranger.key];
    await there.ok(...named);
    await stranger.ok("push", "called");
    expect(there.rows()).toContainEqual(stranger.rows()[0] ?? expect.anything());
    await there.ok("remote", "rm", "stranger");
    expect(await refusals(stranger)).toEqual([words, words]);
  });

  test("where the called node has another key than the pinned one", async () => {
    using other = await openHome();
    const endpoint = `127.0.0.1:${server.socket_port}`;
    const pin = (key: string) =>
      here.ok("remote", "add", "called", endpoint, "--public-key", key, "--replace");
    await pin(other.key);
    const [first, second] = await refusals(here);
    expect(first).toBe(
      `4 called at tcp://${endpoint} has another key than the one that is pinned: ${there.key}; ` +
        `if its operator says that this is right: dbx remote add called 127.0.0.1 --port ` +
        `${server.socket_port} --public-key ${there.key} --replace (failed_precondition)`,
    );
    expect(second).toBe(String(first));
    await server.until("the caller has another key pinned for this node");
    await pin(there.key);
    await here.ok("push", "called", "--dry-run");
  });

  test("where nobody is there", async () => {
    using alone = await openHome();
    const nobody = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    const { port } = nobody;
    nobody.stop(true);
    await alone.ok("remote", "add", "called", `127.0.0.1:${port}`, "--public-key", there.key);
    const words = `7 cannot connect to called at tcp://127.0.0.1:${port}: ECONNREFUSED (unavailable)`;
    expect(await refusals(alone)).toEqual([words, words]);
    expect((await alone.run(["push", "called"])).stderr).toContain("hint:  dbx remote ls");
  });

  test("where somebody else answers", async () => {
    using lost = await openHome();
    // The HTTP port of the very node.
    const endpoint = `127.0.0.1:${server.port}`;
    await lost.ok("remote", "add", "called", endpoint, "--public-key", there.key);
    for (const refusal of await refusals(lost)) {
      expect(refusal).toStartWith(`7 called at tcp://${endpoint} does not answer as a node of dbx`);
    }
  });
});

describe("rights", () => {
  test("`--allow read` serves pull and refuses everything else", async () => {
    await here.apply(["allow", "here", 1]);
    await there.apply(["allow", "there", 1]);
    await here.ok("schema", "create", "allow", "--events", "noted");
    await allow(there, "read");
    const before = there.rows();
    const may = (what: string) =>
      `5 the remote refused: this remote may not ${what} here; dbx remote add --replace --allow grants it (permission_denied)`;
    expect(await here.refused("push", "called")).toBe(may("append"));
    expect(await here.refused("push", "called", "--schema-only")).toBe(may("change schemas"));
    expect(there.rows()).toEqual(before);
    await here.ok("pull", "called");
    expect(here.rows()).toEqual(expect.arrayContaining([...before]));

    await allow(there, "append");
    expect(await here.refused("pull", "called")).toBe(may("read"));
    await allow(there, "read,append,schemas");
    await here.ok("push", "called", "--schema");
    expect(there.rows()).toEqual(here.rows());
  });

  test("of one key under two names are what both of them allow", async () => {
    using other = await openHome();
    await here.apply(["twice", "named", 1]);
    const twin = `\n[remotes.twin]\nendpoint = "tcp://127.0.0.1:1"\npublic_key = "${here.key}"\nallow = ["read"]\n`;
    appendFileSync(join(there.path, ".eventdbx/config.toml"), twin);
    // The running server reads the file again for this one.
    await there.ok("remote", "add", "other", "127.0.0.1", "--public-key", other.key);
    const refused = await here.refused("push", "called", "--aggregate", "twice");
    expect(refused).toContain("this remote may not append here");
    expect(there.rows("twice")).toEqual([]);
    await there.ok("remote", "rm", "twin");
    await there.ok("remote", "rm", "other");
    await here.ok("push", "called", "--aggregate", "twice");
    expect(there.rows("twice")).toHaveLength(1);
  });

  test("end with `dbx remote rm`, for a push that runs as well", async () => {
    await here.fill("removed", many);
    const running = here.run(["push", "called", "--aggregate", "removed", "--batch-size", "1"]);
    await arrived("removed", 1);
    await there.ok("remote", "rm", "caller");
    const { code, stdout, stderr } = await running;
    expect({ code, stdout }).toEqual({ code: 5, stdout: "" });
    expect(stderr).toContain("error: the remote refused: this remote may not append here");
    const [left, whole] = [there.rows("removed"), here.rows("removed")];
    expect(left.length).toBeLessThan(whole.length);
    expect(left).toEqual(whole.slice(0, left.length));
    expect((await refusals(here))[0]).toContain("does not know this node");

    await introduce(here, there, { port: server.socket_port });
    await here.ok("push", "called", "--aggregate", "removed");
    expect(there.rows("removed")).toEqual(whole);
  });
});

describe("one port", () => {
  test("serves commands and nodes at the same time, and nobody pushes from afar", async () => {
    await here.apply(["port", "1", 1]);
    using client = await connectSocket(server.socket_port);
    const list = ["aggregate", "list", "--json"];
    const [pushed, listed] = await Promise.all([
      here.ok("push", "called", "--aggregate", "port"),
      client.ask(list, admin),
    ]);
    expect(pushed).toStartWith("Pushed 1 event(s) to 'called'");
    expect(listed.exit).toBe(0);
    expect((await client.ask(list, admin)).stdout).toContain('"port"');
    const afar = await client.ask(["push", "caller"], admin);
    expect({ exit: afar.exit, stdout: afar.stdout }).toEqual({ exit: 2, stdout: "" });
  });

  test("refuses the greeting of EventDBX 1 in words, and ends the connection", async () => {
    const old = Buffer.from(greeting);
    // The version is the first word of the struct's data.
    old[16] = 1;
    const said = await answerTo(old);
    expect(said).toContain(
      "unsupported replication protocol version 1; this server speaks 2, in which both nodes prove " +
        "their keys: it needs dbx 2 on both sides",
    );
    await server.until("replication: greeting refused");
  });
});

test("a called node that stops ends a push with words; what it had stays, the next one goes on", async () => {
  await here.fill("stopped", many);
  const running = here.run(["push", "called", "--aggregate", "stopped", "--batch-size", "1"]);
  await arrived("stopped", 1);
  server.kill("SIGTERM");
  const { code, stdout, stderr } = await running;
  expect({ code, stdout }).toEqual({ code: 7, stdout: "" });
  expect(stderr).toContain(
    "error: the remote has ended the session; what has arrived stays, run it again (unavailable)",
  );
  expect(await server.exited).toBe(0);
  const [left, whole] = [there.rows("stopped"), here.rows("stopped")];
  expect(left.length).toBeLessThan(whole.length);
  expect(left).toEqual(whole.slice(0, left.length));

  server = await there.start();
  const endpoint = `127.0.0.1:${server.socket_port}`;
  await here.ok("remote", "add", "called", endpoint, "--public-key", there.key, "--replace");
  expect(await here.ok("push", "called", "--aggregate", "stopped")).toStartWith(
    `Pushed ${whole.length - left.length} event(s) to 'called'`,
  );
  expect(there.rows("stopped")).toEqual(whole);
  await there.ok("aggregate", "verify", "--all");
});

/** So many that one at a time they take far longer than what ends them. */
const many = 1_000;

/** Until so many events of a type are there. */
async function arrived(type: string, count: number): Promise<void> {
  const stream = await openStream({ port: server.port, token: admin, query: "?after=0" });
  let seen = 0;
  for await (const { data } of stream.messages) {
    if (data !== null && JSON.parse(data).aggregate_type === type) seen++;
    if (seen >= count) break;
  }
  stream.close();
}

/** All that the node says before it ends the connection. */
async function answerTo(bytes: Uint8Array): Promise<string> {
  const said: Buffer[] = [];
  const ended = Promise.withResolvers<void>();
  await Bun.connect({
    ...{ hostname: "127.0.0.1", port: server.socket_port },
    socket: {
      open: (socket) => void socket.write(bytes),
      data: (_, piece) => void said.push(Buffer.from(piece)),
      close: () => ended.resolve(),
    },
  });
  await ended.promise;
  return Buffer.concat(said).toString("latin1");
}
