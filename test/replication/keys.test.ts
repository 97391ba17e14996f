// The key of a node: made once, kept from others, compared with what is told of it. Vectors of
// Ed25519 from RFC 8032, and points that prove nothing.

import { describe, expect, test } from "bun:test";
import { createPublicKey, verify } from "node:crypto";
import { chmodSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isPublicPoint } from "../../src/model/ed25519.ts";
import { DbxError } from "../../src/model/error.ts";
import { publicKeyBytes, publicKeyText } from "../../src/model/remote.ts";
import { ensureKeys, keyPathOf, readPublicKey } from "../../src/replication/keys.ts";
import { tempDir } from "../support/temp.ts";

const random = (bytes: number) => crypto.getRandomValues(new Uint8Array(bytes));
/** RFC 8032, 7.1, test 1. */
const seed = Buffer.from("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", "hex");
const publicKey = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo";
const emptySignature =
  "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b" +
  "d25bf5f0595bbe24655141438e7a100b";

async function refusal(work: Promise<unknown>): Promise<string> {
  try {
    return `done: ${JSON.stringify(await work)}`;
  } catch (error) {
    if (error instanceof DbxError) return `${error.code}: ${error.message}`;
    throw error;
  }
}

test("a key is made once: 32 bytes for the owner alone, 43 signs for everybody", async () => {
  using dir = tempDir();
  const path = join(dir.path, "made/replication.key");
  expect(await readPublicKey(path)).toBeNull();
  const keys = await ensureKeys(path, random);
  expect(readdirSync(join(dir.path, "made")).sort()).toEqual([
    "replication.key",
    "replication.pub",
  ]);
  expect(readFileSync(path).length).toBe(32);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(readFileSync(keys.pub_path, "utf8")).toBe(keys.public_key);
  expect(keys.public_key).toMatch(/^[A-Za-z0-9+/]{43}$/);
  const again = await ensureKeys(path, () => {
    throw new Error("a second key");
  });
  expect(again.public_key).toBe(keys.public_key);
  expect(await readPublicKey(path)).toBe(keys.public_key);
  const signed = keys.sign(Buffer.from("x"));
  const key = createPublicKey({
    key: Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), keys.publicBytes]),
    ...{ format: "der", type: "spki" },
  });
  expect(verify(null, Buffer.from("x"), key, signed)).toBe(true);
});

test("many at once agree on one key", async () => {
  using dir = tempDir();
  const path = join(dir.path, "replication.key");
  const made = await Promise.all(Array.from({ length: 20 }, () => ensureKeys(path, random)));
  expect(new Set(made.map(({ public_key }) => public_key)).size).toBe(1);
  expect(readdirSync(dir.path).sort()).toEqual(["replication.key", "replication.pub"]);
});

test("a seed gives the public key and the signatures of RFC 8032", async () => {
  using dir = tempDir();
  const path = join(dir.path, "node.key");
  writeFileSync(path, seed, { mode: 0o600 });
  const keys = await ensureKeys(path, random);
  expect(keys.public_key).toBe(publicKey);
  expect(keys.pub_path).toBe(join(dir.path, "node.pub"));
  expect(Buffer.from(keys.sign(new Uint8Array())).toString("hex")).toBe(emptySignature);
});

test.skipIf(process.platform === "win32")(
  "a key that others may read is refused [needs the modes of POSIX]",
  async () => {
    using dir = tempDir();
    const path = join(dir.path, "replication.key");
    await ensureKeys(path, random);
    for (const mode of [0o640, 0o604, 0o620, 0o644, 0o660, 0o777]) {
      chmodSync(path, mode);
      expect(await refusal(ensureKeys(path, random))).toStartWith(
        `failed_precondition: ${path} is open to others (mode 0${mode.toString(8)})`,
      );
    }
    chmodSync(path, 0o400);
    expect(await refusal(ensureKeys(path, random))).toStartWith("done");
  },
);

test("a key of another length is refused and stays as it is", async () => {
  for (const length of [0, 1, 31, 33, 64]) {
    using dir = tempDir();
    const path = join(dir.path, "replication.key");
    writeFileSync(path, Buffer.alloc(length, 7), { mode: 0o600 });
    expect(await refusal(ensureKeys(path, random))).toStartWith(
      `failed_precondition: invalid replication key length at ${path}: ${length} bytes instead of 32`,
    );
    expect(readFileSync(path).length).toBe(length);
  }
});

test("a public file is made anew where it is missing, and refused where it tells another key", async () => {
  using dir = tempDir();
  const path = join(dir.path, "replication.key");
  const { pub_path, public_key } = await ensureKeys(path, random);
  rmSync(pub_path);
  await ensureKeys(path, random);
  expect(readFileSync(pub_path, "utf8")).toBe(public_key);
  for (const text of [`${public_key}\n`, `  ${public_key}=\r\n`]) {
    writeFileSync(pub_path, text);
    expect((await ensureKeys(path, random)).public_key).toBe(public_key);
  }
  for (const text of ["", "nonsense", publicKey, public_key.slice(1)]) {
    writeFileSync(pub_path, text);
    expect(await refusal(ensureKeys(path, random))).toStartWith(
      `failed_precondition: ${pub_path} does not belong to ${path}, whose public key is ${public_key}`,
    );
    expect(readFileSync(pub_path, "utf8")).toBe(text);
  }
});

test("the key's path is relative to the data directory, or absolute", () => {
  const at = (identity_key: string) =>
    keyPathOf({ data_dir: "/data", replication: { identity_key, bind_addr: "" } });
  expect(at("replication.key")).toBe("/data/replication.key");
  expect(at("keys/node")).toBe("/data/keys/node");
  expect(at("/etc/dbx/node.key")).toBe("/etc/dbx/node.key");
});

describe("a public key that somebody types", () => {
  const decoded = (text: string): string => {
    try {
      return publicKeyText(publicKeyBytes(text));
    } catch (error) {
      if (error instanceof DbxError) return `${error.code}: ${error.message.split(":")[0]}`;
      throw error;
    }
  };
  const invalid = "invalid_argument: invalid base64 public key";
  const length = "invalid_argument: public key must decode to 32 bytes";
  const noPoint = "invalid_argument: public key is none of Ed25519";
  const hex = (text: string) => Buffer.from(text, "hex").toString("base64");
  const cases: readonly (readonly [string, string])[] = [
    [publicKey, publicKey],
    [`${publicKey}=`, publicKey],
    [` \t${publicKey}=\n`, publicKey],
    ["", "invalid_argument: public key cannot be empty"],
    ["  \n", "invalid_argument: public key cannot be empty"],
    [publicKey.replace("/", "_"), invalid],
    [`${publicKey.slice(0, 42)}p`, invalid],
    [publicKey.slice(0, 41), invalid],
    ["äöü", invalid],
    [`${publicKey} x`, invalid],
    [publicKey.slice(0, 40), length],
    [`AAAA${publicKey}`, length],
    // Orders 1, 2, 4 and 8.
    [hex(`01${"00".repeat(31)}`), noPoint],
    [hex(`ec${"ff".repeat(30)}7f`), noPoint],
    [hex("00".repeat(32)), noPoint],
    [hex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), noPoint],
    [hex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"), noPoint],
    // y of p and above: a second text of another point.
    [hex(`ed${"ff".repeat(30)}7f`), noPoint],
    [hex("ff".repeat(32)), noPoint],
    // No point has this y.
    [hex(`02${"00".repeat(31)}`), noPoint],
  ];
  test.each(cases)("%j is %s", (text, expected) => {
    expect(decoded(text)).toBe(expected);
  });

  test("every key that is made passes; of other bytes about half", async () => {
    using dir = tempDir();
    for (let index = 0; index < 50; index++) {
      const keys = await ensureKeys(join(dir.path, `${index}.key`), random);
      expect(isPublicPoint(keys.publicBytes)).toBe(true);
    }
    const points = Array.from({ length: 400 }, () => random(32)).filter(isPublicPoint).length;
    expect(points).toBeGreaterThan(100);
    expect(points).toBeLessThan(300);
  });
});
