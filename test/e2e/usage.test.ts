// Wrong usage, help and manners of the streams: what goes where, and with which exit code.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../scripts/root.ts";
import { dbx } from "../support/cli.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

let dir: TempDir;
beforeAll(() => {
  dir = tempDir();
});
afterAll(() => dir[Symbol.dispose]());
const run = (args: readonly string[], env = {}) => dbx(args, { home: dir.path, env });

const key = ["person", "p1"];
const apply = ["aggregate", "apply", ...key, "made"];
const generate = ["token", "generate", "--group", "g", "--user", "u"];

/** Words, and how the first line of stderr goes on after `error: `. All end with exit code 2. */
const wrong: readonly (readonly [readonly string[], string])[] = [
  [["strat"], 'unknown command "strat"; did you mean dbx start?'],
  [["frobnicate"], 'unknown command "frobnicate"'],
  [["token", "generat"], 'unknown command "generat"; did you mean dbx token generate?'],
  [["--nope"], "unknown flag --nope"],
  [["--verson"], "unknown flag --verson; did you mean --version?"],
  [["token", "--version"], "unknown flag --version"],
  [["version", "now"], 'unexpected argument "now"'],
  [["help", "strat"], 'unknown command "strat"; did you mean dbx start?'],
  [["hlep"], 'unknown command "hlep"; did you mean dbx help?'],
  [["start", "--prot", "1"], "unknown flag --prot; did you mean --port?"],
  [["start", "--port", "x"], "--port must be an integer from 0 to 65535"],
  [["start", "--port", "65536"], "--port must be an integer from 0 to 65535"],
  [["start", "--port=99999999999999999999"], "--port must be an integer from 0 to 65535"],
  [["start", "--port"], "--port needs a value"],
  [["start", "--data-dir", "--foreground"], "--data-dir needs a value; write --data-dir=--fore"],
  [["start", "--port", "1", "--port", "2"], "--port is given twice"],
  [["start", "--restrict=maybe"], "--restrict must be one of: off, default, strict"],
  [["start", "--api", "soap"], "--api must be one of: rest, graphql, grpc, all; it is 'soap'"],
  [["start", "--api", "rest", "--no-grpc"], "--api and --no-grpc exclude each other"],
  [["start", "--rest", "--no-rest"], "--no-rest contradicts --rest"],
  [["start", "--foreground=yes"], "--foreground takes no value"],
  [["start", "now"], 'unexpected argument "now"'],
  [["stop", "-x"], "unknown flag -x"],
  [["status", "--config"], "--config needs a path"],
  [["--config", "a", "status", "--config", "b"], "--config is given twice"],
  [["token", "generate", "--group", "g"], "--user is missing"],
  [[...generate, "--expiration", "0"], "--expiration must be an integer from 1 to 3155760000"],
  [[...generate, "--limit", "-1"], "--limit must be an integer of at least 0"],
  [["token", "generate", "--group", "", "--user", "u"], "--group must not be empty"],
  [["token", "revoke"], "--token is missing"],
  [["aggregate", "apply", "person"], "--aggregate-id is missing"],
  [["aggregate", "get", "p", "-1"], "unknown flag -1; write -- before a name that begins with a"],
  [["aggregate", "get", "p", "--odd"], "unknown flag --odd; write -- before a name that begins"],
  [["audit", "--aggregate-id", "x"], "--aggregate-id names an aggregate only together with --agg"],
  [
    ["aggregate", "export", "p", "--output", "-"],
    "--output names a file or a directory; an export",
  ],
  [["aggregate", "get", ...key, "extra"], 'unexpected argument "extra"'],
  [[...apply, "--field", "novalue"], '--field must be KEY=VALUE; it is "novalue"'],
  [[...apply, "--field", " =1"], "field key cannot be empty"],
  [
    [...apply, "--payload", "{", "--field", "a=1"],
    "--payload cannot be used together with --field",
  ],
  [
    [...apply, "--payload", '{"a":1,"a":2}'],
    "--payload is not valid JSON: invalid JSON at character",
  ],
  [[...apply, "--payload", "01"], "--payload is not valid JSON: "],
  [[...apply, "--payload={}", "--event-id", "x"], "--event-id must look like "],
  [[...apply, "--expected-version", "-1"], "--expected-version must be an integer of at least 0"],
  [
    [...apply, "--payload={}", "--note", "n".repeat(129)],
    "--note must have at most 128 characters, but has 129",
  ],
  [
    ["aggregate", "apply", "a ", "1", "e", "--payload={}"],
    "--aggregate must not begin or end with a blank",
  ],
  [
    ["aggregate", "apply", "a", "1", "e ", "--payload={}"],
    "--event must not begin or end with a blank",
  ],
  [["aggregate", "verify", "a", ""], "--aggregate-id must not be empty"],
  [["aggregate", "apply", "a", "1", "$e", "--payload={}"], "event types that begin with `$`"],
  [["aggregate", "list", "--take", "1.5"], "--take must be an integer of at least 0"],
  [["aggregate", "list", "--cursor", "!"], ""],
  [["aggregate", "verify"], "--aggregate is missing; or say --all"],
  [["aggregate", "verify", "--all", "person"], "--all and an aggregate exclude each other"],
  [["config", "--page-limit", "0"], "--page-limit must be an integer from 1 to 100000"],
];

describe("wrong usage ends with 2 and says what is wrong", () => {
  test.each(wrong)("dbx %j", async (args, message) => {
    const { stdout, stderr, code } = await run(args);
    expect(stderr).toStartWith(`error: ${message}`);
    expect(stderr.split("\n")[0]).toEndWith(" (invalid_argument)");
    expect({ stdout, code }).toEqual({ stdout: "", code: 2 });
  });

  test("nothing of it was kept", async () => {
    const kept = readdirSync(join(dir.path, ".eventdbx"));
    for (const name of ["config.toml", "eventdbx.pid", "tokens.json"]) {
      expect(kept).not.toContain(name);
    }
    expect((await run(["aggregate", "list"])).stdout).toBe("");
  });
});

test("with --json the error is one JSON object on stderr", async () => {
  const { stdout, stderr, code } = await run(["aggregate", "get", "person", "p1", "--json"]);
  expect(JSON.parse(stderr)).toEqual({
    message: "aggregate not found",
    code: "not_found",
    details: { aggregate_type: "person", aggregate_id: "p1" },
  });
  expect({ stdout, code }).toEqual({ stdout: "", code: 3 });
  const usage = await run(["start", "--json", "--prot"]);
  expect(JSON.parse(usage.stderr)).toMatchObject({ code: "invalid_argument" });
});

describe("help", () => {
  const commands = [
    ...["start", "stop", "status", "restart", "destroy", "config"].map((name) => [name]),
    ...["generate", "list", "revoke", "refresh"].map((name) => ["token", name]),
    ...["apply", "create", "list", "get", "replay", "verify"].map((name) => ["aggregate", name]),
  ];

  test.each(commands)("dbx %s %s --help teaches", async (...words: (string | undefined)[]) => {
    const path = words.filter((word) => word !== undefined);
    const { stdout, stderr, code } = await run([...path, "--help"]);
    for (const heading of ["USAGE", "OPTIONS", "EXAMPLES", "EXIT CODES"]) {
      expect(stdout).toContain(`\n${heading}\n`);
    }
    expect(stdout).toContain(`\n  dbx ${path.join(" ")} `);
    expect(stdout).toContain("  --config=<path>");
    expect(stdout).not.toContain("\u001b[");
    expect(stdout).not.toContain("--detached");
    expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
  });

  test("groups list what they hold", async () => {
    const all = await run(["--help"]);
    for (const name of ["start", "token", "aggregate"])
      expect(all.stdout).toContain(`\n  ${name} `);
    const group = await run(["aggregate", "-h"]);
    expect(group.stdout).toContain("\n  replay ");
    expect([all.code, group.code]).toEqual([0, 0]);
  });

  test("a command without its verb is a mistake, and the help goes to stderr", async () => {
    for (const args of [[], ["token"]]) {
      const { stdout, stderr, code } = await run(args);
      expect(stderr).toContain("COMMANDS");
      expect({ stdout, code }).toEqual({ stdout: "", code: 2 });
    }
  });
});

describe("manners", () => {
  test("--version prints one line", async () => {
    expect(await run(["--version"])).toEqual({ stdout: "dbx 2.0.0\n", stderr: "", code: 0 });
  });

  test("the version is found however it is asked for", async () => {
    for (const args of [["-V"], ["version"]]) {
      expect(await run(args)).toEqual({ stdout: "dbx 2.0.0\n", stderr: "", code: 0 });
    }
    for (const args of [
      ["--version", "--json"],
      ["--json", "version"],
    ]) {
      expect(JSON.parse((await run(args)).stdout)).toEqual({
        version: "2.0.0",
        commit: expect.any(String),
        target: expect.any(String),
      });
    }
    expect((await run(["--help"])).stdout).toMatch(/\n  --json .*\n  --version /);
  });

  test("help is a command too", async () => {
    expect(await run(["help"])).toEqual(await run(["--help"]));
    expect(await run(["help", "token", "list"])).toEqual(await run(["token", "list", "--help"]));
  });

  test("--json is understood before the command", async () => {
    for (const args of [
      ["--json", "config"],
      ["--json", "config", "--json"],
    ]) {
      expect(JSON.parse((await run(args)).stdout)).toMatchObject({ port: 7070 });
    }
    const listed = await run(["token", "--json", "list"]);
    expect(listed).toEqual(await run(["token", "list", "--json"]));
  });

  test("--config is understood before and after the command", async () => {
    await Bun.write(join(dir.path, "other.toml"), 'data_dir = "there"\npage_limit = 7\n');
    const config = join(dir.path, "other.toml");
    for (const args of [
      ["--config", config, "config", "--json"],
      ["config", `--config=${config}`, "--json"],
      ["config", "--json", "--config", "other.toml"],
    ]) {
      const shown = JSON.parse((await run(args)).stdout);
      // A relative path in the file is relative to the file.
      expect(shown).toMatchObject({ page_limit: 7, data_dir: join(dir.path, "there") });
    }
  });

  test("a reader that leaves early is no failure", async () => {
    const payload = JSON.stringify({ text: "x".repeat(500_000) });
    const event = ["aggregate", "apply", "big", "1", "made", "--payload", "-"];
    expect((await dbx(event, { home: dir.path, stdin: payload })).code).toBe(0);
    const piped = Bun.spawn(
      [
        "sh",
        "-c",
        `"$0" "$1" aggregate replay big 1 | head -c 10; echo " $?"`,
        process.execPath,
      ].concat(join(root, "src/main.ts")),
      { env: { PATH: process.env["PATH"] ?? "", HOME: dir.path }, stderr: "pipe", stdout: "pipe" },
    );
    expect(await piped.stdout.text()).toBe('{\n  "aggre 0\n');
    expect(await piped.stderr.text()).toBe("");
  });
});
