// Who is at the other end: what two nodes sign within a session of TLS that nobody has vouched for
// yet, and how they judge it. Bytes in, bytes out. DESIGN.md says what it proves against whom.

import { createHash, createPublicKey, timingSafeEqual, verify } from "node:crypto";
import { invalidArgument } from "../model/error.ts";
import {
  allowedTo,
  bareKey,
  publicKeyBytes,
  publicKeyText,
  type Remote,
  type Right,
} from "../model/remote.ts";
import type { NodeKeys } from "./keys.ts";

/** What this node speaks. Version 1, of EventDBX 1, proved nothing. */
export const protocolVersion = 2;

/** The name of the same in TLS, where nobody on the way can change it. */
export const alpnName = "dbx-replication/2";

/** RFC 8446, 7.5: 32 bytes that only the two ends of this one session can compute. */
export const exporter = { label: "EXPORTER-dbx-replication-2", bytes: 32 } as const;

/** What was said in clear before TLS began is part of what is signed. */
export const exporterContext = (hello: Uint8Array, response: Uint8Array): Buffer =>
  createHash("sha256").update(hello).update(response).digest();

/** Who opened the connection is the caller. */
export type Role = "caller" | "listener";

/** A node that is known: as the configuration names it. */
export interface KnownPeer {
  readonly name: string;
  /** 43 signs of base64. */
  readonly public_key: string;
  readonly allow: readonly Right[];
}

/** A public key and a signature of it over this session. */
export const proofBytes = 32 + 64;

interface Bound {
  /** 32 bytes from TLS. */
  readonly exported: Uint8Array;
  /** The listener's key, which it proves first: the caller's signature names it as well. */
  readonly listener: Uint8Array;
}

export function proofOf(
  keys: Pick<NodeKeys, "publicBytes" | "sign">,
  bound: Bound & { readonly role: Role },
): Uint8Array {
  const signature = keys.sign(signedBytes(bound, keys.publicBytes));
  return new Uint8Array(Buffer.concat([keys.publicBytes, signature]));
}

/**
 * The public key that is proved, which may be anybody's. Throws `invalid_argument` where nothing is
 * proved.
 */
export function provedKey(
  proof: Uint8Array,
  // The listener's proof names the key itself.
  {
    exported,
    listener,
    role,
  }: Omit<Bound, "listener"> & { listener: Uint8Array | null; role: Role },
): Uint8Array {
  if (proof.length !== proofBytes) {
    throw invalidArgument(`a proof has ${proofBytes} bytes, not ${proof.length}`);
  }
  const key = proof.slice(0, 32);
  // Of a point of small order anybody has signatures.
  publicKeyBytes(publicKeyText(key));
  const signed = signedBytes({ exported, role, listener: listener ?? key }, key);
  const publicKey = createPublicKey({
    ...{ key: Buffer.concat([spki, key]), format: "der", type: "spki" },
  });
  if (verify(null, signed, publicKey, proof.subarray(32))) return key;
  throw invalidArgument("the other side does not have the private key of the public one it shows");
}

/** What SubjectPublicKeyInfo has before the 32 bytes of an Ed25519 key (RFC 8410). */
const spki = Buffer.from("302a300506032b6570032100", "hex");

/** Of fixed length after the role's words, so that no two sessions sign the same bytes. */
const signedBytes = (
  { exported, listener, role }: Bound & { readonly role: Role },
  own: Uint8Array,
): Uint8Array =>
  Buffer.concat([Buffer.from(`dbx replication 2 ${role}\0`), exported, listener, own]);

/**
 * Who a key belongs to, or null where nobody has named it. Of two names for one key, which only an
 * edit by hand can make, the first one is told, and only what both may do is allowed.
 */
export function knownPeer(
  remotes: Readonly<Record<string, Remote>>,
  key: Uint8Array,
): KnownPeer | null {
  const named = Object.entries(remotes).filter(([, remote]) => isKeyOf(remote, key));
  const [first] = named;
  if (first === undefined) return null;
  const allow = named
    .map(([, remote]) => allowedTo(remote))
    .reduce((both, each) => both.filter((right) => each.includes(right)));
  return { name: first[0], public_key: publicKeyText(key), allow };
}

/** Compared as text, because the file may hold what is no key. */
export function isKeyOf({ public_key }: Pick<Remote, "public_key">, key: Uint8Array): boolean {
  const pinned = Buffer.from(bareKey(public_key));
  const shown = Buffer.from(publicKeyText(key));
  return pinned.length === shown.length && timingSafeEqual(pinned, shown);
}
