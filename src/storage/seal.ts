// Sealing: AES-256-GCM (NIST SP 800-38D) under a fresh nonce of 12 random bytes, with the identity
// of what is sealed as associated data, so that a ciphertext opens at its own place alone. Form:
// nonce, ciphertext, tag of 16 bytes. Keys that wrap keys are derived from the data encryption key
// (DEK) by HKDF-SHA256 (RFC 5869), so that the DEK itself encrypts nothing.

import { createCipheriv, createDecipheriv, hkdfSync, randomFillSync } from "node:crypto";
import { dataCorrupted } from "../model/error.ts";
import type { Vault } from "./storage.ts";

export const keyBytes = 32;
const nonceBytes = 12;
const tagBytes = 16;

/** What is sealed, and where it belongs: `["body", type, id, version]`. Part of the format. */
export type Identity = readonly [purpose: string, ...of: readonly (string | number)[]];

/** In: text or bytes. Out: as many bytes and 28 more. */
export function seal(key: Uint8Array, identity: Identity, plain: string | Uint8Array): Uint8Array {
  const nonce = nextNonce();
  const cipher = createCipheriv("aes-256-gcm", key, nonce);
  cipher.setAAD(Buffer.from(JSON.stringify(identity)));
  const first = typeof plain === "string" ? cipher.update(plain, "utf8") : cipher.update(plain);
  const last = cipher.final();
  return Buffer.concat([nonce, first, last, cipher.getAuthTag()]);
}

/** Null where it was not sealed under this key for this identity, or was changed since. */
export function unseal(key: Uint8Array, identity: Identity, sealed: Uint8Array): Buffer | null {
  if (sealed.length < nonceBytes + tagBytes) return null;
  const decipher = createDecipheriv("aes-256-gcm", key, sealed.subarray(0, nonceBytes));
  decipher.setAAD(Buffer.from(JSON.stringify(identity)));
  decipher.setAuthTag(sealed.subarray(sealed.length - tagBytes));
  try {
    const first = decipher.update(sealed.subarray(nonceBytes, sealed.length - tagBytes));
    return Buffer.concat([first, decipher.final()]);
  } catch {
    return null;
  }
}

/** The key that wraps data keys. `dek`: 32 bytes. */
export const wrappingKeyOf = (dek: Uint8Array): Uint8Array =>
  new Uint8Array(hkdfSync("sha256", dek, "", "dbx key wrapping 1", keyBytes));

export function newKey(): Uint8Array {
  return randomFillSync(new Uint8Array(keyBytes));
}

// One call for many nonces: asking the system for twelve bytes at a time costs more than sealing.
const nonces = Buffer.alloc(nonceBytes * 512);
let used = nonces.length;
function nextNonce(): Buffer {
  if (used === nonces.length) {
    randomFillSync(nonces);
    used = 0;
  }
  const nonce = Buffer.from(nonces.subarray(used, used + nonceBytes));
  used += nonceBytes;
  return nonce;
}

/** Tells sealed text from any JSON or TOML. */
const mark = "dbx-sealed-1:";

export const createVault = (key: Uint8Array): Vault => ({
  seal: (purpose, text) => `${mark}${seal(key, ["document", purpose], text).toBase64()}\n`,
  unseal: (purpose, text) => {
    if (!isSealed(text)) return text;
    const plain = unseal(key, ["document", purpose], bytesOf(text.slice(mark.length)));
    if (plain === null) throw dataCorrupted(`${purpose} was changed, or is of another store`);
    return new TextDecoder("utf-8", { fatal: true }).decode(plain);
  },
});

export const isSealed = (text: string): boolean => text.startsWith(mark);

function bytesOf(base64: string): Uint8Array {
  try {
    return Uint8Array.fromBase64(base64.trim());
  } catch {
    return new Uint8Array();
  }
}
