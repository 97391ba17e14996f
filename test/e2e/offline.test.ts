// Commands beside each other, with and without a server: writers wait for each other, readers wait
// for nobody, and surfaces that are off do not shut the command line out.

import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { limits } from "../../src/model/limits.ts";
import { dbx, http, startForeground } from "../support/cli.ts";
import { openStore } from "../support/store.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

let dir: TempDir;
let home: string;
const run = (args: readonly string[], env = {}) => dbx(args, { home, env });
const put = (id: string) => ["aggregate", "apply", "a", id, "made", "--field", `id=${id}`];

beforeEach(() => {
  dir = tempDir();
  home = dir.path;
});
afterEach(() => dir[Symbol.dispose]());

test("writers at once all get their turn, and readers see whole events", async () => {
  // A reader that comes before the first writer would find no directory.
  await run(["aggregate", "create", "a", "1"]);
  const ids = ["1", "2", "3", "4"];
  const all = await Promise.all(ids.flatMap((id) => [run(put(id)), run(["aggregate", "list"])]));
  expect(all.map(({ code, stderr }) => ({ code, stderr }))).toEqual(
    all.map(() => ({ code: 0, stderr: "" })),
  );
  const verified = await run(["aggregate", "verify", "--all", "--json"]);
  expect(JSON.parse(verified.stdout)).toMatchObject({ aggregates: 4, position: 4 });
}, 30_000);

test("a writer that holds on is waited for, and then named; reading goes on", async () => {
  const store = await openStore(join(home, ".eventdbx"));
  const started = performance.now();
  const refused = await run(put("1"));
  expect(refused.stderr).toContain("(unavailable)");
  expect({ stdout: refused.stdout, code: refused.code }).toEqual({ stdout: "", code: 7 });
  expect(performance.now() - started).toBeGreaterThan(4_500);
  expect(await run(["aggregate", "list"])).toEqual({ stdout: "", stderr: "", code: 0 });
  const destroy = await run(["destroy", "--yes"]);
  expect(destroy.stderr).toContain("is in use by a process that its PID file does not");
  await store.close();
  expect((await run(put("1"))).code).toBe(0);
}, 30_000);

test("a look at a directory that is not there makes none and says so", async () => {
  const data_dir = join(home, ".eventdbx");
  for (const args of [
    ["aggregate", "list"],
    ["token", "list"],
    ["aggregate", "verify", "--all"],
  ]) {
    const { stdout, stderr, code } = await run(args);
    expect(stderr).toStartWith(`error: there is no data directory ${data_dir}`);
    expect({ stdout, code }).toEqual({ stdout: "", code: 3 });
  }
  expect(existsSync(data_dir)).toBe(false);
});

test("the command line gets in with REST off, and replays more than a page holds", async () => {
  mkdirSync(join(home, ".eventdbx"));
  writeFileSync(join(home, ".eventdbx/config.toml"), "page_limit = 3\n[api]\nrest = false\n");
  await using server = await startForeground({ home });
  for (const id of ["1", "2", "3", "4", "5", "6", "7"]) {
    expect((await run([...put("1"), "--note", id])).code).toBe(0);
  }
  const { token } = JSON.parse(
    (await run(["token", "generate", "--group", "admin", "--user", "a", "--json"])).stdout,
  );
  expect((await http(server.port, "/v1/aggregates", { token })).status).toBe(404);
  expect((await http(server.port, "/health")).status).toBe(200);
  const notes = async (...flags: string[]) => {
    const ran = await run(["aggregate", "replay", "a", "1", "--json", ...flags]);
    return JSON.parse(ran.stdout).map((one: { metadata: { note: string } }) => one.metadata.note);
  };
  expect(await notes()).toEqual(["1", "2", "3", "4", "5", "6", "7"]);
  expect(await notes("--skip", "1", "--take", "5")).toEqual(["2", "3", "4", "5", "6"]);
  expect(await notes("--take", "0")).toEqual([]);
  const text = await run(["aggregate", "replay", "a", "1", "--skip", "5"]);
  expect(text.stdout.match(/^\{$/gm)).toHaveLength(2);
  expect(text.stdout).toEndWith("\n}\n");
});

test("the deepest payload there may be is shown with and without a server", async () => {
  const { json_depth_max: levels } = limits;
  const deep = "[".repeat(levels) + "]".repeat(levels);
  const applied = await run(["aggregate", "apply", "deep", "d", "made", "--payload", deep]);
  expect([applied.stderr, applied.code]).toEqual(["", 0]);
  const shown = async () => [
    await run(["aggregate", "get", "deep", "d", "--json"]),
    await run(["aggregate", "get", "deep", "d", "--include-events", "--json"]),
    await run(["aggregate", "replay", "deep", "d", "--json"]),
    await run(["aggregate", "list", "--json"]),
  ];
  const offline = await shown();
  for (const { stdout, stderr, code } of offline) {
    expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
    expect(stdout.replace(/\s/g, "").includes(deep)).toBe(true);
  }
  await using _server = await startForeground({ home });
  expect(await shown()).toEqual(offline);
}, 30_000);
