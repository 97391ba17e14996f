// What tests of sealing share: two keys, events with secrets in them, and a look for those in the
// files of a directory.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { canonicalOf } from "../../src/model/canonical.ts";
import type { PlannedEvent } from "../../src/model/plan.ts";
import type { StreamKey } from "../../src/model/stream.ts";
import { append, change, context, event, openWriting, readAll, transaction } from "./storage.ts";

export const dek = new Uint8Array(32).fill(1);
export const other = new Uint8Array(32).fill(2);

export const secrets = ["secret-payload-7f3a", "secret-note-91bc", "secret-member-44d0"] as const;

/** How a compressed block begins that is not sealed. */
export const zstdFrame = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd);

export const secretEvent = (key: StreamKey, index: number): PlannedEvent =>
  event(key, {
    payload: canonicalOf({ a: `${secrets[0]}-${index}`, [secrets[2]]: [index] }),
    note: secrets[1],
  });

export const erasing = (key: StreamKey): PlannedEvent =>
  event(key, { event_type: "$erased", erasure: { reason: "asked for" } });

export const sealedStream = (index: number): StreamKey => ({
  aggregate_type: "sealed",
  aggregate_id: `s${index}`,
});

/** Of which one is in the archive, and one has been there. */
export const sealedStreams = 8;

/** A store that is full of secrets. Out: all that was written, as it has to be read for ever. */
export async function fillWithSecrets(directory: string, key: Uint8Array | null) {
  const storage = await openWriting(directory, { dek: key, durability: "normal" });
  const snapshotting = { ...context, snapshotThresholdOf: () => 20 };
  for (let first = 0; first < 800; first += 200) {
    const events = Array.from({ length: 200 }, (_, index) =>
      secretEvent(sealedStream(index % sealedStreams), first + index),
    );
    await append(storage, [transaction(events)], snapshotting);
  }
  // So many keys that exchanging the one above them takes several transactions.
  const alone = Array.from({ length: 600 }, (_, index) =>
    secretEvent({ aggregate_type: "single", aggregate_id: `s${index}` }, index),
  );
  await append(storage, [transaction(alone)]);
  for (const index of [0, 1]) await storage.archiveStream(sealedStream(index), change);
  await storage.restoreStream(sealedStream(1), change);
  const events = await readAll(storage);
  await storage.close();
  return events;
}

/** Which of these bytes stand anywhere in the files of a directory. */
export function foundIn(directory: string, needles: readonly (string | Uint8Array)[]): string[] {
  const files = readdirSync(directory).map((name) => ({
    name,
    bytes: readFileSync(join(directory, name)),
  }));
  return needles.flatMap((needle) =>
    files
      .filter(({ bytes }) => bytes.includes(needle))
      .map(({ name }) => `${name}: ${String(needle)}`),
  );
}
