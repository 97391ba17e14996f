// Who changed the configuration, as the audit trail tells it: by command, by hand, by the
// environment and by a flag of the start; with the server down and up, and never a secret.

import { afterEach, beforeEach, expect, test } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { dbx, startForeground, type RunOptions } from "../support/cli.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

let dir: TempDir;
let home: string;
const masterKey = "correct horse battery";
const dek = Buffer.from("planted-key-of-thirty-two-bytes!").toString("base64");
const other = Buffer.alloc(32, 8).toString("base64");

/** Out: what was printed, of a command that MUST succeed. */
async function ok(args: readonly string[], over: Partial<RunOptions> = {}): Promise<string> {
  const { stdout, stderr, code } = await dbx(args, { home, ...over });
  expect({ args, stderr, code }).toEqual({ args, stderr, code: 0 });
  return stdout;
}
const apply = (over: Partial<RunOptions> = {}) =>
  ok(["aggregate", "apply", "person", "p-1", "noted", "--field", "name=Jane"], over);

interface Told {
  readonly group: string;
  readonly user: string;
  readonly changed: Readonly<Record<string, unknown>>;
}

/** All changes of the configuration that there are now, but for the first `known`. */
async function told(known: number): Promise<Told[]> {
  const entries: {
    issued_by: { group: string; user: string };
    details: { changed: Told["changed"] };
  }[] = JSON.parse(await ok(["audit", "--action", "config.change", "--json"]));
  return entries.slice(known).map(({ issued_by, details: { changed } }) => {
    // The tests' environment has it, so the first entry that there is tells of it.
    const { "socket.bind_addr": _always, ...others } = changed;
    return { ...issued_by, changed: others };
  });
}

/** Everything in the data directory but the configuration itself, as Latin text. */
function written(): string {
  const data = join(home, ".eventdbx");
  return readdirSync(data, { recursive: true, withFileTypes: true })
    .filter((each) => each.isFile() && each.name !== "config.toml")
    .map((each) => readFileSync(join(each.parentPath, each.name), "latin1"))
    .join("\n");
}
const configPath = () => join(home, ".eventdbx/config.toml");
/** By hand: a line of the table that the file has for it. */
const edit = (line: string) =>
  writeFileSync(
    configPath(),
    readFileSync(configPath(), "utf8").replace("[rate_limit]\n", `[rate_limit]\n${line}\n`),
  );
const keptHash = (): string =>
  /^master_key_hash = "(.+)"$/m.exec(readFileSync(configPath(), "utf8"))?.[1] ?? "none";

beforeEach(() => {
  dir = tempDir();
  home = dir.path;
});
afterEach(() => dir[Symbol.dispose]());

test("with the server down: by dbx config, and at the next start what nobody told", async () => {
  await apply();
  const keys = ["--master-key", masterKey, "--dek", dek];
  await ok(["config", "--page-limit", "5", ...keys]);
  const user = expect.stringMatching(/^cli:./);
  const secrets = { data_encryption_key: "set", "admin.master_key_hash": "set" };
  expect(await told(0)).toEqual([{ group: "cli", user, changed: { page_limit: 5, ...secrets } }]);

  // The same again, and a command that is no change of the configuration.
  await ok(["config", "--page-limit", "5"]);
  await apply({ env: { EVENTDBX_PAGE_LIMIT: "6" } });
  expect(await told(1)).toEqual([]);

  // By hand, by the environment and by a flag, all noticed by the server that begins.
  edit("per_token = 90");
  {
    await using server = await startForeground({ home, env: { EVENTDBX_LIST_PAGE_SIZE: "3" } });
    const changed = { port: 0, list_page_size: 3, "rate_limit.per_token": 90 };
    expect(await told(1)).toEqual([{ group: "cli", user, changed }]);
    expect(server.log()).not.toContain(dek);
  }
  {
    await using _server = await startForeground({ home });
    // The environment is another one now.
    expect(await told(2)).toEqual([{ group: "cli", user, changed: { list_page_size: 10 } }]);
  }
  await ok(["schema", "create", "person", "--events", "noted"]);
  const schemas = join(home, ".eventdbx/schemas.json");
  writeFileSync(
    schemas,
    readFileSync(schemas, "utf8").replace('"locked": false', '"locked": true'),
  );
  await ok(["config", "--rotate-dek", other]);
  expect(await told(3)).toEqual([
    { group: "cli", user, changed: { data_encryption_key: "changed" } },
  ]);
  {
    await using _server = await startForeground({ home });
    expect(await told(4)).toEqual([]);
    const about: { issued_by: unknown }[] = JSON.parse(
      await ok(["audit", "--action", "schema", "--json"]),
    );
    expect(about.map(({ issued_by }) => issued_by)).toEqual([{ group: "cli", user }, null]);
    const lines = (await ok(["audit", "--action", "schema.change"])).trimEnd().split("\n");
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain(" issued_by=null ");
    expect(lines[0]).not.toContain("group=");
  }
  await ok(["aggregate", "verify", "--all"]);
  const all = written() + (await ok(["audit", "--json"]));
  for (const secret of [dek, "planted-key-of", other, masterKey, "$argon2id", keptHash()])
    expect(all).not.toContain(secret);
});

test("with the server up: by whoever asks it to read the configuration again", async () => {
  await ok(["config", "--page-limit", "5", "--master-key", masterKey, "--dek", dek]);
  await using server = await startForeground({ home });
  const [{ length: first }] = [await told(0)];
  expect(first).toBe(1);
  const user = expect.stringMatching(/^cli:./);

  await ok(["config", "--page-limit", "7"]);
  await ok(["config", "--page-limit", "7"]);
  expect(await told(1)).toEqual([{ group: "cli", user, changed: { page_limit: 7 } }]);

  edit("per_token = 90");
  server.kill("SIGHUP");
  await server.until("configuration read");
  const changed = { "rate_limit.per_token": 90 };
  expect(await told(2)).toEqual([{ group: "cli", user: "cli:signal", changed }]);

  const issued = await ok(["token", "generate", "--group", "admin", "--user", "jane", "--json"]);
  const { token }: { token: string } = JSON.parse(issued);
  edit("per_address = 900");
  const url = `http://127.0.0.1:${server.port}/admin/config/reload`;
  const headers = { authorization: `Bearer ${token}` };
  expect((await fetch(url, { method: "POST", headers })).status).toBe(200);
  expect(await told(3)).toEqual([
    { group: "admin", user: "jane", changed: { "rate_limit.per_address": 900 } },
  ]);

  // What cannot be read is not followed, and no change.
  const good = readFileSync(configPath(), "utf8");
  edit("per_token = ");
  expect((await fetch(url, { method: "POST", headers })).status).toBe(400);
  writeFileSync(configPath(), good);
  expect(await told(4)).toEqual([]);

  const all = written() + server.log();
  for (const secret of [dek, "planted-key-of", masterKey, "$argon2id", keptHash(), token])
    expect(all).not.toContain(secret);
});

test("a store that cannot be opened keeps nobody from repairing its configuration", async () => {
  await ok(["config", "--master-key", masterKey, "--dek", dek]);
  await apply();
  const wrong = Buffer.alloc(32, 3).toString("base64");
  writeFileSync(configPath(), readFileSync(configPath(), "utf8").replace(dek, wrong));

  const blind = await dbx(["config", "--page-limit", "5"], { home });
  expect(blind.code).toBe(0);
  expect(blind.stderr).toContain("warning: the audit trail is told at the next start");
  const repair = await dbx(["config", "--dek", dek], { home });
  expect(repair.code).toBe(0);
  expect(repair.stderr).not.toContain("warning");
  const [{ changed } = { changed: {} }, ...more] = await told(0);
  expect(more).toEqual([]);
  expect(changed).toMatchObject({ page_limit: 5, data_encryption_key: "set" });
});
