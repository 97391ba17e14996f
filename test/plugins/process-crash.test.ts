// dbx and a process plugin of its own, killed together and apart: every event that was acknowledged
// is seen, each aggregate's in order, as it was recorded.

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { call } from "../../src/api/call.ts";
import type { EventRecord } from "../../src/model/event.ts";
import { openStore, root as everybody } from "../support/store.ts";
import { tempDir } from "../support/temp.ts";
import { python, startHarness, type Harness } from "./processes.ts";

const lives = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

const startsOf = (run: Harness): number[] =>
  run.lines().flatMap(({ started }) => (started === undefined ? [] : [started]));

test.skipIf(python === null)(
  "kills of dbx, of the plugin and of both lose no acknowledged event [needs python3]",
  async () => {
    using dir = tempDir();
    // Only to install the appender.
    await using run = await startHarness(dir.path, []);
    const seen = join(dir.path, "seen.jsonl");
    const serve = (out: string) =>
      Bun.spawn(
        [
          ...[process.execPath, "--no-env-file", join(import.meta.dir, "dbx-child.ts")],
          ...[run.data_dir, seen],
        ],
        { stdout: Bun.file(out), stderr: "inherit" },
      );
    const outs: string[] = [];
    const serveNext = () => {
      outs.push(join(dir.path, `${outs.length}.out`));
      return serve(outs.at(-1) ?? "");
    };
    let server = serveNext();
    for (const kill of ["server", "plugin", "server", "plugin", "stop"] as const) {
      const at = run.sequences().length;
      await run.until(() => run.sequences().length > at + 150);
      if (kill === "plugin") process.kill(startsOf(run).at(-1) ?? 0, "SIGKILL");
      if (kill === "plugin") continue;
      server.kill(kill === "stop" ? "SIGTERM" : "SIGKILL");
      await server.exited;
      await run.until(() => !startsOf(run).some(lives));
      if (kill === "server") server = serveNext();
    }

    // What was committed and not delivered yet comes at the next start.
    await using store = await openStore(run.data_dir, { plugins: true, env: process.env });
    const input = { take: 100_000 };
    const log: EventRecord[] = [];
    for (let after = 0; ; after = log.at(-1)?.position ?? 0) {
      const page = (await call(store.dbx, {
        ...{ operation: "readLog", input: { ...input, after }, actor: everybody },
      })) as EventRecord[];
      log.push(...page);
      if (page.length === 0) break;
    }
    const seenIds = () => new Set(run.lines().flatMap(({ event }) => event?.["eventId"] ?? []));
    await run.until(() => seenIds().size >= log.length);
    await store.close();

    const events = run.lines().flatMap(({ event }) => (event === undefined ? [] : [event]));
    const recorded = new Map(log.map((record) => [record.metadata.event_id, record]));
    const versions = new Map<string, number>();
    for (const event of events) {
      const record = recorded.get(String(event["eventId"]));
      expect(event).toMatchObject({
        ...{ aggregateId: record?.aggregate_id, eventVersion: record?.version },
        ...{ payloadJson: record?.payload, hash: record?.hash, stateVersion: record?.version },
      });
      const id = String(event["aggregateId"]);
      const version = Number(event["eventVersion"]);
      // Again is fine; ahead is not.
      expect(version).toBeLessThanOrEqual((versions.get(id) ?? 0) + 1);
      versions.set(id, Math.max(version, versions.get(id) ?? 0));
    }
    for (const file of outs) {
      // The last line of a killed one may be half written.
      const lines = readFileSync(file, "utf8").split("\n").slice(0, -1);
      for (const line of lines) {
        expect(recorded.has(JSON.parse(line).metadata.event_id)).toBe(true);
      }
    }
    process.stdout.write(
      `${log.length} events, ${events.length} seen, ${startsOf(run).length} starts\n`,
    );
  },
  60_000,
);
