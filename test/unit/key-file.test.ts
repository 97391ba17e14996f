// The data encryption key in a file of its own: which place wins, what is read and what is refused,
// and that no complaint shows a key.

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { loadConfiguration, type Given } from "../../src/cli/configuration.ts";
import { exposedKey, keeperOf } from "../../src/cli/key-place.ts";
import { limits } from "../../src/model/limits.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

const dek = Buffer.alloc(32, 7).toString("base64");
const other = Buffer.alloc(32, 8).toString("base64");

let dir: TempDir;
const at = (name: string) => join(dir.path, name);
beforeEach(() => {
  dir = tempDir();
  for (const name of ["etc", "home", "cwd"]) mkdirSync(at(name));
});
afterEach(() => dir[Symbol.dispose]());

function put(name: string, text: string, mode = 0o600): string {
  writeFileSync(at(name), text);
  chmodSync(at(name), mode);
  return at(name);
}

function load(sources: { file?: string; env?: Record<string, string>; flags?: Given }) {
  if (sources.file !== undefined) put("etc/config.toml", sources.file);
  const shell = { cwd: at("cwd"), home: at("home"), configPath: at("etc/config.toml") };
  return loadConfiguration({ ...shell, env: sources.env ?? {} }, sources.flags ?? {});
}

async function complaint(sources: Parameters<typeof load>[0]): Promise<string> {
  const thrown: unknown = await load(sources).catch((error: unknown) => error);
  expect(thrown).toMatchObject({ code: "invalid_argument" });
  const text = `${String(thrown)} ${JSON.stringify(Object(thrown).details)}`;
  for (const key of [dek, other]) expect(text).not.toContain(key);
  return text.replaceAll(dir.path, "DIR");
}

describe("the key is taken from", () => {
  test("a file beside the configuration file, at home, or anywhere", async () => {
    put("etc/dek", dek);
    put("home/dek", `${dek}\n`);
    put("cwd/dek", `  ${dek.replace("=", "")}\r\n`);
    for (const [sources, file] of [
      [{ file: 'dek_file = "dek"' }, "etc/dek"],
      [{ file: 'dek_file = "~/dek"' }, "home/dek"],
      [{ file: "", env: { EVENTDBX_DEK_FILE: at("cwd/dek") } }, "cwd/dek"],
      [{ file: "", env: { EVENTDBX_DEK_FILE: "dek" } }, "etc/dek"],
      [{ file: "", flags: { dek_file: "dek" } }, "cwd/dek"],
    ] as const) {
      const { config, origins } = await load(sources);
      expect(config).toMatchObject({ dek_file: at(file) });
      expect(config.data_encryption_key?.replace("=", "")).toBe(dek.replace("=", ""));
      expect(origins.get("data_encryption_key")).toBe("key file");
    }
  });

  test("a link to a link, as secrets are mounted", async () => {
    mkdirSync(at("etc/..2026_11_30"));
    put("etc/..2026_11_30/dek", dek, 0o400);
    symlinkSync("..2026_11_30", at("etc/..data"));
    symlinkSync("..data/dek", at("etc/dek"));
    expect((await load({ file: 'dek_file = "dek"' })).config.data_encryption_key).toBe(dek);
  });

  test("the stronger of two places", async () => {
    const file = put("etc/dek", dek);
    const named = { EVENTDBX_DEK_FILE: file };
    const direct = { EVENTDBX_DEK: other };
    const keyOf = async (sources: Parameters<typeof load>[0]) =>
      (await load(sources)).config.data_encryption_key;
    expect(await keyOf({ file: `data_encryption_key = "${other}"`, env: named })).toBe(dek);
    expect(await keyOf({ file: 'dek_file = "dek"', env: direct })).toBe(other);
    expect(await keyOf({ env: direct, flags: { dek_file: file } })).toBe(dek);
    // What is not in force need not be there.
    expect(await keyOf({ file: 'dek_file = "gone"', env: direct })).toBe(other);
    expect(await keyOf({ file: 'dek_file = " "\ndata_encryption_key = ""' })).toBeUndefined();
  });
});

describe("it is refused", () => {
  test("where one place gives two keys", async () => {
    put("etc/dek", dek);
    const file = `page_limit = 5\ndata_encryption_key = "${other}"\ndek_file = "dek"`;
    expect(await complaint({ file })).toContain(
      "DIR/etc/config.toml, line 3: dek_file and DIR/etc/config.toml, line 2: data_encryption_key both give " +
        "the data encryption key; keep one of them",
    );
    const env = { EVENTDBX_DEK: other, EVENTDBX_DEK_FILE: at("etc/dek") };
    expect(await complaint({ file: "", env })).toContain("EVENTDBX_DEK_FILE and EVENTDBX_DEK both");
  });

  test.each([0o604, 0o644, 0o606, 0o444])("where others may read it: %o", async (mode) => {
    put("etc/dek", dek, mode);
    const told = await complaint({ file: 'dek_file = "dek"' });
    expect(told).toContain("config.toml, line 1: dek_file: everybody on this machine can read");
    expect(told).toContain("run: chmod 600 DIR/etc/dek");
  });

  test.each([
    ["nothing", () => {}, "cannot read the key file DIR/etc/dek (ENOENT)"],
    ["a directory", () => mkdirSync(at("etc/dek")), "holds no key"],
    ["a long file", () => put("etc/dek", "x".repeat(limits.key_file_bytes_max + 1)), "no key"],
    ["an empty file", () => put("etc/dek", "\n"), "DIR/etc/dek must be base64 of exactly 32 bytes"],
    ["another text", () => put("etc/dek", `${dek}${other}`), "must be base64 of exactly 32 bytes"],
    ["half a key", () => put("etc/dek", dek.slice(0, 30)), "must be base64 of exactly 32 bytes"],
  ] as const)("where there is %s", async (_name, make, words) => {
    make();
    expect(await complaint({ file: 'dek_file = "dek"' })).toContain(words);
  });
});

describe("another key", () => {
  test("takes the place of the first in its file, through links, whatever its mode was", async () => {
    put("home/dek", `${dek}\n`, 0o640);
    symlinkSync(at("home/dek"), at("etc/dek"));
    const file = 'dek_file = "dek"\n';
    const keep = await keeperOf(await load({ file }));
    await keep(other);
    expect(readFileSync(at("home/dek"), "utf8")).toBe(`${other}\n`);
    expect(statSync(at("home/dek")).mode & 0o777).toBe(0o600);
    expect(readFileSync(at("etc/config.toml"), "utf8")).toBe(file);
    expect((await load({})).config.data_encryption_key).toBe(other);
  });

  test("goes where the configuration says that the key is, also while the environment has one", async () => {
    put("etc/dek", dek);
    const loaded = await load({ file: 'dek_file = "dek"', env: { EVENTDBX_DEK: dek } });
    await (
      await keeperOf(loaded)
    )(other);
    expect(readFileSync(at("etc/dek"), "utf8")).toBe(`${other}\n`);
    expect((await load({})).config.data_encryption_key).toBe(other);
  });

  test.each(["etc/dek", "etc/config.toml"])("is refused where %s is read-only", async (name) => {
    put("etc/dek", dek);
    const file = name === "etc/dek" ? 'dek_file = "dek"' : `data_encryption_key = "${dek}"`;
    const loaded = await load({ file });
    chmodSync(at(name), 0o400);
    await expect(keeperOf(loaded)).rejects.toMatchObject({
      code: "failed_precondition",
      message: expect.stringContaining("is read-only (mode 0400)"),
    });
  });
});

test("a key that more than its owner can read is told, wherever it stands", async () => {
  put("etc/dek", dek, 0o640);
  const exposed = async (sources: Parameters<typeof load>[0]) =>
    exposedKey(await load(sources))?.path.replace(dir.path, "DIR");
  expect(await exposed({ file: 'dek_file = "dek"' })).toBe("DIR/etc/dek");
  chmodSync(at("etc/dek"), 0o400);
  expect(await exposed({})).toBeUndefined();
  expect(await exposed({ file: `dek = "${dek}"` })).toBeUndefined();
  chmodSync(at("etc/config.toml"), 0o644);
  expect(await exposed({})).toBe("DIR/etc/config.toml");
  expect(await exposed({ env: { EVENTDBX_DEK: dek } })).toBeUndefined();
});
