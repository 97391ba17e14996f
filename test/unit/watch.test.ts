// A document that people edit while somebody looks: seen however it changes, never half.

import { describe, expect, test } from "bun:test";
import {
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { watchDocument } from "../../src/engine/watch.ts";
import { realSystem } from "../../src/system.ts";
import { listeningLog } from "../support/schemas.ts";
import { tempDir } from "../support/temp.ts";

describe("a watched document", () => {
  const watch = (
    path: string,
    { now = realSystem.now, elapsed_ms = () => performance.now() } = {},
  ) => {
    const { log, lines } = listeningLog();
    const parse = (text: string | null) => {
      if (text?.startsWith("bad") === true) throw new Error(`not good: ${text}`);
      return text;
    };
    const first: string | null = "first";
    const system = { ...realSystem, now };
    const document = { path, bytes_max: 20, first, parse, log, system, elapsed_ms };
    return { lines, ...watchDocument(document) };
  };

  test("is read again however it was changed", () => {
    using dir = tempDir();
    const path = join(dir.path, "a");
    const { look, fault } = watch(path);
    expect(look()).toBeNull();
    writeFileSync(path, "one");
    expect(look()).toBe("one");
    writeFileSync(path, "two");
    expect(look()).toBe("two");
    writeFileSync(`${path}.new`, "new");
    renameSync(`${path}.new`, path);
    expect(look()).toBe("new");
    writeFileSync(path, "\ufeffmark");
    expect(look()).toBe("mark");
    rmSync(path);
    expect(look()).toBeNull();
    expect(fault()).toBeNull();
  });

  test("is read again when size, time and file stay the same", () => {
    using dir = tempDir();
    const path = join(dir.path, "a");
    const { look } = watch(path);
    for (let round = 0; round < 200; round++) {
      const text = String(round).padStart(5, "0");
      writeFileSync(path, text);
      utimesSync(path, 1, 1);
      expect(look()).toBe(text);
    }
  });

  test("is read until its time says for sure that it stands still, and then no more", () => {
    using dir = tempDir();
    const path = join(dir.path, "a");
    writeFileSync(path, "one");
    // The clock is asked only when the file is read.
    let reads = 0;
    const watchAt = (ms: number) =>
      watch(path, {
        now: () => {
          reads++;
          return new Date(statSync(path).ctimeMs + ms).toISOString();
        },
        elapsed_ms: () => 0,
      });
    const rounds = Array.from({ length: 10 });
    const moving = watchAt(50);
    for (const _ of rounds) expect(moving.look()).toBe("one");
    expect(reads).toBe(11);
    expect(moving.lines).toEqual([]);
    reads = 0;
    const still = watchAt(1_000);
    for (const _ of rounds) expect(still.look()).toBe("one");
    expect(reads).toBe(1);
  });

  test("is not read for ever because the system's clock is behind its time", () => {
    using dir = tempDir();
    const path = join(dir.path, "a");
    writeFileSync(path, "one");
    let reads = 0;
    let elapsed = 0;
    const { look } = watch(path, {
      now: () => {
        reads++;
        return new Date(statSync(path).ctimeMs - 3_600_000).toISOString();
      },
      elapsed_ms: () => elapsed,
    });
    const looks = (count: number): number => {
      reads = 0;
      for (let round = 0; round < count; round++) look();
      return reads;
    };
    elapsed = 90;
    expect(looks(5)).toBe(5);
    elapsed = 101;
    expect(looks(5)).toBe(1);
    // What has changed since is watched anew.
    writeFileSync(path, "other");
    expect(look()).toBe("other");
    elapsed = 201;
    expect(looks(5)).toBe(5);
    elapsed = 202;
    expect(looks(5)).toBe(1);
  });

  test("keeps its last good value while it is damaged, and says so once for each change", () => {
    using dir = tempDir();
    const path = join(dir.path, "a");
    writeFileSync(path, "good");
    const { look, fault, lines } = watch(path);
    const damage: readonly (readonly [string | Uint8Array, string])[] = [
      ["bad 1", `not good: bad 1 (${path})`],
      ["x".repeat(21), `a has 21 bytes, the limit is 20 (${path})`],
      [Uint8Array.of(0xff), `a is not UTF-8 text (${path})`],
    ];
    for (const [content, message] of damage) {
      writeFileSync(path, content);
      for (let round = 0; round < 3; round++) expect(look()).toBe("good");
      expect(fault()).toMatchObject({ code: "data_corrupted", message, details: { path } });
    }
    expect(lines.filter((line) => line.includes(" error "))).toHaveLength(3);
    expect(lines[0]).toContain("document damaged; the last good one stays");
    writeFileSync(path, "better");
    expect(look()).toBe("better");
    expect(fault()).toBeNull();
  });

  test("may be no file at all, which is damage too and stops nobody", () => {
    using dir = tempDir();
    const path = join(dir.path, "a");
    writeFileSync(path, "good");
    const { look, fault } = watch(path);
    rmSync(path);
    mkdirSync(path);
    expect(look()).toBe("good");
    expect(fault()).toMatchObject({ code: "unavailable", details: { path, reason: "not a file" } });
    rmSync(path, { recursive: true });
    // Reading a pipe would wait for its writer.
    expect(Bun.spawnSync(["mkfifo", path]).exitCode).toBe(0);
    expect(look()).toBe("good");
    expect(fault()?.message).toBe(`${path} cannot be read (not a file)`);
    rmSync(path);
    symlinkSync("a", path);
    expect(look()).toBe("good");
    expect(fault()?.message).toBe(`${path} cannot be read (ELOOP)`);
  });
});
