// Tokens from the command line: they hold with the server up and down, end when they should, and
// their values are shown once and kept nowhere.

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { dbx, http, startForeground, type RunOptions } from "../support/cli.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

let dir: TempDir;
let home: string;
const run = (args: readonly string[], over: Partial<RunOptions> = {}) =>
  dbx(args, { home, ...over });

beforeEach(() => {
  dir = tempDir();
  home = dir.path;
});
afterEach(() => dir[Symbol.dispose]());

async function issue(...flags: readonly string[]): Promise<{ token: string; id: string }> {
  const who = ["--group", "app", "--user", "jane"];
  return JSON.parse((await run(["token", "generate", ...who, ...flags, "--json"])).stdout);
}

/** Everything in the data directory as one text. */
function onDisk(): string {
  const folder = join(home, ".eventdbx");
  const names = readdirSync(folder, { recursive: true }).map(String);
  return names
    .filter((name) => statSync(join(folder, name)).isFile())
    .map((name) => readFileSync(join(folder, name), "latin1"))
    .join("\n");
}

const put = ["aggregate", "apply", "a", "1", "made", "--payload={}"];

describe("with the server down", () => {
  test("the text forms name the token without giving it away again", async () => {
    const made = await run([
      ...["token", "generate", "--group", "app", "--user", "jane", "--limit", "3"],
    ]);
    const [, token = "", id = ""] =
      /^token=(EVT-[0-9a-f]{64}) id=([0-9a-f]{16}) group=app user=jane expires_at=never remaining_writes=3\n$/.exec(
        made.stdout,
      ) ?? [];
    expect(token).not.toBe("");
    const listed = await run(["token", "list"]);
    expect(listed.stdout).toMatch(
      new RegExp(
        `^id=${id} prefix=EVT-\\w+ group=app user=jane status=active issued_at=\\S+Z expires_at=never remaining_writes=3\n$`,
      ),
    );
    expect(onDisk()).not.toContain(token.slice(4));
    const refreshed = await run(["token", "refresh", "--token", token, "--limit", "9"]);
    expect(refreshed.stdout).toBe(`id=${id} expires_at=never remaining_writes=9\n`);
    const revoked = await run(["token", "revoke", "--token", token]);
    expect(revoked.stdout).toBe(`token ${token.slice(0, 8)}… revoked\n`);
    expect((await run(["token", "list"])).stdout).toContain(" status=revoked ");
    const unknown = await run(["token", "revoke", token]);
    expect({ stdout: unknown.stdout, code: unknown.code }).not.toMatchObject({ code: 0 });
    expect(unknown.stderr).not.toContain(token.slice(12));
  });

  test("a token that is given binds: limit, grants, revocation, expiry", async () => {
    const { token, id } = await issue("--limit", "1");
    expect((await run([...put, "--token", token])).code).toBe(0);
    const spent = await run([...put, "--token", token]);
    expect(spent).toMatchObject({ code: 5, stdout: "" });
    expect(spent.stderr).toEndWith("       hint:  dbx token list\n");
    const byEnvironment = await run(put, { env: { EVENTDBX_TOKEN: token } });
    expect(byEnvironment.stderr).toEndWith("unset it to act as this machine\n");
    const denied = await run(["token", "list"], { env: { EVENTDBX_TOKEN: token } });
    expect(denied).toMatchObject({ code: 5, stdout: "" });
    expect(denied.stderr).toContain("error: the token of group app lacks the grant admin");
    expect(denied.stderr).not.toContain("dbx token list");
    // A refused append is not charged, and the machine itself has no limit.
    expect((await run([...put])).code).toBe(0);
    const verify = await run(["aggregate", "verify", "--all", "--token", token]);
    expect({ code: verify.code, stdout: verify.stdout }).toEqual({ code: 5, stdout: "" });
    expect(await run(["token", "revoke", id])).toEqual({
      stdout: `token ${id} revoked\n`,
      stderr: "",
      code: 0,
    });
    const list = await run(["aggregate", "list", "--token", token]);
    expect(list).toMatchObject({ stdout: "", code: 5 });
    expect(list.stderr).toContain("(unauthenticated)");
    expect((await run(["aggregate", "list", "--token", "EVT-nonsense"])).code).toBe(5);

    const short = await issue("--expiration", "1");
    const until = performance.now() + 20_000;
    let code = 0;
    while (code === 0 && performance.now() < until) {
      code = (await run(["aggregate", "list", "--token", short.token])).code;
    }
    expect(code).toBe(5);
  });

  test("a value may come by stdin, where no process list shows it", async () => {
    const { token } = await issue();
    const revoked = await run(["token", "revoke", "-"], { stdin: `${token}\n` });
    expect(revoked).toMatchObject({ stderr: "", code: 0 });
    expect((await run(["token", "revoke", "-"])).code).toBe(2);
    expect((await run(["aggregate", "list", "--token", token])).code).toBe(5);
  });

  test("an error in JSON is the last line of stderr, after words about other things", async () => {
    await issue();
    const env = { EVENTDBX_NONSENSE: "1" };
    const { stderr, code } = await run(["token", "revoke", "nobody", "--json"], { env });
    const lines = stderr.trimEnd().split("\n");
    expect(lines).toHaveLength(2);
    expect(lines[0]).toContain("warning: environment: unknown variable EVENTDBX_NONSENSE");
    expect({ code, error: JSON.parse(lines[1] ?? "").code }).toEqual({
      code: 3,
      error: "not_found",
    });
  });

  test("--token wins over the environment", async () => {
    const { token } = await issue();
    const env = { EVENTDBX_TOKEN: "EVT-nonsense" };
    expect((await run(["aggregate", "list"], { env })).code).toBe(5);
    expect((await run(["aggregate", "list", "--token", token], { env })).code).toBe(0);
    // Blank counts as absent.
    expect((await run(["aggregate", "list"], { env: { EVENTDBX_TOKEN: " " } })).code).toBe(0);
  });
});

describe("what can be no token", () => {
  const words = ["EVT-a\nb", "EVT-a\u0001", "EVT-☃", "EVT-a b", "EVT-".padEnd(20_000, "0")];
  test.each(["down", "up"])("is refused where it came from, with the server %s", async (state) => {
    await using server = state === "up" ? await startForeground({ home }) : null;
    for (const word of words) {
      const asked = [
        await run(["aggregate", "list"], { env: { EVENTDBX_TOKEN: word } }),
        await run(["token", "list"], { env: { EVENTDBX_TOKEN: word } }),
        await run(["aggregate", "list", "--token", word]),
      ];
      expect(asked.map(({ code }) => code)).toEqual([5, 5, 5]);
      const [environment, administration, flag] = asked.map(({ stderr }) => stderr);
      expect(environment).toStartWith("error: EVENTDBX_TOKEN holds no token: ");
      expect(administration).toStartWith("error: EVENTDBX_TOKEN holds no token: ");
      expect(flag).toStartWith("error: --token holds no token: ");
      for (const { stderr } of asked) expect(stderr).not.toContain("EVT-");
    }
    expect(server?.log() ?? "").not.toContain("error");
  });
});

describe("what a token is for", () => {
  const entry = (aggregate_type: string, aggregate_id?: string) => ({
    aggregate_type,
    ...(aggregate_id === undefined ? {} : { aggregate_id }),
  });
  test.each<[string[], object[], string]>([
    [["patient"], [entry("patient")], "patient"],
    [["patient:p-1", "ward"], [entry("patient", "p-1"), entry("ward")], "patient:p-1,ward"],
    [["patient::p-1"], [entry("patient", "p-1")], "patient:p-1"],
    [["urn:x:y::p:1"], [entry("urn:x:y", "p:1")], "urn:x:y::p:1"],
    [["patient::urn:p:1"], [entry("patient", "urn:p:1")], "patient::urn:p:1"],
    [["::urn:x:y"], [entry("urn:x:y")], "::urn:x:y"],
    [["::a::b"], [entry("a::b")], "::a::b"],
    [["a:::b"], [entry("a", ":b")], "a:::b"],
    [["a,b"], [entry("a,b")], '[{"aggregate_type":"a,b"}]'],
  ])("%j is listed as it is read", async (words, aggregates, shown) => {
    const flags = words.flatMap((word) => ["--aggregate", word]);
    expect(await issue(...flags)).toMatchObject({ aggregates });
    const { stdout } = await run(["token", "list"]);
    expect(stdout).toEndWith(` aggregates=${shown}\n`);
  });

  test.each([
    ["urn:x:y", "can be read in several ways; write --aggregate type::id for one aggregate"],
    ["patient:", "no id after the colon"],
    ["patient::", "no id after the colon"],
    ["::", "no type"],
    [":", "no type"],
    [":p", "no type"],
    ["", "no type"],
    [" p", "--aggregate[0].aggregate_type must not begin or end with a blank"],
  ])("%j is refused in words about --aggregate", async (word, problem) => {
    const who = ["--group", "app", "--user", "jane"];
    const asked = await run(["token", "generate", ...who, `--aggregate=${word}`]);
    expect({ code: asked.code, stdout: asked.stdout }).toEqual({ code: 2, stdout: "" });
    expect(asked.stderr).toContain(`error: --aggregate`);
    expect(asked.stderr).toContain(problem);
    expect((await run(["token", "list"])).stdout).toBe("");
  });
});

test("with the server up a revocation holds at once, and after a restart", async () => {
  const before = await issue();
  let port = 0;
  let token = "";
  {
    await using server = await startForeground({ home });
    port = server.port;
    // Issued while it was down, known when it is up.
    expect((await http(port, "/v1/aggregates", { token: before.token })).status).toBe(200);
    ({ token } = await issue());
    expect((await http(port, "/v1/aggregates", { token })).status).toBe(200);
    expect((await run(["token", "revoke", "--token", token])).code).toBe(0);
    expect((await http(port, "/v1/aggregates", { token })).status).toBe(401);
    expect((await run(["aggregate", "list", "--token", token])).code).toBe(5);
    expect(server.log()).not.toContain(token.slice(4));
    server.kill("SIGTERM");
    expect(await server.exited).toBe(0);
  }
  expect((await run(["aggregate", "list", "--token", token])).code).toBe(5);
  expect((await run(["aggregate", "list", "--token", before.token])).code).toBe(0);
  expect(onDisk()).not.toContain(token.slice(4));
});
