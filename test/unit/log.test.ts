// Log lines: one event one line, no secret, and files that stay within their bounds.

import { describe, expect, test } from "bun:test";
import {
  closeSync,
  fstatSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { logPath, openLogFile } from "../../src/cli/log-file.ts";
import { createLog, silentLog, type LogFields } from "../../src/log.ts";
import { limits } from "../../src/model/limits.ts";
import { tempDir } from "../support/temp.ts";

function logged(fields: LogFields): string {
  let text = "";
  const write = (line: string) => void (text += line);
  createLog({ least: "info", now: () => "T", write }).info("phrase", fields);
  return text;
}

describe("a line", () => {
  test.each<[LogFields, string]>([
    [{}, "T info phrase\n"],
    [{ events: 3, ok: true, none: null }, "T info phrase events=3 ok=true none=null\n"],
    [{ gone: undefined }, "T info phrase\n"],
    [{ path: "/a b" }, 'T info phrase path="/a b"\n'],
    [{ path: "" }, 'T info phrase path=""\n'],
    [{ name: 'x"=\n2024 info fake' }, 'T info phrase name="x\\"=\\n2024 info fake"\n'],
    [{ foreign_keys: 1, token_id: "ab" }, "T info phrase foreign_keys=1 token_id=ab\n"],
  ])("%j", (fields, wanted) => {
    expect(logged(fields)).toBe(wanted);
  });

  test("never holds a secret, by its name or by its shape", () => {
    const value = `EVT-${"0123456789abcdef".repeat(4)}`;
    const fields = {
      token: value,
      master_key: value,
      dek: "d",
      authorization: "Bearer x",
      password: "p",
    };
    expect(logged(fields)).toBe(
      "T info phrase token=[secret] master_key=[secret] dek=[secret] authorization=[secret] " +
        "password=[secret]\n",
    );
    expect(logged({ reason: `no token ${value} here` })).not.toContain("0123456789");
  });

  test("below the wanted level is left out", () => {
    const lines: string[] = [];
    const log = createLog({
      least: "warn",
      now: () => "T",
      write: (line) => void lines.push(line),
    });
    log.debug("a");
    log.info("b");
    log.warn("c");
    log.error("d");
    expect(lines).toEqual(["T warn c\n", "T error d\n"]);
    expect(() => silentLog.error("nothing")).not.toThrow();
  });
});

test("a line that cannot be written is lost, and whoever logged goes on", () => {
  const write = () => {
    throw new Error("ENOSPC: no space left on device, write");
  };
  const log = createLog({ least: "info", now: () => "T", write });
  expect(() => log.warn("request failed", { status: 503 })).not.toThrow();
});

describe("the file of a daemon", () => {
  const asideIn = (path: string) =>
    readdirSync(join(path, "logs"))
      .filter((name) => name !== "dbx.log")
      .sort();

  test("is put aside when it would become too large, and only so many are kept", () => {
    using dir = tempDir();
    const file = openLogFile(dir.path, () => "2024-12-01T17:22:43.512345Z", 100);
    const line = `${"x".repeat(59)}\n`;
    for (let count = 0; count < limits.log_files_max + 5; count++) file.write(line);
    file.close();
    expect(readFileSync(logPath(dir.path), "utf8")).toBe(line);
    const aside = asideIn(dir.path);
    expect(aside).toHaveLength(limits.log_files_max);
    // The oldest are gone, and the next name does not depend on how many there are.
    expect(aside.at(-1)).toBe("dbx-20241201T172243-011.log");
    for (const name of [...aside, "dbx.log"]) {
      expect(statSync(join(dir.path, "logs", name)).mode & 0o777).toBe(0o600);
    }
  });

  test("is put aside at midnight, and at the start of a later day", () => {
    using dir = tempDir();
    let now = "2024-12-01T23:59:59.999999Z";
    const file = openLogFile(dir.path, () => now);
    file.write("before\n");
    now = "2024-12-02T00:00:00.000000Z";
    file.write("after\n");
    file.close();
    expect(readFileSync(logPath(dir.path), "utf8")).toBe("after\n");
    expect(asideIn(dir.path)).toEqual(["dbx-20241202T000000-000.log"]);
    // The file's own time is today's, so this clock's day is another one.
    openLogFile(dir.path, () => "2024-12-03T08:00:00.000000Z").close();
    expect(asideIn(dir.path)).toEqual([
      "dbx-20241202T000000-000.log",
      "dbx-20241203T080000-000.log",
    ]);
  });

  test("goes on where it ended, and tightens the mode of an older file", () => {
    using dir = tempDir();
    const now = () => new Date().toISOString();
    openLogFile(dir.path, now).close();
    writeFileSync(logPath(dir.path), "old\n", { mode: 0o644 });
    const file = openLogFile(dir.path, now);
    file.write("new\n");
    file.close();
    expect(readFileSync(logPath(dir.path), "utf8")).toBe("old\nnew\n");
    expect(statSync(logPath(dir.path)).mode & 0o777).toBe(0o600);
  });

  test("goes on in the old file while it cannot be put aside, and closes nobody else's", () => {
    using dir = tempDir();
    const logs = join(dir.path, "logs");
    const file = openLogFile(dir.path, () => "2024-12-01T17:22:43.512345Z", 10);
    file.write("first line\n");
    // Nothing can be made in a folder that is a file.
    renameSync(logs, `${logs}-moved`);
    writeFileSync(logs, "");
    file.write("second line\n");
    const other = openSync(join(dir.path, "other"), "w");
    file.write("third line\n");
    expect(fstatSync(other).isFile()).toBe(true);
    expect(readFileSync(`${logs}-moved/dbx.log`, "utf8")).toBe(
      "first line\nsecond line\nthird line\n",
    );
    // Once it can, it is.
    rmSync(logs);
    renameSync(`${logs}-moved`, logs);
    file.write("fourth line\n");
    expect(readFileSync(logPath(dir.path), "utf8")).toBe("fourth line\n");
    expect(asideIn(dir.path)).toEqual(["dbx-20241201T172243-000.log"]);
    // The same where somebody has removed the folder: the lines are gone, not the log.
    rmSync(logs, { recursive: true });
    file.write("fifth line\n");
    expect(readFileSync(logPath(dir.path), "utf8")).toBe("fifth line\n");
    expect(fstatSync(other).isFile()).toBe(true);
    file.close();
    closeSync(other);
  });

  test("that cannot take a line loses it and throws nothing", async () => {
    using dir = tempDir();
    const module = JSON.stringify(import.meta.resolve("../../src/cli/log-file.ts"));
    const script =
      `const { openLogFile } = await import(${module});` +
      `const file = openLogFile(${JSON.stringify(dir.path)}, () => new Date().toISOString());` +
      `for (let count = 0; count < 200; count++) file.write("x".repeat(99) + "\\n");` +
      `console.log("alive");`;
    // No file may grow beyond 4 KiB (in blocks of 512 bytes).
    const limited = ["sh", "-c", 'ulimit -f 8 && exec "$@"', "sh", process.execPath, "-e", script];
    const child = Bun.spawn(limited, { env: {}, stderr: "pipe" });
    const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
    expect({ stdout, stderr }).toEqual({ stdout: "alive\n", stderr: "" });
    expect(statSync(logPath(dir.path)).size).toBeLessThanOrEqual(4096);
  });
});
