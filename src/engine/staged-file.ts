// `staged_events.json`: read whole and replaced whole, with every payload as exact as it was
// staged. What its entries mean is in engine/staging.ts.

import { stat } from "node:fs/promises";
import { decode } from "../api/decode.ts";
import { fromJson, levelsAround, toJson } from "../api/json.ts";
import { canonicalize, canonicalOf } from "../model/canonical.ts";
import { dataCorrupted, DbxError } from "../model/error.ts";
import { sha256 } from "../model/merkle.ts";
import { StagedEntries, type StagedEntry, type StagedEvent } from "../model/staged.ts";
import { sealedDocument, type SealedDocument } from "../storage/documents.ts";
import type { Vault } from "../storage/storage.ts";

/** What the file holds, in its order. */
export interface StagedContents {
  readonly events: readonly StagedEvent[];
  /** Ids that no client and no dbx chose: EventDBX 1 wrote these events without any. */
  readonly derived: ReadonlySet<string>;
}

export interface StagedFile {
  /**
   * A missing or blank file holds nothing. Rejects with `data_corrupted` and `details.path` where
   * it is not what dbx or EventDBX 1.15.3 writes.
   */
  readonly read: () => Promise<StagedContents>;
  /** Durable when resolved; after a crash there are the old events or these. */
  readonly write: (events: readonly StagedEvent[]) => Promise<void>;
}

/**
 * Its contents stay in memory as long as the file looks unchanged, whoever wrote it: parsing takes
 * too long to be done for every step. Steps come one after the other.
 */
export function openStaged(path: string, vault: Vault | null): StagedFile {
  const file = sealedDocument(path, vault);
  let seen: { readonly stamp: string; readonly contents: StagedContents } | null = null;
  return {
    async read() {
      // Looked at before it is read, so that a change between the two is found the next time.
      const stamp = await stampOf(path);
      if (seen !== null && seen.stamp === stamp) return seen.contents;
      seen = null;
      const contents = await readStaged(file);
      if (stamp !== null) seen = { stamp, contents };
      return contents;
    },
    async write(events) {
      // Even a write that fails may have replaced the file.
      seen = null;
      await writeStaged(file, events);
      const stamp = await stampOf(path);
      if (stamp !== null) seen = { stamp, contents: { events, derived: new Set() } };
    },
  };
}

/** Differs when the file was written or replaced; null where that cannot be told. */
async function stampOf(path: string): Promise<string | null> {
  const found = await stat(path, { bigint: true }).catch(() => null);
  if (found === null) return null;
  const { dev, ino, size, mtimeNs, ctimeNs } = found;
  return [dev, ino, size, mtimeNs, ctimeNs].join(" ");
}

const envelope = levelsAround(StagedEntries);
const empty = canonicalOf(null);

async function readStaged({ path, read }: SealedDocument): Promise<StagedContents> {
  const text = (await read()) ?? "";
  if (text.trim() === "") return { events: [], derived: new Set() };
  const derived = new Set<string>();
  const events = parse(path, text).map((entry, index): StagedEvent => {
    const event_id = entry.event_id?.toLowerCase() ?? derivedId(index, entry);
    if (entry.event_id === undefined) derived.add(event_id);
    return {
      aggregate_type: entry.aggregate,
      aggregate_id: entry.aggregate_id,
      event_type: entry.event,
      payload: entry.payload ?? empty,
      note: entry.note ?? null,
      event_id,
      expected_version: entry.expected_version ?? "any",
      issued_by: entry.issued_by ?? null,
      staged_at: entry.staged_at ?? null,
    };
  });
  return { events, derived };
}

function writeStaged(file: SealedDocument, events: readonly StagedEvent[]): Promise<void> {
  const entries = events.map(({ aggregate_type, event_type, ...event }) =>
    textOf({ aggregate: aggregate_type, event: event_type, ...event }),
  );
  const text = entries.length === 0 ? "[]\n" : `[\n${entries.join(",\n")}\n]\n`;
  return file.replace(text);
}

/** One member on a line; a payload laid out over many lines could be a hundred times as long. */
function textOf({ payload, ...entry }: StagedEntry): string {
  const members = Object.entries(entry).map(([name, value]) => [name, JSON.stringify(value)]);
  const lines = [...members, ["payload", payload]].map(([name, text]) => `    "${name}": ${text}`);
  return `  {\n${lines.join(",\n")}\n  }`;
}

function parse(path: string, text: string): StagedEntry[] {
  try {
    return decode(StagedEntries, fromJson(StagedEntries, canonicalize(text, { envelope })));
  } catch (cause) {
    if (!(cause instanceof DbxError)) throw cause;
    throw dataCorrupted(
      `${path} cannot be read: ${cause.message}; restore it from a backup or move it away`,
      { ...cause.details, path },
      { cause },
    );
  }
}

/** The same id at every look, also where nothing may be written: a UUID of version 8 (RFC 9562). */
function derivedId(index: number, entry: StagedEntry): string {
  const hash = sha256(`${index} ${toJson(StagedEntries.items, entry)}`).toHex();
  const parts = [hash.slice(0, 8), hash.slice(8, 12), `8${hash.slice(12, 15)}`];
  return [...parts, `8${hash.slice(15, 18)}`, hash.slice(18, 30)].join("-");
}
