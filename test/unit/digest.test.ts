// The content digest against node:crypto over the plain concatenation, on both sides of the size up
// to which one kept buffer serves all bodies.

import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { canonicalOf } from "../../src/model/canonical.ts";
import { contentDigest } from "../../src/model/plan.ts";

const salt = Uint8Array.from({ length: 16 }, (_, index) => 255 - index);

function expected(note: string | null, payload: string): string {
  const content = `{"note":${JSON.stringify(note)},"payload":${payload}}`;
  return createHash("sha256").update(salt).update(content, "utf8").digest("hex");
}

describe("the content digest", () => {
  // A third of 16 KiB is where a text of three-byte characters may no longer fit.
  const lengths = [0, 1, 250, 5_300, 5_400, 5_430, 5_450, 5_500, 16_384, 20_000, 300_000];
  const characters = ["x", "é", "病", "😀"];
  test.each(lengths)("is that of the bytes at %i characters", (length) => {
    for (const character of characters) {
      const payload = canonicalOf({ text: character.repeat(length) });
      for (const note of [null, "", 'a "note" – 📝', character.repeat(128)]) {
        const digest = contentDigest({ salt, note, payload }).toHex();
        expect(digest).toBe(expected(note, payload));
      }
    }
  });

  test("of a short body after a long one has nothing of the long one", () => {
    const long = canonicalOf({ text: "y".repeat(5_000) });
    const short = canonicalOf({ a: 1 });
    contentDigest({ salt, note: null, payload: long });
    const digest = contentDigest({ salt, note: null, payload: short }).toHex();
    expect(digest).toBe(expected(null, short));
  });
});
