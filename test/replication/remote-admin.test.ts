// The other nodes over HTTP, for whoever administers a server from elsewhere: the file is changed,
// the server follows, the trail tells who did it, and each 400 has the words that scripts look for.

import { afterEach, beforeEach, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { dbx, startForeground, type RunningServer } from "../support/cli.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

let dir: TempDir;
let server: RunningServer;
let token: string;
const [keyA, keyB] = [
  "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo",
  "PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw",
];

beforeEach(async () => {
  dir = tempDir();
  const home = dir.path;
  server = await startForeground({ home });
  const args = ["token", "generate", "--group", "admin", "--user", "jane", "--json"];
  token = JSON.parse((await dbx(args, { home })).stdout).token;
});
afterEach(async () => {
  await server[Symbol.asyncDispose]();
  dir[Symbol.dispose]();
});

async function ask(method: string, path: string, body?: unknown) {
  const answer = await fetch(`http://127.0.0.1:${server.port}/admin/remotes${path}`, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  return { status: answer.status, json: text === "" ? null : JSON.parse(text) };
}
const configText = () => readFileSync(join(dir.path, ".eventdbx/config.toml"), "utf8");

test("a node is named, replaced and forgotten", async () => {
  expect(await ask("GET", "")).toEqual({ status: 200, json: {} });
  const first = { endpoint: "tcp://10.0.0.7:6363", public_key: keyA };
  expect(await ask("PUT", "/eu", { endpoint: "10.0.0.7", public_key: `${keyA}=` })).toEqual({
    ...{ status: 201, json: { created: true, ...first } },
  });
  const second = { endpoint: "tcp://[::1]:99", public_key: keyB, allow: ["read"] };
  expect(
    await ask("PUT", "/eu", { endpoint: "[::1]:99", public_key: keyB, allow: ["read"] }),
  ).toEqual({ status: 200, json: { created: false, ...second } });
  expect(await ask("GET", "")).toEqual({ status: 200, json: { eu: second } });
  expect(configText()).toContain(
    `[remotes.eu]\nendpoint = "tcp://[::1]:99"\npublic_key = "${keyB}"\nallow = ["read"]\n`,
  );
  const { stdout } = await dbx(["remote", "ls"], { home: dir.path });
  expect(stdout).toBe("eu tcp://[::1]:99\n");
  expect(await ask("DELETE", "/eu")).toEqual({ status: 204, json: null });
  expect(await ask("DELETE", "/eu")).toMatchObject({
    ...{ status: 404, json: { message: "no remote named 'eu' is configured" } },
  });
  expect(configText()).not.toContain("remotes");

  const trail = await dbx(["audit", "--action", "config.change", "--user", "jane", "--json"], {
    home: dir.path,
  });
  const entries: { details: { changed: object } }[] = JSON.parse(trail.stdout);
  expect(entries.map(({ details }) => details.changed)).toEqual([
    { "remotes.eu": first },
    { "remotes.eu": second },
    { "remotes.eu": null },
  ]);
});

test("many at once are all kept", async () => {
  const keys = await Promise.all(
    Array.from({ length: 8 }, async (_, index) => {
      const home = join(dir.path, `node${index}`);
      return (await dbx(["remote", "key"], { home, cwd: dir.path })).stdout.trim();
    }),
  );
  const answers = await Promise.all(
    keys.map((public_key, index) => ask("PUT", `/n${index}`, { endpoint: "h", public_key })),
  );
  expect(answers.map(({ status }) => status)).toEqual(keys.map(() => 201));
  expect(Object.keys((await ask("GET", "")).json)).toHaveLength(8);
});

test("an edit by hand that cannot be read is nobody's to overwrite", async () => {
  const path = join(dir.path, ".eventdbx/config.toml");
  await Bun.write(path, `page_limit = "many"\n${configText()}`);
  const { status, json } = await ask("PUT", "/eu", { endpoint: "h", public_key: keyA });
  expect([status, json.code]).toEqual([400, "invalid_argument"]);
  expect(configText()).not.toContain("remotes");
});

test("what is wrong is said in the words that are known", async () => {
  const cases: readonly (readonly [string, string, string, string])[] = [
    ["remote name cannot be empty", "%20", "h", keyA],
    ["remote endpoint cannot be empty", "n", " ", keyA],
    ["remote public key cannot be empty", "n", "h", " "],
    ["remote endpoint host cannot be empty", "n", "tcp://:99", keyA],
    ["remote endpoint host cannot be empty", "n", "tcp://", keyA],
    ["remote endpoint port cannot be empty", "n", "h:", keyA],
    ["remote endpoint port cannot be empty", "n", "[::1]:", keyA],
    ["remote endpoint port is invalid: it must be 1 to 65535", "n", "h:x", keyA],
    ["remote endpoint port is invalid: it must be 1 to 65535", "n", "h:65536", keyA],
    ["remote endpoint port must be greater than zero", "n", "h:0", keyA],
    ["remote endpoint has invalid IPv6 host", "n", "[::1", keyA],
    ["remote endpoint has invalid IPv6 host", "n", "[host]", keyA],
    ["remote endpoint has invalid IPv6 host", "n", "::1", keyA],
    ["remote endpoint IPv6 port must follow ']'", "n", "[::1]99", keyA],
    ["remote endpoint scheme must be 'tcp', found 'grpcs'", "n", "grpcs://h", keyA],
    ["public key must decode to 32 bytes", "n", "h", "AAAA"],
  ];
  for (const [message, name, endpoint, public_key] of cases) {
    const { status, json } = await ask("PUT", `/${name}`, { endpoint, public_key });
    expect([status, json.message]).toEqual([400, message]);
  }
  expect((await ask("GET", "")).json).toEqual({});
});
