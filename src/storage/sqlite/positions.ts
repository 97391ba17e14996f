// Where the events of a stream lie in the log. An index over (stream, version) would cost every
// append a page at random; instead the stream's row, which an append rewrites anyway, carries the
// positions of its last events, and every 64 of them move together into a `run` row that never
// changes again.

import { assert } from "../../model/error.ts";

/**
 * Versions per run: run r holds the positions of versions 64 r + 1 to 64 r + 64. Part of the
 * format.
 */
export const runVersions = 64;
/** Big-endian unsigned, so that positions up to 2^53 fit. Part of the format. */
export const positionBytes = 8;

export interface Run {
  readonly stream_id: number;
  readonly run: number;
  readonly positions: Uint8Array;
}

/**
 * The rest of a stream's positions and the runs that became full when `added` follow version
 * `version`.
 */
export function growPositions(
  { stream_id, version, positions }: { stream_id: number; version: number; positions: Uint8Array },
  added: readonly number[],
): { readonly positions: Uint8Array; readonly runs: readonly Run[] } {
  assert(
    positions.length === restBytes(version),
    "a stream's row has the positions since its last full run",
  );
  const all = new Uint8Array(positions.length + added.length * positionBytes);
  all.set(positions);
  const view = new DataView(all.buffer);
  let at = positions.length;
  for (const position of added) {
    view.setUint32(at, Math.floor(position / 2 ** 32));
    view.setUint32(at + 4, position % 2 ** 32);
    at += positionBytes;
  }
  const runs: Run[] = [];
  const runBytes = runVersions * positionBytes;
  let start = 0;
  for (; all.length - start >= runBytes; start += runBytes) {
    const run = Math.floor(version / runVersions) + runs.length;
    runs.push({ stream_id, run, positions: all.slice(start, start + runBytes) });
  }
  return { positions: start === 0 ? all : all.slice(start), runs };
}

export const restBytes = (version: number): number => (version % runVersions) * positionBytes;

/** `from` and `to` count places in the blob, `to` excluded. */
export function readPositions(blob: Uint8Array, from: number, to: number): number[] {
  const view = new DataView(blob.buffer, blob.byteOffset, blob.byteLength);
  const positions: number[] = [];
  for (let at = from * positionBytes; at < to * positionBytes; at += positionBytes) {
    positions.push(view.getUint32(at) * 2 ** 32 + view.getUint32(at + 4));
  }
  return positions;
}
