// Merkle trees against the vectors that the Certificate Transparency implementations share.

import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import {
  emptyFrontier,
  emptyRoot,
  growFrontier,
  growFrontierBy,
  leafHash,
  nodeHash,
  rootOf,
  sha256,
  type Frontier,
} from "../../src/model/merkle.ts";

/** The leaves of the shared vectors, as bytes. All are below 0x80, so they are UTF-8 as well. */
const leaves = [
  ...["", "00", "10", "2021", "3031", "40414243", "5051525354555657"],
  "606162636465666768696a6b6c6d6e6f",
].map((hex) => Buffer.from(hex, "hex").toString());

const roots = [
  "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
  "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
  "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
  "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
  "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
  "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
  "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
  "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

const grow = (data: readonly string[]): Frontier =>
  data.reduce((frontier, leaf) => growFrontier(frontier, leafHash(leaf)), emptyFrontier);

describe("RFC 6962", () => {
  test("the root of no leaves is the hash of nothing", () => {
    const hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    expect(emptyRoot.toHex()).toBe(hex);
    expect(rootOf(emptyFrontier).toHex()).toBe(hex);
  });

  test.each(roots.map((root, index) => [index + 1, root] as const))(
    "the root of the first %i leaves is %s",
    (size, root) => {
      expect(rootOf(grow(leaves.slice(0, size))).toHex()).toBe(root);
    },
  );

  test("a leaf is hashed behind 0x00 and a node behind 0x01", () => {
    const plain = (...parts: (string | Uint8Array)[]) =>
      parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest("hex");
    const left = leafHash("é😀");
    const right = leafHash("");
    expect(sha256("é").toHex()).toBe(plain("é"));
    expect(left.toHex()).toBe(plain(Uint8Array.of(0), "é😀"));
    expect(nodeHash(left, right).toHex()).toBe(plain(Uint8Array.of(1), left, right));
  });
});

describe("a frontier", () => {
  test("is left as it was when a tree grows or its root is taken", () => {
    const seven = grow(leaves.slice(0, 7));
    const before = seven.nodes.toHex();
    const root = rootOf(seven).toHex();
    growFrontier(seven, leafHash("a"));
    growFrontier(seven, leafHash("b"));
    expect(seven.nodes.toHex()).toBe(before);
    expect(rootOf(seven).toHex()).toBe(root);
    expect(seven.size).toBe(7);
  });

  test("grows by many leaves at once as it does by one after the other", () => {
    for (let size = 0; size <= leaves.length; size++) {
      for (let more = 0; size + more <= leaves.length; more++) {
        const added = leaves.slice(size, size + more).map((leaf) => leafHash(leaf));
        const grown = growFrontierBy(grow(leaves.slice(0, size)), added);
        expect(grown).toEqual(grow(leaves.slice(0, size + more)));
      }
    }
  });

  test("that comes back from a storage as a Buffer is not written to", () => {
    const stored = { size: 7, nodes: Buffer.from(grow(leaves.slice(0, 7)).nodes) };
    const before = stored.nodes.toHex();
    expect(rootOf(stored).toHex()).toBe(roots[6] ?? "");
    expect(stored.nodes.toHex()).toBe(before);
    expect(rootOf(growFrontier(stored, leafHash(leaves[7] ?? ""))).toHex()).toBe(roots[7] ?? "");
  });

  test("does not change the hashes a node is made of", () => {
    const left = leafHash("a");
    const right = Buffer.from(leafHash("b"));
    nodeHash(left, right);
    expect(left.toHex()).toBe(leafHash("a").toHex());
    expect(right.toHex()).toBe(leafHash("b").toHex());
  });

  test("whose nodes do not fit its size cannot grow", () => {
    expect(() => growFrontier({ size: 3, nodes: new Uint8Array(32) }, emptyRoot)).toThrow(
      "one node for each set bit",
    );
  });
});
