// How strictly schemas bind: said by flag, environment or file, kept, and never changed unasked.

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { dbx, startForeground, type RunOptions } from "../support/cli.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

let dir: TempDir;
let home: string;
const run = (args: readonly string[], over: Partial<RunOptions> = {}) =>
  dbx(args, { home, ...over });

beforeEach(async () => {
  dir = tempDir();
  home = dir.path;
  await run(["schema", "create", "known", "made"]);
});
afterEach(() => dir[Symbol.dispose]());

describe("the restriction", () => {
  const apply = (type: string, env = {}) =>
    run(["aggregate", "apply", type, "1", "other", "--payload={}"], { env });

  test("is read from wherever it is said, with the server down", async () => {
    const codes = async (env: Record<string, string>) => [
      (await apply("known", env)).code,
      (await apply("unknown", env)).code,
    ];
    expect(await codes({})).toEqual([6, 0]);
    expect(await codes({ EVENTDBX_RESTRICT: "dev" })).toEqual([0, 0]);
    expect(await codes({ EVENTDBX_RESTRICT: "ENFORCED" })).toEqual([6, 6]);
    const strict = await apply("unknown", { EVENTDBX_RESTRICT: "strict" });
    expect(strict.stderr).toBe(
      "error: schema violation: aggregate unknown requires a schema before events can be " +
        "appended when restrict=strict (schema_violation)\n" +
        "       hint:  dbx schema create unknown --events <event>\n",
    );
    writeFileSync(join(home, ".eventdbx/config.toml"), "restrict = false\n");
    expect(await codes({})).toEqual([0, 0]);
    const typo = await apply("known", { EVENTDBX_RESTRICT: "strickt" });
    expect(typo.stderr).toContain("EVENTDBX_RESTRICT must be one of: off, default, strict");
    expect(typo.code).toBe(2);
  });

  test("stays as configured when a server starts without the flag", async () => {
    const config = join(home, ".eventdbx/config.toml");
    for (const [word, wanted] of [
      ["strict", [6, 6]],
      ["off", [0, 0]],
    ] as const) {
      writeFileSync(config, `restrict = "${word}"\n`);
      await using server = await startForeground({ home });
      expect([(await apply("known")).code, (await apply("unknown")).code]).toEqual([...wanted]);
      const status = JSON.parse((await run(["status", "--json"])).stdout);
      expect(status).toMatchObject({ pid: server.pid, restrict: word });
      expect(readFileSync(config, "utf8")).toContain(`restrict = "${word}"\n`);
    }
  });

  test("is whatever a flag of the server says, in any spelling, and is kept", async () => {
    const config = join(home, ".eventdbx/config.toml");
    const rows = [
      [["--restrict=unrestricted"], "off", [0, 0]],
      [["--restrict"], "default", [6, 0]],
      [["--restrict", "all"], "strict", [6, 6]],
    ] as const;
    for (const [args, word, wanted] of rows) {
      await using server = await startForeground({ home, args });
      expect([(await apply("known")).code, (await apply("unknown")).code]).toEqual([...wanted]);
      expect(server.log()).toContain(` restrict=${word}`);
      expect(readFileSync(config, "utf8")).toContain(`restrict = "${word}"\n`);
    }
  });

  test("changes for a running server when `dbx config` sets it", async () => {
    await using _server = await startForeground({ home });
    const dek = Buffer.alloc(32, 7).toString("base64");
    const first = [
      "config",
      "--master-key",
      "correct horse battery",
      "--dek",
      dek,
      "--restrict",
      "enforced",
    ];
    const kept = await run(first);
    expect(kept.stderr).toContain("followed at once: restrict, admin.master_key_hash\n");
    expect(kept.code).toBe(0);
    expect([(await apply("known")).code, (await apply("unknown")).code]).toEqual([6, 6]);
    const text = readFileSync(join(home, ".eventdbx/config.toml"), "utf8");
    expect(text).toContain('restrict = "strict"\n');
    const typo = await run(["config", "--restrict", "strickt"]);
    expect(typo.stderr).toContain("--restrict must be one of: off, default, strict");
    expect(typo.code).toBe(2);
  });
});
