// Random histories, with backups taken between any two steps: each backup, whole or standing on
// others, restores to exactly the events, states, queue and trail that there were at its moment.

import { expect, test } from "bun:test";
import { cpSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { findChain } from "../../src/backup/chain.ts";
import { createBackup } from "../../src/backup/create.ts";
import { unpackChain } from "../../src/backup/unpack.ts";
import { canonicalOf } from "../../src/model/canonical.ts";
import { realSystem } from "../../src/system.ts";
import { openStore, root, type TestStore } from "../support/store.ts";
import { tempDir } from "../support/temp.ts";

const dek = Buffer.alloc(32, 3).toString("base64");
const steps = [
  "append",
  "append",
  "stage",
  "commit",
  "archive",
  "restore",
  "erase",
  "backup",
] as const;
type Step = (typeof steps)[number];

const step = fc.record({
  what: fc.constantFrom(...steps),
  id: fc.integer({ min: 0, max: 3 }),
  count: fc.integer({ min: 1, max: 40 }),
  whole: fc.boolean(),
});

async function take(
  store: TestStore,
  { what, id, count }: { what: Step; id: number; count: number },
) {
  const key = { aggregate_type: "thing", aggregate_id: `t-${id}` };
  const event = (n: number) => ({
    ...{ ...key, event_type: "noted", payload: canonicalOf({ n, text: "x".repeat(n * 20) }) },
  });
  const all = Array.from({ length: count }, (_, n) => event(n));
  if (what === "append") await store.dbx.appendEvents(root, { events: all });
  if (what === "stage") await store.dbx.stageEvent(root, event(count));
  if (what === "commit") await store.dbx.commitStaged(root, {});
  if (what === "archive") await store.dbx.archiveAggregate(root, key);
  if (what === "restore") await store.dbx.restoreAggregate(root, key);
  if (what === "erase") await store.dbx.eraseAggregate(root, { ...key, reason: "asked" });
}

/** Everything that can be asked, and the files beside. */
async function portrait(directory: string): Promise<unknown> {
  const config = { data_encryption_key: dek };
  await using store = await openStore(directory, { access: "read", config });
  const events = await store.dbx.readLog(root, { after: 0, take: 1_000 });
  const ids = [...new Set(events.map(({ aggregate_id }) => aggregate_id))];
  const staged = join(directory, "staged_events.json");
  return {
    events,
    verified: await store.dbx.verifyLog(root, {}),
    aggregates: await Promise.all(
      ids.map((aggregate_id) =>
        store.dbx.getAggregate(root, { aggregate_type: "thing", aggregate_id }),
      ),
    ),
    trail: await store.dbx.listAudit(root, { take: 1_000 }),
    staged: existsSync(staged) ? readFileSync(staged, "utf8") : null,
  };
}

async function history(list: readonly { what: Step; id: number; count: number; whole: boolean }[]) {
  using dir = tempDir();
  const at = (name: string) => join(dir.path, name);
  const data_dir = at("db");
  const made: { output: string; copy: string }[] = [];
  {
    await using store = await openStore(data_dir, { config: { data_encryption_key: dek } });
    for (const each of [...list, { what: "backup", id: 0, count: 0, whole: false } as const]) {
      if (each.what !== "backup") {
        // A refusal is a step as good as any.
        await take(store, each).catch(() => undefined);
        continue;
      }
      const output = at(`${made.length}.dbx`);
      const since = each.whole ? null : (made.at(-1)?.output ?? null);
      await createBackup({
        ...{ data_dir, output, since, replace: false, passphrase: null, without: [] },
        config: async () => ({ path: at("config.toml"), text: null }),
        secretsOf: () => ({ secrets: [], excluded: [] }),
        system: realSystem,
        progress: { begin: () => undefined, advance: () => undefined },
      });
      // Nobody writes at this moment, so a copy of the files is the truth to compare with.
      const copy = at(`then-${made.length}`);
      cpSync(data_dir, copy, { recursive: true });
      made.push({ output, copy });
    }
  }
  for (const { output, copy } of made) {
    const directory = `${output}.unpacked`;
    mkdirSync(directory);
    const links = await findChain(output, { bases: [], passphrase: null });
    await unpackChain(links, { directory, passphrase: null, read: () => undefined });
    expect(await portrait(join(directory, "data"))).toEqual(await portrait(copy));
  }
}

test("each backup of a random history restores to what there was", async () => {
  const property = fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 20 }), history);
  const outcome = await fc.check(property, { numRuns: 12 });
  if (outcome.failed) throw new Error(`seed ${outcome.seed}: ${fc.defaultReportMessage(outcome)}`);
}, 120_000);
