// Two connections as one: what comes in at one end goes out at the other, in order, with bounded
// memory. It neither reads the bytes nor knows what they mean.

import type { Socket } from "bun";

/** As in model/limits.ts; tests hand in smaller ones. */
export interface SpliceBounds {
  /** How much may wait for a socket before whoever sends is paused. */
  readonly splice_bytes_max: number;
  /** How long a socket may take nothing of what waits for it; 0 for ever. */
  readonly stall_seconds_max: number;
}

/** One of two joined sockets, and what it could not send yet. */
export interface End {
  readonly socket: Socket<End>;
  readonly bounds: SpliceBounds;
  /** Null before the two are joined, and when the other one is gone. */
  other: End | null;
  readonly unsent: Uint8Array[];
  unsent_bytes: number;
  /** What happens when everything is sent: nothing, the writing half ends, or the whole socket. */
  afterwards: "open" | "half" | "whole";
}

export function createEnd(socket: Socket<End>, bounds: SpliceBounds): End {
  return { socket, bounds, other: null, unsent: [], unsent_bytes: 0, afterwards: "open" };
}

export function join(left: End, right: End): void {
  left.other = right;
  right.other = left;
}

/**
 * Sends a piece, or keeps what the socket does not take; beyond `splice_bytes_max` whoever sends is
 * paused. Bun hands out a buffer of its own for each piece, so keeping one needs no copy.
 */
export function send(to: End, piece: Uint8Array): void {
  let rest = piece;
  if (to.unsent_bytes === 0) {
    const sent = to.socket.write(piece);
    // Below zero the socket is closed, of which its own event tells.
    if (sent === piece.length || sent < 0) return;
    rest = piece.subarray(sent);
  }
  // From here on it may be paused, and nobody hears of the end of what is paused.
  if (to.unsent_bytes === 0) to.socket.timeout(to.bounds.stall_seconds_max);
  to.unsent.push(rest);
  to.unsent_bytes += rest.length;
  if (to.unsent_bytes > to.bounds.splice_bytes_max) to.other?.socket.pause();
}

/** To be called when the socket takes more. */
export function sendMore(to: End): void {
  let done = 0;
  for (const piece of to.unsent) {
    const sent = to.socket.write(piece);
    if (sent < 0) return;
    to.unsent_bytes -= sent;
    if (sent < piece.length) {
      to.unsent[done] = piece.subarray(sent);
      break;
    }
    done++;
  }
  to.unsent.splice(0, done);
  to.socket.timeout(to.unsent_bytes > 0 ? to.bounds.stall_seconds_max : 0);
  if (to.unsent_bytes > 0) return;
  if (to.afterwards !== "open") finish(to, to.afterwards);
  to.other?.socket.resume();
}

/** Ends a socket, or its writing half only, once it has sent everything. */
export function finish(end: End, how: "half" | "whole"): void {
  if (end.afterwards !== "whole") end.afterwards = how;
  if (end.unsent_bytes > 0) return;
  if (end.afterwards === "whole") end.socket.end();
  else end.socket.shutdown();
}
