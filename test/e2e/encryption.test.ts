// Encryption as its owner meets it: given to a store that has data, exchanged, lost; and erasing.
// With the server down and up.
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { dbx, endDaemon, type RunOptions } from "../support/cli.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

let dir: TempDir;
let home: string;
const run = (args: readonly string[], over: Partial<RunOptions> = {}) =>
  dbx(args, { home, ...over });
const dek = Buffer.alloc(32, 7).toString("base64");
const other = Buffer.alloc(32, 8).toString("base64");
const keys = ["--master-key", "correct horse battery", "--dek", dek];
const secret = "planted-secret-5f1d";

/** In: arguments. Out: what was printed, of a command that MUST succeed. */
const ok = async (...args: string[]): Promise<string> => {
  const { stdout, stderr, code } = await run(args);
  expect({ args, stderr, code }).toEqual({ args, stderr, code: 0 });
  return stdout;
};
const apply = (id: string, ...more: string[]) =>
  ok("aggregate", "apply", "person", id, "noted", "--field", `name=${secret}`, ...more);
const verify = async (): Promise<void> => {
  await ok("aggregate", "verify", "--all");
};
const nowhere = (): void => {
  const found: string[] = [];
  const data = join(home, ".eventdbx");
  for (const name of readdirSync(data, { recursive: true, withFileTypes: true })) {
    if (!name.isFile()) continue;
    const bytes = readFileSync(join(name.parentPath, name.name));
    if (bytes.includes(secret)) found.push(name.name);
  }
  expect(found).toEqual([]);
};

beforeEach(() => {
  dir = tempDir();
  home = dir.path;
});
afterEach(() => {
  endDaemon(home);
  dir[Symbol.dispose]();
});

describe.each(["down", "up"])("with the server %s", (server) => {
  const start = async (): Promise<void> => {
    if (server === "up") await ok("start", "--port", "0");
  };
  const restart = async (): Promise<void> => {
    if (server === "up") await ok("restart", "--port", "0");
  };
  /** Until everything is encrypted; a server does that while it serves. */
  const encrypted = async (): Promise<void> => {
    const deadline = Date.now() + 20_000;
    while (server === "up") {
      const status: unknown = JSON.parse(await ok("status", "--json"));
      if (JSON.stringify(status).includes('"encrypted":true')) return;
      expect(Date.now()).toBeLessThan(deadline);
    }
  };

  test("a key that comes later encrypts what is there, archive and staged events included", async () => {
    await start();
    for (const id of ["p-1", "p-2", "p-3"]) await apply(id, "--note", `${secret} in a note`);
    await ok("aggregate", "archive", "person", "p-2");
    await apply("p-9", "--stage");
    const before = await ok("aggregate", "replay", "person", "p-2", "--json");

    const { code, stderr } = await run(["config", ...keys]);
    expect({ code, stderr }).toMatchObject({ code: 0 });
    await restart();
    await encrypted();
    await ok("aggregate", "commit");

    nowhere();
    expect(await ok("aggregate", "replay", "person", "p-2", "--json")).toBe(before);
    expect(await ok("aggregate", "list", "--filter", `name = "${secret}"`, "--json")).toContain(
      "p-3",
    );
    await verify();
  });

  test("another key takes its place, and the first opens nothing any more", async () => {
    await run(["config", ...keys]);
    await start();
    await apply("p-1");
    const { code, stderr } = await run(["config", "--rotate-dek", other]);
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(stderr).not.toContain(other);
    await apply("p-2");
    await verify();
    await restart();
    await verify();
    nowhere();

    if (server === "up") await ok("stop");
    const wrong = await run(["aggregate", "get", "person", "p-1"], { env: { EVENTDBX_DEK: dek } });
    expect(wrong.code).not.toBe(0);
    expect(wrong.stderr).toContain("is not the one of this store");
    expect(wrong.stderr).not.toContain(dek);
    const kept = readFileSync(join(home, ".eventdbx/config.toml"), "utf8");
    const refused = await run(["config", "--dek", dek]);
    expect(refused.code).not.toBe(0);
    expect(readFileSync(join(home, ".eventdbx/config.toml"), "utf8")).toBe(kept);
    await verify();
  });

  test("an erased aggregate says nothing any more, and goes on verifying", async () => {
    await run(["config", ...keys]);
    await start();
    await apply("p-1");
    await apply("p-1");
    await apply("p-2");
    await apply("p-1", "--stage");

    const unasked = await run(["aggregate", "erase", "person", "p-1", "--reason", "asked for"]);
    expect(unasked.stderr).toContain("--yes");
    expect(unasked.code).toBe(2);
    const erased = await ok(
      ...["aggregate", "erase", "person", "p-1", "--reason", "asked for", "--yes", "--json"],
    );
    expect(JSON.parse(erased)).toMatchObject({
      ...{ event_type: "$erased", version: 3 },
      payload: { reason: "asked for", through: 2 },
    });
    const again = await run(["aggregate", "erase", "person", "p-1", "--reason", "late", "--yes"]);
    expect(again.stderr).toContain("person/p-1 was erased already, at 2");
    expect([again.code, again.stdout.includes("version=3")]).toEqual([0, true]);
    const kept = JSON.parse(await ok("audit", "--action", "erase", "--json"));
    expect(kept).toMatchObject([
      { comment: "asked for", details: null },
      { comment: "late", details: { erased_already: 3 } },
    ]);
    await apply("p-9", "--stage");
    const staged = await run(["aggregate", "erase", "person", "p-9", "--reason", "x", "--yes"]);
    expect(staged.stderr).toContain("person/p-9 has no events to erase, only staged ones (1)");
    expect(staged.code).not.toBe(0);
    await ok("aggregate", "discard", "--all");
    const events = await ok("aggregate", "replay", "person", "p-1", "--json");
    expect(events).not.toContain(secret);
    expect(events).toContain('"erased": true');
    expect(JSON.parse(await ok("aggregate", "get", "person", "p-1"))).toMatchObject({
      version: 3,
    });
    const proof = await ok("aggregate", "verify", "person", "p-1", "--json");
    expect(JSON.parse(proof)).toMatchObject({ version: 3, erased: 2 });
    const past = await run(["aggregate", "get", "person", "p-1", "--version", "1"]);
    expect(past.stderr).toContain("is erased");
    expect(await ok("aggregate", "list", "--stage", "--json")).not.toContain("p-1");
    expect(await ok("audit", "--json")).toContain('"erase"');
    expect(await ok("aggregate", "get", "person", "p-2")).toContain(secret);
    await apply("p-1");
    await verify();
    if (server === "up") await ok("restart", "--port", "0");
    await verify();
  });
});

test("without a key nothing can be erased, and dbx says why", async () => {
  await apply("p-1");
  const { code, stderr } = await run([
    "aggregate",
    "erase",
    "person",
    "p-1",
    "--reason",
    "asked for",
    "--yes",
  ]);
  expect(stderr).toContain("nothing here is encrypted");
  expect(code).not.toBe(0);
  await verify();
});
