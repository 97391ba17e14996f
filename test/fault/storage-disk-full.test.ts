// A file that may not grow any further: the write fails, the store says so and takes no more, and
// everything acknowledged before is there when there is room again.

import { expect, test } from "bun:test";
import { statSync } from "node:fs";
import { join } from "node:path";
import { canonicalOf } from "../../src/model/canonical.ts";
import { readLines, type Acknowledged, type Failed } from "../support/fault-lines.ts";
import {
  append,
  event,
  openWriting,
  readAll,
  recompute,
  transaction,
  withDirectory,
} from "../support/storage.ts";

const script = join(import.meta.dir, "../support/fault-writer.ts");
const closer = join(import.meta.dir, "../support/fault-close.ts");

for (const mode of ["inline", "copier", "both"]) {
  test.skipIf(process.platform === "win32")(
    `a full disk stops the store and loses nothing (${mode}) [needs a POSIX shell]`,
    async () => {
      await withDirectory(async (directory) => {
        // The limit is in blocks of 512 bytes or 1 KiB, as the shell likes; without the trap the
        // kernel would end the process instead of failing the call.
        const command = `trap '' XFSZ; ulimit -f 3000; exec "$0" "$@"`;
        const child = Bun.spawn(["sh", "-c", command, process.execPath, script, directory, mode], {
          stdin: "ignore",
          stdout: "pipe",
          stderr: "inherit",
        });
        const acknowledged: Acknowledged[] = [];
        const failures: Failed[] = [];
        await readLines(child, (line) => {
          if ("failed" in line) failures.push(line);
          else acknowledged.push(line);
        });

        expect(failures).toEqual([
          { failed: "unavailable", failure: "unavailable", again: "unavailable" },
        ]);
        expect(await child.exited).toBe(3);
        expect(acknowledged.length).toBeGreaterThan(50);
        const storage = await openWriting(directory);
        const events = await readAll(storage);
        const faults = await recompute(storage);
        await storage.close();
        expect(faults).toEqual([]);
        const ids = new Set(events.map((event) => event.event_id));
        expect(acknowledged.filter((each) => !ids.has(each.event_id))).toEqual([]);
      });
    },
    60_000,
  );

  test.skipIf(process.platform === "win32")(
    `what was appended stays appended if the log cannot be copied at the end (${mode}) [needs a POSIX shell]`,
    async () => {
      await withDirectory(async (directory) => {
        const key = { aggregate_type: "fault", aggregate_id: "first" };
        const payload = canonicalOf("x".repeat(6_000_000));
        const before = await openWriting(directory);
        await append(before, [transaction([event(key, { payload })])]);
        await before.close();
        // The database is larger than any file may now be, the log is not: a commit has room, a
        // copy has none.
        const command = `trap '' XFSZ; ulimit -f 3000; exec "$0" "$@"`;
        const child = Bun.spawn(["sh", "-c", command, process.execPath, closer, directory, mode], {
          stdin: "ignore",
          stdout: "pipe",
          stderr: "inherit",
        });

        expect(JSON.parse(await child.stdout.text())).toEqual({
          outcome: "appended",
          closed: "closed",
          locked: false,
        });
        expect(await child.exited).toBe(0);
        expect(statSync(join(directory, "dbx.db-wal")).size).toBeGreaterThan(0);
        const storage = await openWriting(directory);
        expect(await readAll(storage)).toHaveLength(2);
        expect(await recompute(storage)).toEqual([]);
        await storage.close();
      });
    },
    60_000,
  );
}
