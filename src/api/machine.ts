// How the command line proves that it may read this machine's secret file, and how the server
// proves the same back, without the secret crossing the connection: HMAC-SHA256 (RFC 2104) over the
// role and a fresh nonce. Without the answering proof, whoever took over a dead server's port could
// feed the command line lies.

import { createHmac, timingSafeEqual } from "node:crypto";
import { Type, type Static } from "@sinclair/typebox";

/** Path of the one request that needs no token: it buys one. */
export const sessionPath = "/admin/session";

const Hex32 = Type.String({ pattern: "^[0-9a-f]{64}$" });

export const SessionRequest = Type.Object(
  {
    /** 32 random bytes, hex. */
    nonce: Hex32,
    /** The operating system's user, for the record. */
    user: Type.String({ minLength: 1, maxLength: 100 }),
    proof: Hex32,
  },
  { additionalProperties: false },
);
export type SessionRequest = Static<typeof SessionRequest>;

export const SessionAnswer = Type.Object({
  token: Type.String(),
  expires_at: Type.String(),
  proof: Hex32,
});
export type SessionAnswer = Static<typeof SessionAnswer>;

/**
 * In: the machine's secret. Out: 64 hex digits. What is bound for the server is also the token it
 * hands out.
 */
const machineProof = (
  secret: Uint8Array,
  words: readonly ["client" | "server", ...string[]],
): string => createHmac("sha256", secret).update(JSON.stringify(words)).digest("hex");

/** What the command line proves: it knows the secret, for this nonce and user. */
export const clientProof = (secret: Uint8Array, of: { nonce: string; user: string }): string =>
  machineProof(secret, ["client", of.nonce, of.user]);

/** What the server proves back: it knows the secret too, and handed out this very token. */
export const serverProof = (secret: Uint8Array, of: { nonce: string; token: string }): string =>
  machineProof(secret, ["server", of.nonce, of.token]);

/** Compares two proofs in constant time. */
export const sameProof = (left: string, right: string): boolean =>
  left.length === right.length && timingSafeEqual(Buffer.from(left), Buffer.from(right));
