// The rows that say where an aggregate's older events lie (64 positions each) hold no fact of their
// own, but a wrong one would hide or misplace events: verify must tell every changed byte.

import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { join } from "node:path";
import { canonicalize } from "../../src/model/canonical.ts";
import { openStore, root } from "../support/store.ts";
import { tempDir } from "../support/temp.ts";

interface Run {
  readonly stream_id: number;
  readonly run: number;
  readonly positions: Uint8Array;
}

test("every changed byte, removed and added run of positions is found", async () => {
  using dir = tempDir();
  {
    await using writing = await openStore(dir.path);
    for (const aggregate_id of ["a", "b"]) {
      const events = Array.from({ length: 70 }, () => ({
        ...{ aggregate_type: "t", aggregate_id, event_type: "e" },
        payload: canonicalize("{}"),
      }));
      await writing.dbx.appendEvents(root, { events });
    }
  }
  using raw = new Database(join(dir.path, "dbx.db"));
  const triggers = raw
    .query<{ name: string; sql: string }, []>(
      "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'run'",
    )
    .all();
  const runs = raw.query<Run, []>("SELECT * FROM run").all();
  expect(runs).toHaveLength(2);
  const replace = (rows: readonly Run[]) =>
    raw.transaction(() => {
      for (const { name } of triggers) raw.run(`DROP TRIGGER ${name}`);
      raw.run("DELETE FROM run");
      for (const { stream_id, run, positions } of rows) {
        raw.prepare("INSERT INTO run VALUES (?, ?, ?)").run(stream_id, run, positions);
      }
      for (const { sql } of triggers) raw.run(sql);
    })();
  await using store = await openStore(dir.path, { access: "read" });
  const outcome = () =>
    store.dbx.verifyLog(root, {}).then(
      () => "verified",
      (error: unknown) => String(Object(error).code),
    );

  const missed: string[] = [];
  const expectTold = async (what: string, rows: readonly Run[]) => {
    replace(rows);
    const told = await outcome();
    if (told !== "data_corrupted") missed.push(`${what}: ${told}`);
  };
  const [first, second] = runs as [Run, Run];
  for (let at = 0; at < first.positions.length; at++) {
    const positions = first.positions.with(at, (first.positions[at] ?? 0) ^ 1);
    await expectTold(`byte ${at}`, [{ ...first, positions }, second]);
  }
  await expectTold("removed", [first]);
  await expectTold("added", [...runs, { ...first, run: 1 }]);
  await expectTold("added to no stream", [...runs, { ...first, stream_id: 99 }]);
  await expectTold("swapped", [
    { ...first, positions: second.positions },
    { ...second, positions: first.positions },
  ]);
  expect(missed).toEqual([]);
  replace(runs);
  expect(await outcome()).toBe("verified");
}, 60_000);
