// Plugins and their queue as a person handles them: commands and what they print, with the server
// down and up; receivers are real ones of this process.

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { dbx, startForeground, type RunningServer } from "../support/cli.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

let dir: TempDir;
let home: string;
beforeEach(() => {
  dir = tempDir();
  home = dir.path;
});
afterEach(() => dir[Symbol.dispose]());

const run = (words: string, stdin?: string) =>
  dbx(words.split(" "), { home, ...(stdin === undefined ? {} : { stdin }) });
const apply = (id: string) => run(`aggregate apply person ${id} person-added --field name=Jo`);

/** A receiver of posts that may refuse, and what it was sent. */
function receiver() {
  const taken: { id: string; header: string | null }[] = [];
  let answers = 200;
  let woken = Promise.withResolvers<void>();
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: async (request) => {
      if (request.method === "HEAD") return new Response();
      const { aggregate_id }: { aggregate_id: string } = JSON.parse(await request.text());
      if (answers === 200) taken.push({ id: aggregate_id, header: request.headers.get("x-key") });
      woken.resolve();
      woken = Promise.withResolvers<void>();
      return new Response("no", { status: answers });
    },
  });
  return {
    url: `http://127.0.0.1:${server.port}/events`,
    taken,
    answer: (status: number) => void (answers = status),
    /** Resolves when so many were taken. */
    until: async (count: number) => {
      while (taken.length < count) await woken.promise;
    },
    /** Resolves at the next post, whatever is answered. */
    next: () => woken.promise,
    [Symbol.dispose]: () => void server.stop(true),
  };
}

/** Asks until the answer is the one, because a loop of its own makes it true. */
async function until<Value>(ask: () => Promise<Value>, holds: (value: Value) => boolean) {
  for (;;) {
    const value = await ask();
    if (holds(value)) return value;
  }
}

const ok = (ran: { code: number; stdout: string; stderr: string }, stdout: string) =>
  expect(ran).toEqual({ code: 0, stdout, stderr: "" });

async function lifecycle(): Promise<void> {
  ok(await run("plugin list"), "(no plugins configured)\n");
  ok(await run("plugin test"), "(no plugins enabled)\n");
  ok(await run("plugin config log --name trail"), "Log plugin 'trail' configured\n");
  ok(await run("plugin config log --name trail --disable"), "Log plugin 'trail' disabled\n");
  ok(await run("plugin disable trail"), "Plugin 'trail' is already disabled\n");
  ok(await run("plugin enable trail"), "Plugin 'trail' enabled\n");
  ok(await run("plugin enable trail"), "Plugin 'trail' is already enabled\n");
  ok(await run("plugin test"), "log (trail) - ok\nTested 1 plugin(s): 1 succeeded, 0 failed\n");
  const listed = await run("plugin list");
  expect(listed.stdout).toMatch(
    /^log \(trail\) - enabled \(disable with plugin disable trail\)\n {2}state=\w+ checkpoint=\d+ lag=0 pending=0 dead=0\n$/,
  );
  const taken = await run("plugin config tcp --name trail --host 127.0.0.1 --port 1");
  expect([taken.code, taken.stderr]).toEqual([
    4,
    "error: plugin name 'trail' is already used by log (already_exists)\n",
  ]);
  const busy = await run("plugin remove trail");
  expect(busy.code).toBe(4);
  expect(busy.stderr).toContain("disable plugin 'trail' before removing it");
  await run("plugin disable trail");
  ok(await run("plugin remove trail"), "Plugin 'trail' removed\n");
  for (const words of ["enable", "disable", "remove"]) {
    const none = await run(`plugin ${words} trail`);
    expect(none.code).toBe(3);
    expect(none.stderr).toContain("no plugin named 'trail' is configured");
  }
  ok(await run("queue"), "pending=0 dead=0\n");
  ok(await run("plugin queue"), "pending=0 dead=0\n");
  ok(await run("queue retry"), "no dead plugin events to retry\n");
  ok(await run("queue clear"), "no dead plugin events to clear\n");
  const { stdout } = await run("audit --action plugin --json");
  expect(JSON.parse(stdout).map(({ action }: { action: string }) => action)).toEqual([
    ...["plugin.config", "plugin.config", "plugin.enable", "plugin.disable", "plugin.remove"],
  ]);
}

describe("the life of a plugin", () => {
  test("with the server down", async () => {
    await apply("p-1");
    await lifecycle();
  }, 60_000);

  test("with the server up", async () => {
    await using _server = await startForeground({ home });
    await lifecycle();
  }, 60_000);
});

describe("events", () => {
  test("reach a plugin that is made while the server runs, and what came while it was down", async () => {
    using hook = receiver();
    let server: RunningServer | undefined = await startForeground({ home });
    try {
      await apply("before");
      ok(
        await run(`plugin config http --name hook --endpoint ${hook.url} --header X-Key=a=b`),
        "HTTP plugin 'hook' configured\n",
      );
      await apply("p-1");
      await hook.until(1);
      server.kill("SIGTERM");
      await server.exited;
      server = undefined;
      await apply("p-2");
      await apply("p-3");
      server = await startForeground({ home });
      await hook.until(3);
      expect(hook.taken).toEqual(["p-1", "p-2", "p-3"].map((id) => ({ id, header: "a=b" })));
      const [shown] = await until(
        async () => JSON.parse((await run("plugin list --json")).stdout),
        ([plugin]) => plugin.checkpoint === 4,
      );
      expect(shown).toMatchObject({ enabled: true, lag: 0, sequence: 3, config: { type: "http" } });
      expect(shown.config.headers).toEqual({ "X-Key": "set" });
    } finally {
      await server?.[Symbol.asyncDispose]();
    }
  }, 60_000);

  test("that are refused wait in the queue, die, are retried by hand, or cleared", async () => {
    using hook = receiver();
    hook.answer(422);
    await run(
      "config --master-key correct-horse-battery --dek " + Buffer.alloc(32, 3).toString("base64"),
    );
    await run("config --plugin-max-attempts 1");
    await using _server = await startForeground({ home });
    await run(`plugin config http --name hook --endpoint ${hook.url}`);
    for (const id of ["p-1", "p-2", "p-3"]) await apply(id);
    const queue = async () => JSON.parse((await run("queue --json")).stdout);
    const { deliveries } = await until(queue, ({ dead }) => dead === 3);
    const { stdout } = await run("queue");
    expect(stdout).toMatch(/^pending=0 dead=3\n\nDead events:\n/);
    expect(stdout).toMatch(
      /^ {2}[0-9a-f-]{36} aggregate=person::p-1 event=person-added attempts=1 plugin=hook last_error="http plugin request failed \(422[^"]*" \(no further retries\)$/m,
    );
    const failed = await run("queue retry");
    expect(failed.code).toBe(7);
    expect(failed.stdout).toBe("retry summary: 0 succeeded, 3 failed, 3 remaining\n");
    hook.answer(200);
    const [first] = deliveries;
    const one = await run(`queue retry --event-id ${first.event_id}`);
    ok(one, "retry summary: 1 succeeded, 0 failed, 2 remaining\n");
    expect(hook.taken.map(({ id }) => id)).toEqual(["p-1"]);
    const refused = await run("queue clear");
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain("without one it needs --yes");
    ok(await run("queue clear --yes"), "cleared 2 dead event(s) from the plugin queue\n");
    ok(await run("queue"), "pending=0 dead=0\n");
    // The copy for those who read files follows within a second.
    await until(
      async () => JSON.parse(readFileSync(join(home, ".eventdbx/plugin_queue.json"), "utf8")),
      ({ pending, dead }) => pending === 0 && dead === 0,
    );
  }, 90_000);

  test("are replayed, by aggregate and by type, with the server up and down", async () => {
    using hook = receiver();
    for (const id of ["p-1", "p-2", "p-1"]) await apply(id);
    await run(`plugin config http --name hook --endpoint ${hook.url}`);
    const replays = async () => {
      ok(await run("plugin replay hook person p-1"), "replayed person::p-1\n");
      ok(await run("plugin replay hook person"), "replayed 2 aggregate(s) for 'person'\n");
      ok(await run("plugin replay hook person none"), "no events found for person::none\n");
      const none = await run("plugin replay hook none");
      expect([none.code, none.stderr]).toEqual([
        ...[3, "error: there is no aggregate of type none (not_found)\n"],
      ]);
      // Several aggregates at a time, each in order.
      const taken = hook.taken.splice(0).map(({ id }) => id);
      expect(taken.sort()).toEqual([...["p-1", "p-1", "p-1", "p-1", "p-2"]]);
    };
    await replays();
    {
      await using _server = await startForeground({ home });
      await replays();
    }
    hook.answer(500);
    const failed = await run("plugin replay hook person");
    expect(failed.code).toBe(7);
    expect(failed.stderr).toMatch(/go on with --after \S+ \(unavailable\)/);
    hook.answer(200);
    const [, cursor = ""] = /--after (\S+)/.exec(failed.stderr) ?? [];
    ok(
      await run(`plugin replay hook person --after ${cursor}`),
      "replayed 2 aggregate(s) for 'person'\n",
    );
  }, 90_000);
});

test("secrets come by file and stdin, and are in no list, file or log", async () => {
  const secret = "hush-4711";
  using hook = receiver();
  await Bun.write(join(home, "headers.txt"), `X-Key=${secret}\n\nX-Other = b\n`);
  await apply("p-1");
  const made = await run(
    `plugin config http --name hook --endpoint ${hook.url} --header-file headers.txt --secret -`,
    "sign-0815\n",
  );
  expect({ code: made.code, stderr: made.stderr }).toEqual({ code: 0, stderr: "" });
  await run(
    "plugin config grpc --name node --endpoint 127.0.0.1:1 --disable --bearer -",
    "EVT-x\n",
  );
  await using server = await startForeground({ home });
  await apply("p-2");
  await hook.until(1);
  expect(hook.taken).toEqual([{ id: "p-2", header: secret }]);
  const { stdout } = await run("plugin list --json");
  const mirror = readFileSync(join(home, ".eventdbx/plugins.json"), "utf8");
  expect(statSync(join(home, ".eventdbx/plugins.json")).mode & 0o777).toBe(0o600);
  for (const text of [stdout, mirror, server.log()]) {
    for (const hushed of [secret, "sign-0815", "EVT-x"]) expect(text).not.toContain(hushed);
  }
  expect(JSON.parse(stdout)[0].config).toMatchObject({
    headers: { "X-Key": "set" },
    secret: "set",
  });
});

const wrong: readonly (readonly [string, string])[] = [
  ["plugin config http --name h --endpoint x --header novalue", "missing value in a KEY=VALUE"],
  ["plugin config http --name h --endpoint x --header =v", "header key cannot be empty"],
  ["plugin config tcp --name t --host h --port 0", "--port must be an integer from 1 to 65535"],
  ["plugin config log --name l --level loud", "--level must be one of"],
  ["plugin config http --name h --endpoint x --header-file none.txt", "cannot read none.txt"],
  ["plugin config udp --name u", 'unknown command "udp"'],
  ["queue clean", 'unknown command "clean"'],
];
test.each(wrong)("refused: dbx %s", async (words, problem) => {
  const ran = await run(words);
  expect([ran.code, ran.stdout]).toEqual([2, ""]);
  expect(ran.stderr).toContain(problem);
  expect(existsSync(join(home, ".eventdbx/plugins.db"))).toBe(false);
});
