// Taking over what another node has committed. Whoever imports is recorded: the events themselves
// name those who issued them there.

import type { Dbx } from "../api/dbx.ts";
import { erasedType } from "../model/aggregate.ts";
import { DbxError, failedPrecondition, invalidArgument, tooLarge } from "../model/error.ts";
import { planImports, type ImportContext, type ImportedEvent } from "../model/import.ts";
import type { ForeignEvent } from "../model/imported.ts";
import { limits } from "../model/limits.ts";
import { keyText } from "../model/stream.ts";
import type { Storage } from "../storage/storage.ts";
import type { Committer } from "./committer.ts";
import type { NoteOf } from "./noting.ts";
import type { Staging } from "./staging.ts";

export interface ImportingDeps {
  readonly storage: Storage;
  readonly committer: Committer;
  readonly staging: Staging;
  readonly noteOf: NoteOf;
  /** The system's clock: that of the log may be ahead, because it follows what was imported. */
  readonly system: { readonly now: () => string };
  readonly snapshotThresholdOf: ImportContext["snapshotThresholdOf"];
}

export function createImporting(deps: ImportingDeps): Pick<Dbx, "importEvents"> {
  const { storage, committer, staging, noteOf, system } = deps;
  return {
    importEvents: async (actor, { events: foreign, allow_future }) => {
      const events = foreign.map(imported);
      const erasures = events.filter(({ event_type }) => event_type === erasedType);
      if (erasures.length > 0) requireSealed(storage);
      const streams = new Map(events.map((event) => [keyText(event), event]));
      const counts = { events: events.length, aggregates: streams.size };
      await noteOf(actor)("events.import", String(events[0]?.event_id), counts);
      // Each look is one at the file of schemas.
      const thresholds = new Map<string, number | null>();
      const snapshotThresholdOf = (type: string): number | null => {
        const known = thresholds.get(type);
        if (known !== undefined) return known;
        const threshold = deps.snapshotThresholdOf(type);
        thresholds.set(type, threshold);
        return threshold;
      };
      const created_at_max = allow_future === true ? null : dayAfter(system.now());
      const ask = {
        keys: [...streams.values()].map(({ aggregate_type, aggregate_id }) => {
          return { aggregate_type, aggregate_id };
        }),
        event_ids: [...new Set(events.map(({ event_id }) => event_id))],
        token_ids: [],
      };
      const fresh = await committer.commitAlone(ask, (known) =>
        planImports(known, events, { created_at_max, snapshotThresholdOf }),
      );
      for (const { aggregate_type, aggregate_id } of erasures) {
        const key = { aggregate_type, aggregate_id };
        await staging.forget(key);
        await storage.forgetErased(key);
      }
      const last = fresh.at(-1)?.position;
      const position = last ?? (await storage.readLogHead()).frontier.size;
      return { imported: fresh.length, known: events.length - fresh.length, position };
    },
  };
}

const dayAfter = (now: string): string =>
  `${new Date(Date.parse(now) + 86_400_000).toISOString().slice(0, -1)}${now.slice(-4)}`;

/** Throws `invalid_argument` or `too_large`, with the index. */
function imported(event: ForeignEvent, index: number): ImportedEvent {
  try {
    return read(event);
  } catch (error) {
    if (!(error instanceof DbxError)) throw error;
    throw new DbxError(error.code, error.message, { index, ...error.details });
  }
}

function read(event: ForeignEvent): ImportedEvent {
  const { aggregate_type, aggregate_id, version, event_type, payload, metadata, salt } = event;
  const { event_id, created_at, issued_by, note = null, erased = false } = metadata;
  if (event_type.startsWith("$") && event_type !== erasedType) {
    throw invalidArgument(`no version of dbx knows events of type ${event_type}`, { event_type });
  }
  if (erased !== (salt === undefined)) {
    throw invalidArgument(
      erased
        ? "an event whose body is erased has no salt"
        : "salt is missing: without it nobody can check that payload and note are the first ones",
      { event_id },
    );
  }
  if (erased && (payload !== "null" || note !== null)) {
    throw invalidArgument("an event whose body is erased has the payload null and no note", {
      event_id,
    });
  }
  const bytes = Buffer.byteLength(payload);
  const limit = limits.payload_bytes_max;
  if (bytes > limit) throw tooLarge(`the payload has ${bytes} bytes, at most ${limit}`, { bytes });
  return {
    ...{ aggregate_type, aggregate_id, version, event_id, event_type, created_at, issued_by },
    content_digest: Uint8Array.fromHex(event.content_digest),
    hash: Uint8Array.fromHex(event.hash),
    merkle_root: Uint8Array.fromHex(event.merkle_root),
    body: salt === undefined ? null : { payload, note, salt: Uint8Array.fromHex(salt) },
  };
}

/** A node that could not forget must not take over that something is to be forgotten. */
function requireSealed(storage: Storage): void {
  if (storage.sealing() === "all") return;
  throw failedPrecondition(
    "events were erased at their origin, which this node cannot do because not everything here is " +
      "encrypted; give it a key with dbx config --dek",
    { encrypted: storage.sealing() },
  );
}
