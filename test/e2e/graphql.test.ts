/**
 * GraphQL of the compiled dbx, as people get it: the page and what stands behind it are in the one
 * file; a follower that outlives the server goes on where it was; a command that needs none of it
 * does not wait for it.
 */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { subscribe } from "../support/graphql.ts";
import { compiledDbx, compiledEnvironment } from "../support/compiled.ts";
import { http, readPid } from "../support/cli.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

let dir: TempDir;
let home: string;
beforeEach(() => {
  dir = tempDir();
  home = join(dir.path, "home");
  mkdirSync(home);
});
afterEach(() => dir[Symbol.dispose]());

const run = async (args: readonly string[]): Promise<string> => {
  const child = Bun.spawn([await compiledDbx(), ...args], {
    ...{ cwd: home, env: { HOME: home, USER: "tester" }, stdin: "ignore" },
    stdout: "pipe",
    stderr: "inherit",
  });
  const text = await child.stdout.text();
  expect(await child.exited).toBe(0);
  return text;
};

/** A server of its own process, which a test may kill. */
async function serve() {
  const child = Bun.spawn(
    [await compiledDbx(), "start", "--foreground", "--port", "0", "--no-grpc"],
    {
      ...{ cwd: home, env: compiledEnvironment(home), stdin: "ignore" },
      stdout: "ignore",
      stderr: "pipe",
    },
  );
  const ready = Promise.withResolvers<void>();
  const reading = (async () => {
    let log = "";
    for await (const chunk of child.stderr) {
      log += new TextDecoder().decode(chunk);
      if (log.includes(" info ready ")) ready.resolve();
    }
    ready.reject(new Error(`the server ended before it was ready:\n${log}`));
  })();
  await ready.promise;
  return {
    port: readPid(home).port,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.exited;
      await reading;
    },
  };
}

const event = 'aggregate_type: "order", aggregate_id: "o-1", event_type: "placed"';
const append = (port: number, token: string, payload: string) =>
  http(port, "/graphql", {
    token,
    body: JSON.stringify({
      query: `mutation { appendEvent(input: { ${event}, payload: ${payload} }) { position } }`,
    }),
  });

test("the one file serves queries, mutations, subscriptions and the page", async () => {
  const all = "subscription($after: Long) { eventAppended(after: $after) { position payload } }";
  let token: string;
  {
    await using server = await serve();
    token =
      /^token=(\S+)/.exec(
        await run(["token", "generate", "--group", "clerk", "--user", "a"]),
      )?.[1] ?? "";
    const { port } = server;
    expect(await append(port, token, "9007199254740993")).toEqual({
      status: 200,
      text: '{"data":{"appendEvent":{"position":1}}}',
    });
    const page = await http(port, "/graphql/playground");
    expect(page.status).toBe(200);
    expect(page.text).toContain("YogaGraphiQL.renderYogaGraphiQL(");
    const stream = await subscribe({ port, token }, all, { variables: '{"after":0}' });
    expect((await stream.next()).text).toBe(
      '{"data":{"eventAppended":{"position":1,"payload":9007199254740993}}}',
    );
    stream.leave();
  }
  // Killed without a word; what was answered is there, and following goes on behind it.
  await using server = await serve();
  const { port } = server;
  await append(port, token, "{z: 1e400, a: 0.1}");
  const stream = await subscribe({ port, token }, all, { variables: '{"after":1}' });
  expect((await stream.next()).text).toBe(
    '{"data":{"eventAppended":{"position":2,"payload":{"a":0.1,"z":1e400}}}}',
  );
  stream.leave();
}, 120_000);

test("commands that serve nothing load nothing of it", async () => {
  const preload = join(dir.path, "modules.ts");
  await Bun.write(
    preload,
    `process.on("exit", () => process.stderr.write(Object.keys(require.cache).join("\\n")));`,
  );
  const main = join(import.meta.dir, "../../src/main.ts");
  const child = Bun.spawn([process.execPath, "--preload", preload, main, "--version"], {
    ...{ cwd: home, env: { HOME: home }, stdout: "pipe", stderr: "pipe" },
  });
  const [stdout, loaded] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  expect(stdout).toStartWith("dbx ");
  expect(loaded).toContain("src/main.ts");
  expect(loaded).not.toMatch(/graphql|elysia/);
});
