// A stream that is changed on the way, at any byte of either direction: both ends notice, and
// nothing that was not said ever comes out.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Direction, Tamper } from "../support/session.ts";
import { answers, converse, questions } from "../support/session-talk.ts";

type Change = (piece: Buffer, at: number) => Buffer[] | null;
const changes: Readonly<Record<string, Change>> = {
  flipped: (piece, at) => {
    piece[at] = (piece[at] ?? 0) ^ (1 << (at & 7));
    return [piece];
  },
  dropped: (piece, at) => [piece.subarray(0, at), piece.subarray(at + 1)],
  doubled: (piece, at) => [piece.subarray(0, at + 1), piece.subarray(at)],
  // Another one than is there: the same would be a doubled one.
  inserted: (piece, at) => [
    piece.subarray(0, at),
    Buffer.of((piece[at] ?? 0) ^ (1 + (at & 127))),
    piece.subarray(at),
  ],
  "cut off": (piece, at) => (at === 0 ? null : [piece.subarray(0, at)]),
  "put in another order": (piece, at) => {
    const cut = Math.max(1, at);
    return [piece.subarray(cut), piece.subarray(0, cut)];
  },
};

/** At one byte of one direction; everything after a cut is gone. */
const tampering =
  (change: Change, direction: Direction, position: number, isCut: boolean): Tamper =>
  (piece, way, before) => {
    if (way !== direction) return [piece];
    const at = position - before;
    if (isCut && at <= 0) return null;
    return at >= 0 && at < piece.length ? change(piece, at) : [piece];
  };

/** What follows is the end of the session and of TLS, after which nothing is left to change. */
const endBytes = 27 + 24;

describe("a byte that is", () => {
  test.each(Object.entries(changes))(
    "%s ends the session for both, and what was said before is what was said",
    async (name, change) => {
      const { record } = await converse();
      const totals = { up: 0, down: 0 };
      for (const direction of ["up", "down"] as const) {
        for (const { length } of record?.[direction] ?? []) totals[direction] += length;
        expect(totals[direction]).toBeGreaterThan(3_000);
      }
      // One too many of the same, or one too few, shows where the next byte is another one. Within
      // four bytes it is, but for once in four thousand million times.
      const shift = name === "doubled" || name === "dropped" ? 4 : 0;
      const place = fc.constantFrom<Direction>("up", "down").chain((direction) =>
        fc.record({
          direction: fc.constant(direction),
          // Where the handshake is, anywhere, and the last that is left to change.
          position: fc.oneof(
            fc.nat(1_500),
            fc.nat(totals[direction] - endBytes - 1 - shift),
            fc.constant(totals[direction] - endBytes - 1 - shift),
          ),
        }),
      );
      await fc.assert(
        fc.asyncProperty(place, async ({ direction, position }) => {
          const tamper = tampering(change, direction, position, name === "cut off");
          const { asked, replied } = await converse(tamper);
          const heard = [asked?.texts ?? [], replied?.texts ?? []];
          const said = [answers, questions];
          expect(heard).toEqual(said.map((texts, side) => texts.slice(0, heard[side]?.length)));
          expect([asked?.failed ?? true, replied?.failed ?? true]).toEqual([true, true]);
        }),
        { numRuns: 50 },
      );
    },
    120_000,
  );
});

test("no byte of the greeting and its answer can be another, even where it means the same", async () => {
  // The place of the key, which version 2 does not read, and a letter of `ok`.
  const changed: readonly (readonly [Direction, number])[] = [
    ["up", 40],
    ["down", 32],
  ];
  for (const [direction, position] of changed) {
    const { asked, replied } = await converse(
      tampering(
        (piece, at) => {
          piece[at] = 0x6b;
          return [piece];
        },
        direction,
        position,
        false,
      ),
    );
    expect([asked, replied]).toEqual([null, null]);
  }
});
