// `dbx aggregate export` as people run it: with and without a server, at a terminal, by somebody
// who may not see everything, onto a full disk, and interrupted.

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../scripts/root.ts";
import { compiledDbx } from "../support/compiled.ts";
import { dbx, dbxCommand, startForeground } from "../support/cli.ts";
import { openStore, root as actor } from "../support/store.ts";
import { canonicalize } from "../../src/model/canonical.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

let dir: TempDir;
let home: string;
/** Where the command runs and writes; nobody else does. */
let cwd: string;
beforeEach(() => {
  dir = tempDir();
  home = join(dir.path, "home");
  cwd = join(dir.path, "here");
  mkdirSync(home);
  mkdirSync(cwd);
});
afterEach(() => dir[Symbol.dispose]());

const run = (args: readonly string[], env = {}) => dbx(["aggregate", ...args], { home, cwd, env });
const read = (path: string) => readFileSync(join(cwd, path), "utf8");
const left = () => readdirSync(cwd).sort();

async function fill(events: readonly [type: string, id: string, payload: string][]): Promise<void> {
  await using store = await openStore(join(home, ".eventdbx"));
  for (const [aggregate_type, aggregate_id, payload] of events) {
    const event = { aggregate_type, aggregate_id, event_type: "noted" };
    await store.dbx.appendEvent(actor, { ...event, payload: canonicalize(payload) });
  }
}

const usual: [string, string, string][] = [
  ["person", "p-2", '{"name":"Jo, the \\"2nd\\"","age":9007199254740993}'],
  ["person", "p-10", '{"name":"=SUM(A1)","tags":[1.5,1e400]}'],
  ["person", "p-2", '{"__aggregate_id":"mine"}'],
  ["order", "o", "null"],
];
const persons = `__aggregate_id,___aggregate_id,age,name,tags
p-10,,,'=SUM(A1),"[1.5,1e400]"
p-2,mine,9007199254740993,"Jo, the ""2nd""",
`;
const personsJson =
  '[{"__aggregate_id":"p-10","name":"=SUM(A1)","tags":[1.5,1e400]},' +
  '{"___aggregate_id":"mine","__aggregate_id":"p-2","age":"9007199254740993",' +
  '"name":"Jo, the \\"2nd\\""}]\n';

/** Exports everything in each way; what is told and what is written. */
async function everything() {
  const ways = [
    ["export", "person", "--output", "p.csv"],
    ["export", "--aggregate", "person", "--format", "json", "--output", "p.json"],
    ["export", "--all", "--output", "all"],
    ["export", "--all", "--format", "json", "--pretty", "--output", "all"],
    ["export", "--all", "--zip", "--output", "all"],
    ["export", "person", "--zip", "--format", "json", "--output", "p.tar"],
    ["export", "--all", "--json", "--output", "all/"],
  ];
  const told = [];
  for (const way of ways) told.push(await run(way));
  return { told, files: ["p.csv", "p.json", "all/person.csv", "all/order.json"].map(read) };
}

test("what is told and written is the same with and without a server", async () => {
  await fill(usual);
  const offline = await everything();
  const ok = (stdout: string) => ({ stdout, stderr: "", code: 0 });
  const types = [
    { aggregate_type: "order", aggregates: 1, file: "all/order.csv" },
    { aggregate_type: "person", aggregates: 2, file: "all/person.csv" },
  ];
  const summary = { format: "csv", archive: null, aggregates: 3, types };
  expect(offline.told).toEqual([
    ok("wrote p.csv\nExported 1 aggregate type(s) in CSV format\n"),
    ok("wrote p.json\nExported 1 aggregate type(s) in JSON format\n"),
    ok("wrote all/order.csv\nwrote all/person.csv\nExported 2 aggregate type(s) in CSV format\n"),
    ok(
      "wrote all/order.json\nwrote all/person.json\nExported 2 aggregate type(s) in JSON format\n",
    ),
    ok("Exported 2 aggregate type(s) to all/aggregates_csv.zip (zip archive)\n"),
    ok("Exported 1 aggregate type(s) to p.zip (zip archive)\n"),
    ok(`${JSON.stringify(summary, null, 2)}\n`),
  ]);
  const pretty = '[\n  {\n    "__aggregate_id": "o",\n    "_value": ""\n  }\n]\n';
  expect(offline.files).toEqual([persons, personsJson, persons, pretty]);
  expect(left()).toEqual(["all", "p.csv", "p.json", "p.zip"]);
  expect(statSync(join(cwd, "p.zip")).mode & 0o777).toBe(0o600);

  await using _server = await startForeground({ home });
  expect(await everything()).toEqual(offline);
}, 60_000);

test("there may be nothing to export, and then no file", async () => {
  await fill(usual);
  const none = await run(["export", "ghost", "--output", "g.csv"]);
  expect(none).toEqual({ stdout: "no aggregates found for 'ghost'\n", stderr: "", code: 0 });
  const json = await run(["export", "ghost", "--zip", "--json", "--output", "g.csv"]);
  expect(JSON.parse(json.stdout)).toEqual({
    format: "csv",
    archive: null,
    aggregates: 0,
    types: [],
  });
  const early = ["--at", "2000-01-01T00:00:00Z"];
  const past = await run(["export", "--all", "--output", "g.csv", ...early]);
  expect(past).toEqual({ stdout: "no aggregates found\n", stderr: "", code: 0 });
  expect(left()).toEqual([]);
});

test.each([
  [["--output", "x"], "aggregate name must be provided unless --all is specified"],
  [["a", "--all", "--output", "x"], "aggregate name cannot be provided when using --all"],
  [["a"], "--output is missing"],
  [["a", "--output", ""], "--output must not be empty"],
  [["a", "--output", "x", "--format", "xml"], "--format must be"],
  [["a", "--output", "x", "--at", "yesterday"], "--at must be"],
  [["t".repeat(257), "--output", "x"], "--aggregate must have at most 256 characters"],
  [["--all", "--output", "old"], "output path must be a directory when exporting multiple"],
  [["--all", "--output", "../home/.eventdbx"], "--output: ../home/.eventdbx lies in the data"],
  [["a", "--output", "q.json"], "--output: q.json is no name for csv; --format json goes there"],
  [["--all", "--output", "old/new"], "--output: old is not a directory"],
  [["--all", "--output", "/dev/null"], "--output: /dev/null is neither a file nor a directory"],
])("export %j is refused, and nothing is touched", async (args, message) => {
  await fill(usual);
  writeFileSync(join(cwd, "old"), "old");
  const { stdout, stderr, code } = await run(["export", ...args]);
  expect(stderr).toStartWith(`error: ${message}`);
  expect({ stdout, code }).toEqual({ stdout: "", code: 2 });
  expect([left(), read("old")]).toEqual([["old"], "old"]);
});

test("an instant gives all states as they were then", async () => {
  await fill([["person", "p", '{"n":"1"}']]);
  const [record] = JSON.parse((await run(["replay", "person", "p", "--json"])).stdout);
  await fill([["person", "p", '{"n":"2"}']]);
  const { created_at } = record.metadata;
  await run(["export", "person", "--output", "then.csv", "--at", created_at]);
  await run(["export", "person", "--output", "now.csv"]);
  expect(read("then.csv")).toBe("__aggregate_id,n\np,1\n");
  expect(read("now.csv")).toBe("__aggregate_id,n\np,2\n");
});

test("what schemas hide is exported for admins only", async () => {
  await fill([...usual, ["secret", "s", '{"x":"1"}']]);
  for (const name of ["person", "secret"]) {
    await dbx(["schema", "create", name, "--events", "noted"], { home });
  }
  await dbx(["schema", "hide", "--aggregate", "person", "--field", "age"], { home });
  await dbx(["schema", "hide", "--aggregate", "secret"], { home });
  const issue = ["token", "generate", "--group", "staff", "--user", "a", "--json"];
  const { token } = JSON.parse((await dbx(issue, { home })).stdout);
  const files = async (output: string, env = {}) => {
    const ran = await run(["export", "--all", "--output", output], env);
    expect(ran).toMatchObject({ stderr: "", code: 0 });
    return readdirSync(join(cwd, output)).sort();
  };
  const both = async () => {
    expect(await files("admin")).toEqual(["order.csv", "person.csv", "secret.csv"]);
    expect(read("admin/person.csv")).toBe(persons);
    expect(await files("staff", { EVENTDBX_TOKEN: token })).toEqual(["order.csv", "person.csv"]);
    expect(read("staff/person.csv")).not.toContain("age");
  };
  await both();
  await using _server = await startForeground({ home });
  await both();
}, 60_000);

test("more than a page is exported, and states too large to share one", async () => {
  const large = JSON.stringify("x".repeat(1_000_000));
  await using store = await openStore(join(home, ".eventdbx"));
  for (let batch = 0; batch < 10; batch++) {
    const events = Array.from({ length: 250 }, (_, index) => ({
      ...{ aggregate_type: "many", aggregate_id: `${batch}-${index}`, event_type: "noted" },
      payload: canonicalize(index < 7 ? `{"n":${large}}` : `{"n":${index}}`),
    }));
    await store.dbx.appendEvents(actor, { events });
  }
  await store.close();
  const ran = await run(["export", "many", "--output", "many.csv"]);
  expect(ran).toMatchObject({ stderr: "", code: 0 });
  const ids = read("many.csv")
    .split("\n")
    .slice(1, -1)
    .map((line) => line.slice(0, line.indexOf(",")));
  expect(ids).toHaveLength(2_500);
  expect(new Set(ids).size).toBe(2_500);
  expect(ids).toEqual(ids.toSorted());
}, 60_000);

describe("progress", () => {
  async function onTerminal(args: readonly string[], env = {}, cols = 200): Promise<string> {
    let screen = "";
    const decoder = new TextDecoder();
    const { command, options } = dbxCommand(args, { home, cwd, env: { TERM: "xterm", ...env } });
    const child = Bun.spawn(command, {
      ...options,
      terminal: {
        ...{ cols, rows: 50 },
        data: (_terminal, bytes) => void (screen += decoder.decode(bytes, { stream: true })),
      },
    });
    expect(await child.exited).toBe(0);
    child.terminal?.close();
    return screen;
  }

  test("is a bar on a terminal, a counter where the total is not known", async () => {
    await fill(usual);
    const all = await onTerminal(["aggregate", "export", "--all", "--output", "all"]);
    expect(all).toMatch(
      /\r\u001b\[K\[=* *\] +\d+ % {2}\d of 3 aggregates {2}[\d,]+\/s {2}\S+ left/,
    );
    const some = await onTerminal(["aggregate", "export", "person", "--output", "p.csv"]);
    expect(some).toMatch(/\r\u001b\[K\d aggregates {2}[\d,]+\/s/);
    expect(some).toMatch(/\r\u001b\[Kwrote p\.csv\r\nExported 1 /);
  });

  test("is never wider than the terminal", async () => {
    await fill(usual);
    const screen = await onTerminal(["aggregate", "export", "--all", "--output", "all"], {}, 30);
    const [, line = ""] = /\r\u001b\[K([^\r\u001b]+)/.exec(screen) ?? [];
    expect(line).toMatch(/^ +\d+ % {2}\d of 3 aggregates$/);
  });

  test("is a counter for somebody who may not know the total", async () => {
    await fill(usual);
    const issue = ["token", "generate", "--group", "staff", "--user", "a", "--json"];
    const { token } = JSON.parse((await dbx(issue, { home })).stdout);
    const export_all = ["aggregate", "export", "--all", "--output", "all"];
    const screen = await onTerminal(export_all, { EVENTDBX_TOKEN: token });
    expect(screen).toMatch(/\r\u001b\[K\d aggregates {2}/);
  });
});

describe("an export that does not get to its end leaves the old file and no other", () => {
  test.each([["--format=csv"], ["--format=json"], ["--zip"]])(
    "on a full disk (%s)",
    async (flag) => {
      // Not compressible, so that the archive is too large, too.
      const noise = Buffer.from(crypto.getRandomValues(new Uint8Array(60_000))).toString("base64");
      await fill([1, 2, 3, 4].map((id) => ["big", `${id}`, JSON.stringify({ noise })]));
      const output = flag === "--zip" ? "old.zip" : `old.${flag.slice(-4).replace("=", "")}`;
      writeFileSync(join(cwd, output), "old");
      const args = ["aggregate", "export", "big", flag, "--output", output];
      const { command, options } = dbxCommand(args, { home, cwd });
      // Blocks of 512 bytes. Without the trap the kernel would end the process.
      const limited = ["sh", "-c", `trap '' XFSZ; ulimit -f 200; exec "$@"`, "sh", ...command];
      const child = Bun.spawn(limited, { ...options, stdout: "pipe", stderr: "pipe" });
      const [stderr, code] = [await child.stderr.text(), await child.exited];
      expect(stderr).toBe(
        `error: cannot write ${output} (EFBIG); nothing was exported (unavailable)\n`,
      );
      expect(code).toBe(7);
      expect([left(), read(output)]).toEqual([[output], "old"]);
    },
    30_000,
  );

  test.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)("ended by %s", async (signal) => {
    writeFileSync(join(cwd, "old.csv"), "old");
    // The pages stop coming in the middle, and the signal comes then.
    const script = `
      import { exportTables } from ${JSON.stringify(join(root, "src/cli/export/export.ts"))};
      const one = { aggregate_type: "a", aggregate_id: "1", version: 1, merkle_root: "",
        state: '{"x":"1"}', archived: false };
      async function* pages() { yield [one]; console.log("half"); await new Promise(() => {}); }
      setInterval(() => {}, 1_000);
      await exportTables({ pages: pages(), format: "csv", pretty: false, zip: false,
        advance: () => {},
        place: { path: "old.csv", holds: "one", workplace: ".", data_dir: "none" } });
    `;
    const child = Bun.spawn([process.execPath, "--no-env-file", "-e", script], {
      ...{ cwd, env: {}, stdin: "ignore", stdout: "pipe", stderr: "inherit" },
    });
    const reader = child.stdout.getReader();
    expect(new TextDecoder().decode((await reader.read()).value)).toBe("half\n");
    expect(left()).toHaveLength(2);
    child.kill(signal);
    await child.exited;
    expect(child.signalCode).toBe(signal);
    expect([left(), read("old.csv")]).toEqual([["old.csv"], "old"]);
  });
});

test("the compiled file writes archives, too", async () => {
  await fill(usual);
  mkdirSync(join(cwd, "out"));
  const args = ["aggregate", "export", "--all", "--zip", "--output", "out"];
  const child = Bun.spawn([await compiledDbx(), ...args], {
    ...{ cwd, env: { HOME: home }, stdin: "ignore", stdout: "pipe", stderr: "pipe" },
  });
  expect(await child.stdout.text()).toContain("to out/aggregates_csv.zip (zip archive)");
  expect([await child.stderr.text(), await child.exited]).toEqual(["", 0]);
  const bytes = readFileSync(join(cwd, "out/aggregates_csv.zip"));
  expect(bytes.subarray(0, 4).toString()).toBe("PK\u0003\u0004");
  for (const name of ["order.csv", "person.csv"]) expect(bytes.includes(name)).toBe(true);
}, 120_000);
