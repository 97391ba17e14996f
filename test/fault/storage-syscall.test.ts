// Every file call of one append, first listed, then failed one at a time: no acknowledgement
// without an fsync between the last write of the log and the answer, no half event, and the store
// opens again and verifies.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { append, event, openWriting, readAll, recompute, transaction } from "../support/storage.ts";
import { reasonNotToTrace, trace } from "../support/strace.ts";

const script = join(import.meta.dir, "../support/fault-append.ts");
const traced =
  "pread64,pwrite64,read,write,fsync,fdatasync,ftruncate,openat,fallocate,unlink,access,fstat,fcntl";

/** One line of the trace. */
interface Call {
  readonly name: string;
  /** The how manyeth call of this name since the process began: what strace counts by. */
  readonly ordinal: number;
  readonly file: string;
  readonly failed: boolean;
  readonly injected: boolean;
}

interface Run {
  readonly calls: readonly Call[];
  /** Indexes into `calls`: the append is between them. */
  readonly begin: number;
  readonly answer: number;
  readonly outcome: string;
  readonly again: string;
  readonly directory: string;
}

const skipped = reasonNotToTrace();
if (skipped !== null) console.log(`syscall faults skipped: ${skipped}`);

describe.skipIf(skipped !== null)("system calls of an append [needs strace]", () => {
  let root = "";
  let runs = 0;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "dbx-syscall-"));
    const storage = await openWriting(join(root, "source"));
    const first = event({ aggregate_type: "fault", aggregate_id: "one" });
    await append(storage, [transaction([first])]);
    await storage.close();
  });
  afterAll(() => rm(root, { recursive: true }));

  async function run(mode: "inline" | "copier" | "both", inject: string | null): Promise<Run> {
    const directory = join(root, `run${runs++}`);
    await cp(join(root, "source"), directory, { recursive: true });
    const files = ["dbx.db", "dbx.db-wal", "dbx.db-shm", "begin", "answer"];
    const argv = [script, directory, mode];
    const { lines, stdout } = await trace({ directory, files, calls: traced, inject, argv });
    const { outcome, again } = JSON.parse(stdout) as Run;
    const calls = parse(lines, directory);
    const begin = calls.findIndex(({ file }) => file === "begin");
    const answer = calls.findIndex(({ file }) => file === "answer");
    return { calls, begin, answer, outcome, again, directory };
  }

  async function inspect(directory: string) {
    const storage = await openWriting(directory);
    const faults = await recompute(storage);
    const events = await readAll(storage);
    await storage.close();
    return { faults, events };
  }

  for (const mode of ["inline", "copier", "both"] as const) {
    test(`an fsync lies between the last write and the answer (${mode})`, async () => {
      const { calls, begin, answer, outcome } = await run(mode, null);

      expect(outcome).toBe("appended");
      const during = calls.slice(begin, answer);
      expect(during.filter(writesLog).length).toBeGreaterThan(2);
      expect(isDurable(during)).toBe(true);
    });
  }

  test("each call failed once: no false answer, no half event, opens and verifies", async () => {
    const whole = await run("inline", null);
    const targets = whole.calls
      .slice(whole.begin + 1, whole.answer)
      .flatMap((call) => [
        { ...call, error: "EIO" },
        ...(call.name === "pwrite64" ? [{ ...call, error: "ENOSPC" }] : []),
      ]);
    expect(targets.length).toBeGreaterThan(20);

    const seen: Record<string, number> = {};
    for (const { name, ordinal, file, error } of targets) {
      const fault = `${name}:error=${error}:when=${ordinal}`;
      const { calls, begin, answer, outcome, again, directory } = await run("inline", fault);
      const where = `${fault} on ${file}`;
      const hit = calls.findIndex(({ injected }) => injected);
      expect(`${where}: ${hit > begin && hit < answer}`).toBe(`${where}: true`);

      // SQLite calls a page that cannot be read damaged, and so do we.
      const refusals = name === "pread64" ? "unavailable|data_corrupted" : "unavailable";
      expect(`${where}: ${outcome}`).toMatch(new RegExp(`: (appended|${refusals})$`));
      if (outcome === "appended") expect(isDurable(calls.slice(begin, answer))).toBe(true);
      if (file === "dbx.db-wal" && /write|sync/.test(name)) {
        expect(`${where}: ${outcome}, ${again}`).toBe(`${where}: unavailable, unavailable`);
      }
      const { faults, events } = await inspect(directory);
      expect(`${where}: ${faults.join()}`).toBe(`${where}: `);
      const acknowledged = 1 + [outcome, again].filter((each) => each === "appended").length;
      expect(events.length).toBeGreaterThanOrEqual(acknowledged);
      expect(events.length).toBeLessThanOrEqual(3);
      seen[`${name} ${file}: ${outcome}, then ${again}`] =
        (seen[`${name} ${file}: ${outcome}, then ${again}`] ?? 0) + 1;
    }
    console.log(seen);
  }, 120_000);
});

const writesLog = ({ name, file }: Call): boolean => name === "pwrite64" && file === "dbx.db-wal";

/** Whether the last successful write of the log is followed by a successful fsync of it. */
function isDurable(calls: readonly Call[]): boolean {
  const last = calls.findLastIndex((call) => writesLog(call) && !call.failed);
  return (
    last >= 0 &&
    calls
      .slice(last)
      .some(({ name, file, failed }) => name.endsWith("sync") && file === "dbx.db-wal" && !failed)
  );
}

function parse(lines: readonly string[], directory: string): Call[] {
  const counts = new Map<string, number>();
  const calls: Call[] = [];
  for (const line of lines) {
    const [, pid, name] = /^(\d+)\s+(\w+)\(/.exec(line) ?? [];
    if (pid === undefined || name === undefined) continue;
    const [, file = ""] = new RegExp(`${directory}/([\\w.-]+)`).exec(line) ?? [];
    const ordinal = (counts.get(`${pid} ${name}`) ?? 0) + 1;
    counts.set(`${pid} ${name}`, ordinal);
    const failed = / = -1 /.test(line);
    calls.push({ name, ordinal, file, failed, injected: line.includes("(INJECTED)") });
  }
  return calls;
}
