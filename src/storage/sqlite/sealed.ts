// What is in sealed columns: made before a row is written, opened after it was read. Which purpose
// and names each value is bound to is part of the format.

import type { State } from "../../model/aggregate.ts";
import type { Canonical } from "../../model/canonical.ts";
import { showKey, type StreamKey } from "../../model/stream.ts";
import { seal, unseal, type Identity } from "../seal.ts";
import { noteOf, type Body } from "./blocks.ts";
import { notOpened } from "./failure.ts";
import type { Keyring } from "./keyring.ts";
import { saltBytes, type EventRow } from "./rows.ts";

/** A stream by its names and by its number, under which its key stands. */
export interface StreamRef extends StreamKey {
  readonly stream_id: number;
}

interface Versioned extends StreamKey {
  readonly version: number;
}

const identityOf = (
  purpose: "body" | "state" | "snapshot",
  { aggregate_type, aggregate_id, version }: Versioned,
): Identity => [purpose, aggregate_type, aggregate_id, version];

/** Salt, note as JSON, a line feed, payload: JSON on one line has none. */
export function sealBody(key: Uint8Array, event: Versioned & Body): Uint8Array {
  const text = Buffer.from(`${JSON.stringify(event.note)}\n${event.payload}`);
  return seal(key, identityOf("body", event), Buffer.concat([event.salt, text]));
}

export const sealState = (
  key: Uint8Array,
  purpose: "state" | "snapshot",
  of: Versioned & { readonly state: State },
): Uint8Array => seal(key, identityOf(purpose, of), of.state);

/** What the two columns of a state hold: one of them is empty. */
export function stateColumns(
  keyring: Keyring,
  purpose: "state" | "snapshot",
  of: Versioned & { readonly stream_id: number; readonly state: State },
): { readonly state: string; readonly sealed: Uint8Array | null } {
  if (!keyring.seals()) return { state: of.state, sealed: null };
  const key = keyring.keyFor(of.stream_id);
  return { state: "", sealed: sealState(key, purpose, of) };
}

export type Opener = ReturnType<typeof createOpener>;

export function createOpener(keyring: Keyring) {
  /** Null where it does not open. A second look, because an erasure may have replaced the key. */
  const bytes = (stream_id: number, identity: Identity, sealed: unknown): Buffer | null => {
    if (!(sealed instanceof Uint8Array)) return null;
    const key = keyring.keyOf(stream_id);
    const opened = key === undefined ? null : unseal(key, identity, sealed);
    if (opened !== null) return opened;
    const again = keyring.keyAgain(stream_id);
    return again === undefined ? null : unseal(again, identity, sealed);
  };
  return {
    bytes,
    erasedOf: keyring.erasedOf,
    /** The row with its body in clear; without, where it was erased meanwhile. */
    event: (row: EventRow): EventRow => {
      const { aggregate_type, aggregate_id, stream_id, version, sealed } = row;
      if (sealed === null || aggregate_type === null || aggregate_id === null) return row;
      if (version <= (row.erased ?? 0)) return row;
      const of = { aggregate_type, aggregate_id, version };
      const opened = bytes(stream_id, identityOf("body", of), sealed);
      if (opened !== null) return { ...row, ...bodyIn(opened) };
      const erased = keyring.erasedOf(stream_id);
      if (version <= erased) return { ...row, erased };
      throw notOpened(`the body of ${showKey(of)} version ${version}`, of);
    },
    /** Null where it does not open. */
    state: (
      purpose: "state" | "snapshot",
      row: Versioned & {
        readonly stream_id: number;
        readonly state: string;
        readonly sealed: unknown;
      },
    ): string | null =>
      row.sealed === null
        ? row.state
        : (bytes(row.stream_id, identityOf(purpose, row), row.sealed)?.toString() ?? null),
  };
}

function bodyIn(opened: Buffer): Body {
  const text = opened.toString("utf8", saltBytes);
  const end = text.indexOf("\n");
  const note = noteOf(text.slice(0, end));
  const salt = new Uint8Array(opened.subarray(0, saltBytes));
  return { salt, note, payload: text.slice(end + 1) as Canonical };
}
