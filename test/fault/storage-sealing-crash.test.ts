// kill -9 while a store with writers is sealed or gets another key, again and again until that has
// ended: what was acknowledged is there, everything verifies, and no secret lies in clear in the
// end. storage-sealing-syscall.test.ts kills at each kind of write, while streams are erased, too.

import { expect, test } from "bun:test";
import { join } from "node:path";
import { readLines, type Acknowledged } from "../support/fault-lines.ts";
import { dek, fillWithSecrets, foundIn, other, secrets, zstdFrame } from "../support/sealing.ts";
import { openReading, openWriting, readAll, recompute, withDirectory } from "../support/storage.ts";

const script = join(import.meta.dir, "../support/fault-sealing.ts");
/** Kills of each work; those behind them let it end. */
const kills = Number(process.env["FAULT_KILLS"] ?? 3);

for (const mode of ["inline", "both"] as const) {
  test(`kills while what is older is sealed and others write lose nothing (${mode})`, async () => {
    await withDirectory(async (directory) => {
      const before = await fillWithSecrets(directory, null);
      const appended: Acknowledged[] = [];
      const seen = new Set<string>();
      for (let round = 0; round < kills; round++) {
        appended.push(...(await killed([directory, mode, "seal"])));

        const reading = await openReading(directory, { dek });
        seen.add(reading.sealing());
        await sound(reading, { before, appended });
        await reading.close();
      }
      // Kills that never came in the middle would prove nothing.
      expect(seen).toContain("partly");
      const storage = await openWriting(directory, { dek });
      await storage.sealOlder(() => undefined);
      await sound(storage, { before, appended });
      await storage.close();
      expect(foundIn(directory, [...secrets, zstdFrame])).toEqual([]);
    });
  }, 60_000);

  test(`kills while the key is exchanged and others write lose nothing (${mode})`, async () => {
    await withDirectory(async (directory) => {
      const before = await fillWithSecrets(directory, dek);
      const appended: Acknowledged[] = [];
      for (let round = 0; round < kills; round++) {
        // Until it has ended the first key opens the store, so each round goes on with it.
        if (!(await opens(directory, dek))) break;
        appended.push(...(await killed([directory, mode, "rotate"])));

        const opening = [dek, other].map((key) => opens(directory, key));
        expect(await Promise.all(opening)).toContain(true);
      }
      if (await opens(directory, dek)) {
        const storage = await openWriting(directory, { dek });
        await storage.rotateKey(other, async () => undefined);
        await storage.close();
      }
      expect(await opens(directory, dek)).toBe(false);
      const storage = await openWriting(directory, { dek: other });
      await sound(storage, { before, appended });
      await storage.close();
    });
  }, 60_000);
}

/** Runs the script and kills it after some lines. Out: the events that it acknowledged. */
async function killed(argv: readonly string[]): Promise<Acknowledged[]> {
  const child = Bun.spawn([process.execPath, script, ...argv], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
  });
  let left = 1 + Math.floor(Math.random() * 12);
  const appended: Acknowledged[] = [];
  await readLines(child, (line) => {
    if ("event_id" in line) appended.push(line);
    if (--left === 0) child.kill("SIGKILL");
  });
  await child.exited;
  // It may have ended before that many lines.
  expect([child.signalCode, child.exitCode]).toContainEqual(left > 0 ? 0 : "SIGKILL");
  return appended;
}

async function sound(
  storage: Awaited<ReturnType<typeof openWriting>>,
  { before, appended }: { before: readonly object[]; appended: readonly Acknowledged[] },
): Promise<void> {
  const events = await readAll(storage);
  expect(events.slice(0, before.length)).toEqual(before as typeof events);
  const ids = new Map(events.map(({ event_id, position }) => [event_id, position]));
  for (const { event_id, position } of appended) expect(ids.get(event_id)).toBe(position);
  expect(await recompute(storage)).toEqual([]);
}

async function opens(directory: string, key: Uint8Array): Promise<boolean> {
  return openReading(directory, { dek: key }).then(
    async (storage) => {
      await storage.close();
      return true;
    },
    (error: unknown) => {
      expect(error).toMatchObject({ code: "failed_precondition" });
      return false;
    },
  );
}
