// RFC 6962 section 2.1 (Certificate Transparency) Merkle tree hashes over SHA-256: leaf, node,
// and a frontier that grows by one leaf in O(log n) without the old leaves; beside it the digest
// over all stream keys. Not here: proofs. The tests compare the tree with the RFC's recursive
// definition.

import { assert } from "./error.ts";
import { keyText, type StreamKey } from "./stream.ts";

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

/** The digest over the keys of no stream. */
export const emptyKeys: Digest = new Uint8Array(digestBytes);

/**
 * The digest over stream keys after one more: the XOR of the SHA-256 of each key, so that it does
 * not depend on their order. It is for streams without events, which no other digest covers.
 */
export function keysWith(keys: Digest, key: StreamKey): Digest {
  assert(keys.length === digestBytes, "a digest over keys has 32 bytes");
  return sha256(keyText(key)).map((byte, index) => byte ^ (keys[index] ?? 0));
}

/** The frontier after one more leaf. */
export function growFrontier(frontier: Frontier, leaf: Digest): Frontier {
  const { nodes } = frontier;
  // Every complete subtree on the right that is as large as the new one merges with it.
  let kept = nodes.length;
  carried.set(leaf);
  for (let rest = frontier.size; rest % 2 === 1; rest = Math.floor(rest / 2)) {
    kept -= digestBytes;
    assert(kept >= 0, "a frontier has one node for each set bit of its size");
    mergeInto(carried, nodes, kept);
  }
  const grown = new Uint8Array(kept + digestBytes);
  for (let index = 0; index < kept; index++) grown[index] = nodes[index] ?? 0;
  grown.set(carried, kept);
  return { size: frontier.size + 1, nodes: grown };
}

/** The frontier after `leaves`, in their order: many at once are copied once. */
export function growFrontierBy(frontier: Frontier, leaves: readonly Digest[]): Frontier {
  // A carry can add one node to those that are there, whatever the number of leaves.
  const nodes = new Uint8Array(
    (Math.ceil(Math.log2(frontier.size + leaves.length + 1)) + 1) * digestBytes,
  );
  nodes.set(frontier.nodes);
  let { size } = frontier;
  let end = frontier.nodes.length;
  for (const leaf of leaves) {
    carried.set(leaf);
    for (let rest = size; rest % 2 === 1; rest = Math.floor(rest / 2)) {
      end -= digestBytes;
      assert(end >= 0, "a frontier has one node for each set bit of its size");
      mergeInto(carried, nodes, end);
    }
    nodes.set(carried, end);
    end += digestBytes;
    size++;
  }
  return { size, nodes: nodes.slice(0, end) };
}

/** The root of the tree a frontier stands for: its nodes folded from the right. */
export function rootOf({ nodes }: Frontier): Digest {
  let offset = nodes.length - digestBytes;
  if (offset < 0) return emptyRoot;
  // Not `slice`: of a Buffer that would be a view, and writing to it would change the frontier.
  const root = new Uint8Array(nodes.subarray(offset));
  while (offset > 0) {
    offset -= digestBytes;
    mergeInto(root, nodes, offset);
  }
  return root;
}

/** SHA-256(0x01 ‖ left ‖ right). */
export function nodeHash(left: Digest, right: Digest): Digest {
  const node = new Uint8Array(right);
  mergeInto(node, left, 0);
  return node;
}

// Hashing is synchronous, so one input and one node that is carried up serve all calls.
const nodeInput = new Uint8Array(1 + 2 * digestBytes);
nodeInput[0] = 0x01;
const carried = new Uint8Array(digestBytes);

/** Replaces `node` by the hash of its parent, whose left child is at `offset` of `nodes`. */
function mergeInto(node: Digest, nodes: Uint8Array, offset: number): void {
  for (let index = 0; index < digestBytes; index++) {
    nodeInput[1 + index] = nodes[offset + index] ?? 0;
    nodeInput[1 + digestBytes + index] = node[index] ?? 0;
  }
  Bun.SHA256.hash(nodeInput, node);
}
