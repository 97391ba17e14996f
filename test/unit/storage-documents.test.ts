// Whole-file replacement: contents, modes, links, failures that leave the old text.

import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtemp, readdir, rm, stat, symlink, lstat, mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readDocument, replaceDocument } from "../../src/storage/documents.ts";

let directory = "";
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "dbx-documents-"));
});
afterEach(() => rm(directory, { recursive: true }));

test("a document that does not exist reads as null", async () => {
  expect(await readDocument(join(directory, "tokens.json"))).toBeNull();
});

test("what is replaced is read back, and no other file remains", async () => {
  const path = join(directory, "config.toml");

  await replaceDocument(path, "port = 1\n", { mode: 0o644 });
  await replaceDocument(path, "# ü 😀\nport = 2\n", { mode: 0o644 });

  expect(await readDocument(path)).toBe("# ü 😀\nport = 2\n");
  expect(await readdir(directory)).toEqual(["config.toml"]);
});

test.skipIf(process.platform === "win32")(
  "the mode is exact, whatever the umask and the old mode [needs POSIX modes]",
  async () => {
    const path = join(directory, "tokens.json");
    await replaceDocument(path, "{}", { mode: 0o666 });
    expect((await stat(path)).mode & 0o777).toBe(0o666);

    await replaceDocument(path, "{}", { mode: 0o600 });

    expect((await stat(path)).mode & 0o777).toBe(0o600);
  },
);

test("a link stays a link, and its target is replaced", async () => {
  const real = join(directory, "real.toml");
  const link = join(directory, "link.toml");
  await replaceDocument(real, "a = 1", { mode: 0o644 });
  await symlink(real, link);

  await replaceDocument(link, "a = 2", { mode: 0o644 });

  expect((await lstat(link)).isSymbolicLink()).toBe(true);
  expect(await readDocument(real)).toBe("a = 2");
});

test("a replacement that fails is unavailable and leaves nothing behind", async () => {
  const path = join(directory, "plugins.json");
  await mkdir(path);

  const attempt = replaceDocument(path, "{}", { mode: 0o600 });

  await expect(attempt).rejects.toMatchObject({ code: "unavailable" });
  await attempt.catch(() => undefined);
  expect(await readdir(directory)).toEqual(["plugins.json"]);
});

test("a document in a missing directory is unavailable", async () => {
  const attempt = replaceDocument(join(directory, "none", "x.json"), "{}", { mode: 0o600 });

  await expect(attempt).rejects.toMatchObject({
    code: "unavailable",
    details: { reason: "ENOENT" },
  });
});

test("bytes that are no UTF-8 are data_corrupted; a byte-order mark is dropped", async () => {
  await Bun.write(join(directory, "bad"), new Uint8Array([0xff, 0xfe]));
  await Bun.write(join(directory, "mark"), new Uint8Array([0xef, 0xbb, 0xbf, 0x61]));

  const bad = readDocument(join(directory, "bad"));

  await expect(bad).rejects.toMatchObject({ code: "data_corrupted" });
  expect(await readDocument(join(directory, "mark"))).toBe("a");
});

test("replacements at the same time leave one of the texts whole", async () => {
  const path = join(directory, "tokens.json");
  const texts = Array.from({ length: 16 }, (_, index) => String(index).repeat(10_000));

  await Promise.all(texts.map((text) => replaceDocument(path, text, { mode: 0o600 })));

  expect(texts).toContain((await readDocument(path)) ?? "missing");
  expect(await readdir(directory)).toEqual(["tokens.json"]);
});
