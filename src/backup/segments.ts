// Backups under a passphrase: scrypt (RFC 7914) makes a key of it, and AES-256-GCM seals segment
// after segment in the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár: "Online
// Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance", 2015), as age does: each nonce
// is the segment's number and whether it is the last, so nothing can be cut off, swapped or added.

import { createCipheriv, createDecipheriv, createHmac, hkdfSync, scrypt } from "node:crypto";
import { timingSafeEqual } from "node:crypto";
import { dataCorrupted, failedPrecondition } from "../model/error.ts";

/** Twelve bytes; a version follows them. */
const magic = Buffer.from("dbx-backup/p");
const version = 1;
const salt_bytes = 16;
const mac_bytes = 32;
const header_bytes = magic.length + 1 + 3 + salt_bytes;
const segment_bytes = 65_536;
const tag_bytes = 16;

/** 128 MiB and about half a second of a core for each guess. */
export const scryptLogN = 17;
const cost = { r: 8, p: 1 } as const;
/** A header of somebody else must not take all memory: 1 GiB. */
const log_n_max = 20;

export const isSealedBackup = (start: Uint8Array): boolean =>
  magic.equals(start.subarray(0, magic.length));

interface Keys {
  readonly segments: Buffer;
  readonly mac: Buffer;
}

export interface Sealing {
  readonly passphrase: string;
  /** 16 random bytes, never used twice. */
  readonly salt: Uint8Array;
  /** `scryptLogN`, but in tests. */
  readonly log_n: number;
}

export async function* sealSegments(
  source: AsyncIterable<Uint8Array>,
  { passphrase, salt, log_n }: Sealing,
): AsyncGenerator<Uint8Array> {
  const { r, p } = cost;
  const header = Buffer.concat([magic, Buffer.from([version, log_n, r, p]), salt]);
  const keys = await keysOf(passphrase, header);
  yield Buffer.concat([header, createHmac("sha256", keys.mac).update(header).digest()]);
  let number = 0;
  for await (const { content, last } of segmentsOf(source, segment_bytes)) {
    const cipher = createCipheriv("aes-256-gcm", keys.segments, nonceOf(number++, last));
    yield Buffer.concat([cipher.update(content), cipher.final(), cipher.getAuthTag()]);
  }
}

/** Throws `failed_precondition` for a wrong passphrase, `data_corrupted` for what was changed. */
export async function* unsealSegments(
  source: AsyncIterable<Uint8Array>,
  passphrase: string,
): AsyncGenerator<Uint8Array> {
  let keys: Keys | null = null;
  let number = 0;
  const head = header_bytes + mac_bytes;
  for await (const { content, last } of segmentsOf(source, segment_bytes + tag_bytes, head)) {
    if (keys === null) {
      keys = await openHeader(content, passphrase);
      continue;
    }
    const at = content.length - tag_bytes;
    if (at < 0) throw changed();
    const nonce = nonceOf(number++, last);
    const decipher = createDecipheriv("aes-256-gcm", keys.segments, nonce);
    decipher.setAuthTag(content.subarray(at));
    yield openSegment(decipher, content.subarray(0, at));
  }
  if (number === 0) throw changed();
}

function openSegment(
  decipher: ReturnType<typeof createDecipheriv>,
  sealed: Uint8Array,
): Uint8Array {
  try {
    return Buffer.concat([decipher.update(sealed), decipher.final()]);
  } catch (cause) {
    throw changed(cause);
  }
}

async function openHeader(content: Buffer, passphrase: string): Promise<Keys> {
  if (content.length < header_bytes + mac_bytes || !isSealedBackup(content)) throw changed();
  const header = content.subarray(0, header_bytes);
  const found = header.readUInt8(magic.length);
  if (found !== version) {
    throw failedPrecondition(
      `the backup is encrypted in format ${found}, by a newer dbx; this one knows ${version}`,
      { format: found, known: version },
    );
  }
  const log_n = header.readUInt8(magic.length + 1);
  const [r, p] = [header.readUInt8(magic.length + 2), header.readUInt8(magic.length + 3)];
  if (log_n < 1 || log_n > log_n_max || r !== cost.r || p !== cost.p) throw changed();
  const keys = await keysOf(passphrase, header);
  const mac = createHmac("sha256", keys.mac).update(header).digest();
  if (timingSafeEqual(mac, content.subarray(header_bytes))) return keys;
  throw failedPrecondition(
    "the passphrase does not open the backup, or the backup's first bytes were changed",
  );
}

/** A command reads a backup twice: its manifest, then all of it. */
let derived: { readonly passphrase: string; readonly header: string; readonly keys: Keys } | null =
  null;

async function keysOf(passphrase: string, header: Buffer): Promise<Keys> {
  const of = { passphrase, header: header.toString("hex") };
  if (derived?.passphrase === passphrase && derived.header === of.header) return derived.keys;
  const keys = await deriveKeys(passphrase, header);
  derived = { ...of, keys };
  return keys;
}

async function deriveKeys(passphrase: string, header: Buffer): Promise<Keys> {
  const log_n = header.readUInt8(magic.length + 1);
  const salt = header.subarray(header_bytes - salt_bytes);
  const options = { N: 2 ** log_n, r: cost.r, p: cost.p, maxmem: 2 ** (log_n + 11) };
  const own = await new Promise<Buffer>((done, fail) => {
    scrypt(passphrase.normalize("NFC"), salt, 32, options, (error, key) =>
      error ? fail(error) : done(key),
    );
  });
  const derive = (purpose: string) => Buffer.from(hkdfSync("sha256", own, header, purpose, 32));
  return { segments: derive("dbx backup segments 1"), mac: derive("dbx backup header 1") };
}

/** Eleven bytes of number, one of whether nothing follows. */
function nonceOf(number: number, last: boolean): Buffer {
  const nonce = Buffer.alloc(12);
  nonce.writeBigUInt64BE(BigInt(number), 3);
  nonce.writeUInt8(Number(last), 11);
  return nonce;
}

/**
 * Pieces of exactly so many bytes and a last one of up to as many, which alone may be empty; before
 * them one of `head` bytes, if that is asked for.
 */
async function* segmentsOf(
  source: AsyncIterable<Uint8Array>,
  bytes: number,
  head = 0,
): AsyncGenerator<{ content: Buffer; last: boolean }> {
  let want = head === 0 ? bytes : head;
  let parts: Uint8Array[] = [];
  let held = 0;
  for await (const piece of source) {
    let rest = piece;
    // What is full goes out only when more has come: it might be the last.
    while (held + rest.length > want) {
      const taken = rest.subarray(0, want - held);
      yield { content: Buffer.concat([...parts, taken]), last: false };
      rest = rest.subarray(taken.length);
      [parts, held, want] = [[], 0, bytes];
    }
    if (rest.length > 0) parts.push(rest);
    held += rest.length;
  }
  yield { content: Buffer.concat(parts), last: true };
}

const changed = (cause?: unknown) =>
  dataCorrupted(
    "the backup is damaged: a part of it was changed, swapped or cut off",
    {},
    { cause },
  );
