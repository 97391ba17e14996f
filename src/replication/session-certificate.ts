// The certificate that TLS wants from whoever takes a connection. It says nothing and nobody looks
// at it: made anew by each process, while the nodes prove their keys within the session.

import { createPublicKey, sign } from "node:crypto";
import { privateKeyOf } from "./keys.ts";

export interface Pair {
  /** PEM. */
  readonly cert: string;
  readonly key: string;
}

/** `seed`: 32 random bytes. */
export function certificateOf(seed: Uint8Array): Pair {
  const key = privateKeyOf(seed);
  const name = tlv(0x30, tlv(0x31, tlv(0x30, oid.commonName, tlv(0x0c, Buffer.from("dbx")))));
  const body = tlv(
    0x30,
    // Version 3, serial number 1.
    ...[tlv(0xa0, tlv(0x02, Buffer.of(2))), tlv(0x02, Buffer.of(1))],
    ...[ed25519, name, always, name],
    createPublicKey(key).export({ format: "der", type: "spki" }),
  );
  const signature = tlv(0x03, Buffer.of(0), sign(null, body, key));
  return {
    cert: pem("CERTIFICATE", tlv(0x30, body, ed25519, signature)),
    key: pem("PRIVATE KEY", key.export({ format: "der", type: "pkcs8" })),
  };
}

/** A value of DER of less than 256 bytes: its type, its length, its parts. */
function tlv(type: number, ...parts: readonly Uint8Array[]): Buffer {
  const value = Buffer.concat(parts);
  const length = value.length < 128 ? [value.length] : [0x81, value.length];
  return Buffer.concat([Buffer.of(type, ...length), value]);
}

const oid = {
  commonName: Buffer.from("0603550403", "hex"),
  ed25519: Buffer.from("06032b6570", "hex"),
} as const;

const ed25519 = tlv(0x30, oid.ed25519);

/** From 2000 to the end of time (RFC 5280, 4.1.2.5), because clocks are wrong. */
const always = tlv(
  0x30,
  tlv(0x17, Buffer.from("000101000000Z")),
  tlv(0x18, Buffer.from("99991231235959Z")),
);

function pem(label: string, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ""].join("\n");
}
