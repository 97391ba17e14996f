// Messages of Cap'n Proto that have been damaged at random: each is read, within its bounds, or
// refused for a reason. Nothing of the library behind shows.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { DbxError } from "../../src/model/error.ts";
import { decodeCommand, protocolOf } from "../../src/wire/control.ts";
import { createFrameReader } from "../../src/wire/frame.ts";
import { encodeRequest, far, framed, list, short, struct, wide, words } from "../support/capnp.ts";
import { runs, runs_ms_max } from "../support/json-texts.ts";

const bounds = { words_max: 8_192, pointers_max: 1_000, depth_max: 64, args_max: 1_100 };

const whole = [
  encodeRequest(["plugin", "list", "--json"], "token"),
  encodeRequest([]),
  framed(
    words(far(1, 0)),
    words(struct(0, 0, 2), far(2, 0, "double"), far(3, 0)),
    words(far(3, 2), list(0, 6, 1)),
    words(list(0, 2, 6), short("token"), list(0, 2, 3), short("ls")),
  ),
  framed(
    words(struct(0, 1, 3), 7n, list(2, 6, 1), 0n, struct(-1, 0, 0), list(0, 2, 3), short("x")),
  ),
];

/** Where, and which bits: mostly one, because what is wholly broken is refused at once. */
const flaw = fc.tuple(
  fc.nat(),
  fc.oneof(
    fc.nat(7).map((bit) => 1 << bit),
    fc.nat(255),
  ),
);

test(
  "a damaged message is read or refused, and never more than it holds",
  () => {
    let read = 0;
    fc.assert(
      fc.property(fc.constantFrom(...whole), fc.array(flaw, { maxLength: 4 }), (bytes, flaws) => {
        const damaged = new Uint8Array(bytes);
        for (const [at, bits] of flaws) damaged[at % damaged.length]! ^= bits;
        const reader = createFrameReader(wide);
        reader.push(damaged);
        try {
          const frame = reader.next();
          if (frame === null) return;
          protocolOf(frame, bounds);
          const { args, token } = decodeCommand(frame, bounds);
          read++;
          const bytes_read = Buffer.byteLength([...args, token].join(""));
          expect(bytes_read).toBeLessThanOrEqual(bounds.words_max * 8);
          expect([...args, token].join("").isWellFormed()).toBe(true);
        } catch (error) {
          if (!(error instanceof DbxError)) throw error;
          expect(["invalid_argument", "too_large"]).toContain(error.code);
        }
      }),
      runs(20_000),
    );
    expect(read).toBeGreaterThan(1_000);
  },
  runs_ms_max,
);
