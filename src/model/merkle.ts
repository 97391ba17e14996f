// RFC 6962 section 2.1 (Certificate Transparency) Merkle tree hashes over SHA-256: leaf, node, and a
// frontier that grows by one leaf in O(log n) without the old leaves. Not here: proofs.
// The tests compare this with the RFC's recursive definition.

import { assert } from "./error.ts";

/** 32 bytes. */
export type Digest = Uint8Array;

/**
 * The roots of the complete subtrees a tree of `size` leaves decomposes into, left to right:
 * one per set bit of `size`, 32 bytes each, joined. With `size` it determines the root.
 */
export interface Frontier {
  readonly size: number;
  readonly nodes: Uint8Array;
}

export const digestBytes = 32;

/** SHA-256 of bytes, or of a string's UTF-8. */
export const sha256 = (input: string | Uint8Array): Digest => {
  const digest = new Uint8Array(digestBytes);
  Bun.SHA256.hash(input, digest);
  return digest;
};

/** The root of a tree without leaves: SHA-256 of nothing. */
export const emptyRoot: Digest = sha256("");

export const emptyFrontier: Frontier = { size: 0, nodes: new Uint8Array(0) };

/** SHA-256(0x00 ‖ data): the hash of one leaf whose data is the UTF-8 of `data`. */
export const leafHash = (data: string): Digest => sha256(`\u0000${data}`);

/** The frontier after one more leaf. */
export function growFrontier(frontier: Frontier, leaf: Digest): Frontier {
  const depth = frontier.nodes.length;
  // Every complete subtree on the right that is as large as the new one merges with it.
  let kept = depth;
  let node = leaf;
  for (let rest = frontier.size; rest % 2 === 1; rest = Math.floor(rest / 2)) {
    kept -= digestBytes;
    assert(kept >= 0, "a frontier has one node for each set bit of its size");
    node = nodeHash(frontier.nodes.subarray(kept, kept + digestBytes), node);
  }
  const nodes = new Uint8Array(kept + digestBytes);
  nodes.set(frontier.nodes.subarray(0, kept));
  nodes.set(node, kept);
  return { size: frontier.size + 1, nodes };
}

/** The root of the tree a frontier stands for: its nodes folded from the right. */
export function rootOf(frontier: Frontier): Digest {
  let offset = frontier.nodes.length - digestBytes;
  if (offset < 0) return emptyRoot;
  let root: Digest = frontier.nodes.slice(offset, offset + digestBytes);
  while (offset > 0) {
    offset -= digestBytes;
    root = nodeHash(frontier.nodes.subarray(offset, offset + digestBytes), root);
  }
  return root;
}

const nodeInput = new Uint8Array(1 + 2 * digestBytes);
nodeInput[0] = 0x01;

/** SHA-256(0x01 ‖ left ‖ right). The input buffer is reused: hashing is synchronous. */
export function nodeHash(left: Digest, right: Digest): Digest {
  nodeInput.set(left, 1);
  nodeInput.set(right, 1 + digestBytes);
  return sha256(nodeInput);
}
