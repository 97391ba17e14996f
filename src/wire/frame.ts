// Messages of Cap'n Proto out of a stream of bytes, by the standard segment table: how many
// segments, how long each is, then the segments. A stranger writes that table, so it is judged
// before anything is kept or made because of it.

import { invalidArgument, tooLarge } from "../model/error.ts";

export interface FrameBounds {
  /** Segments of one message. */
  readonly segments_max: number;
  /** All segments of one message together. */
  readonly bytes_max: number;
}

/** One whole message. */
export interface Frame {
  /** Views into `buffer`. */
  readonly segments: readonly Uint8Array[];
  /**
   * Table and segments, and zeros behind them: capnp-es looks for four bytes a segment behind the
   * table, and refuses messages of many small segments otherwise.
   */
  readonly buffer: ArrayBuffer;
}

export interface FrameReader {
  /** Takes bytes as they come, whatever they are part of. Looks at nothing. */
  readonly push: (piece: Uint8Array) => void;
  /**
   * The next message, or null while it is not whole. Throws `invalid_argument` or `too_large` as
   * soon as the table shows it; after that the stream cannot be followed any more.
   */
  readonly next: () => Frame | null;
  /** Bytes that wait. */
  readonly held: () => number;
  /** Bytes of the message that has begun, once its table is there; 0 before. */
  readonly announced: () => number;
}

const word = 8;

export function createFrameReader(bounds: FrameBounds): FrameReader {
  let bytes = new Uint8Array();
  let start = 0;
  let end = 0;
  let table: Table | null = null;
  return {
    push(piece) {
      if (end + piece.length > bytes.length) {
        // Twice what is there, so that a message in many pieces is not copied for each; never more
        // because the table promises it, but less.
        const held = end - start;
        const wanted = Math.min(2 * held, table?.bytes ?? Infinity);
        const room = new Uint8Array(Math.max(held + piece.length, wanted));
        room.set(bytes.subarray(start, end));
        bytes = room;
        start = 0;
        end = held;
      }
      bytes.set(piece, end);
      end += piece.length;
    },
    next() {
      const held = bytes.subarray(start, end);
      table ??= readTable(held, bounds);
      if (table === null || held.length < table.bytes) return null;
      const frame = frameOf(held, table);
      start += table.bytes;
      table = null;
      // What is left is somebody's next message; nothing is kept for it beforehand.
      if (start === end) {
        bytes = new Uint8Array();
        start = 0;
        end = 0;
      }
      return frame;
    },
    held: () => end - start,
    announced: () => table?.bytes ?? 0,
  };
}

interface Table {
  /** Bytes of each segment. */
  readonly lengths: readonly number[];
  /** Bytes of the table itself. */
  readonly own: number;
  /** Bytes of the whole message. */
  readonly bytes: number;
}

/** Null where it is not whole yet. */
function readTable(held: Uint8Array, { segments_max, bytes_max }: FrameBounds): Table | null {
  if (held.length < 4) return null;
  const view = new DataView(held.buffer, held.byteOffset, held.length);
  const count = view.getUint32(0, true) + 1;
  if (count > segments_max) {
    throw invalidArgument(`a message has at most ${segments_max} segments`, {
      segments: count,
      limit: segments_max,
    });
  }
  const own = Math.ceil((4 + 4 * count) / word) * word;
  if (held.length < own) return null;
  const lengths: number[] = [];
  let sum = 0;
  for (let index = 0; index < count; index++) {
    const length = view.getUint32(4 + 4 * index, true) * word;
    lengths.push(length);
    sum += length;
  }
  if (sum > bytes_max) {
    throw tooLarge(`a message has at most ${bytes_max} bytes`, { bytes: sum, limit: bytes_max });
  }
  return { lengths, own, bytes: own + sum };
}

function frameOf(held: Uint8Array, { lengths, own, bytes }: Table): Frame {
  const buffer = new ArrayBuffer(bytes + 4 * lengths.length);
  new Uint8Array(buffer).set(held.subarray(0, bytes));
  let at = own;
  const segments = lengths.map((length) => {
    at += length;
    return new Uint8Array(buffer, at - length, length);
  });
  return { segments, buffer };
}
