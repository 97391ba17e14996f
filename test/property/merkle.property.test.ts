// Growing a frontier leaf by leaf against the recursive definition of RFC 6962 section 2.1.

import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import fc from "fast-check";
import {
  emptyFrontier,
  growFrontier,
  leafHash,
  rootOf,
  type Frontier,
} from "../../src/model/merkle.ts";
import { runs, runs_ms_max } from "../support/json-texts.ts";

const hash = (...parts: readonly (string | Uint8Array)[]): Buffer =>
  parts.reduce((sum, part) => sum.update(part), createHash("sha256")).digest();

/** MTH of the RFC, word for word: k is the largest power of two smaller than n. */
function merkleTreeHash(leaves: readonly string[]): Buffer {
  if (leaves.length === 0) return hash();
  if (leaves.length === 1) return hash(Uint8Array.of(0), leaves[0] ?? "");
  let k = 1;
  while (k * 2 < leaves.length) k *= 2;
  return hash(
    Uint8Array.of(1),
    merkleTreeHash(leaves.slice(0, k)),
    merkleTreeHash(leaves.slice(k)),
  );
}

const bitsOf = (size: number): number => size.toString(2).replaceAll("0", "").length;

const trees = fc.array(fc.string({ unit: "grapheme", maxLength: 5 }), { maxLength: 70 });

const grow = (leaves: readonly string[], from: Frontier = emptyFrontier): Frontier =>
  leaves.reduce((frontier, leaf) => growFrontier(frontier, leafHash(leaf)), from);

test(
  "a frontier has the recursive definition's root and one node per set bit of its size",
  () => {
    fc.assert(
      fc.property(trees, (leaves) => {
        let frontier = emptyFrontier;
        leaves.forEach((leaf, index) => {
          frontier = growFrontier(frontier, leafHash(leaf));
          expect(frontier.size).toBe(index + 1);
          expect(frontier.nodes.length).toBe(32 * bitsOf(index + 1));
        });
        expect(rootOf(frontier).toHex()).toBe(merkleTreeHash(leaves).toString("hex"));
      }),
      runs(300),
    );
  },
  runs_ms_max,
);

test(
  "every size up to 300 has the root of the recursive definition",
  () => {
    const leaves = Array.from({ length: 300 }, (_, index) => `leaf ${index}`);
    let frontier = emptyFrontier;
    for (const [index, leaf] of leaves.entries()) {
      expect(rootOf(frontier).toHex()).toBe(merkleTreeHash(leaves.slice(0, index)).toString("hex"));
      frontier = growFrontier(frontier, leafHash(leaf));
    }
  },
  runs_ms_max,
);

test(
  "a frontier that was stored and read again grows like the first one",
  () => {
    fc.assert(
      fc.property(trees, trees, (before, after) => {
        const first = grow(before);
        const stored: Frontier = { size: first.size, nodes: new Uint8Array(first.nodes) };
        expect(rootOf(grow(after, stored)).toHex()).toBe(rootOf(grow(after, first)).toHex());
      }),
      runs(200),
    );
  },
  runs_ms_max,
);

test(
  "another leaf anywhere, or two in another order, make another root",
  () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.string(), { minLength: 2, maxLength: 40 }),
        fc.nat(),
        (leaves, n) => {
          const root = rootOf(grow(leaves)).toHex();
          const index = n % leaves.length;
          const other = (index + 1) % leaves.length;
          expect(rootOf(grow(leaves.with(index, `${leaves[index]}x`))).toHex()).not.toBe(root);
          const swapped = leaves.with(index, leaves[other] ?? "").with(other, leaves[index] ?? "");
          expect(rootOf(grow(swapped)).toHex()).not.toBe(root);
        },
      ),
      runs(200),
    );
  },
  runs_ms_max,
);
