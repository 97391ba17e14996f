// Which pairs of a certificate and a key are taken, and when the files are read again.

import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  renameSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { createLog } from "../../src/log.ts";
import { DbxError } from "../../src/model/error.ts";
import { limits } from "../../src/model/limits.ts";
import { openCertificates, pairPathsOf, type PairPaths } from "../../src/server/tls.ts";
import { realSystem } from "../../src/system.ts";
import { tempDir, type TempDir } from "../support/temp.ts";
import { makePair, openssl, type MadePair } from "../support/tls.ts";

let dir: TempDir;
let first: MadePair;
let second: MadePair;
beforeAll(async () => {
  dir = tempDir();
  first = await makePair(dir.path, "first");
  second = await makePair(dir.path, "second");
});
afterAll(() => dir[Symbol.dispose]());

function open(paths: PairPaths, over: { now?: () => string; look_ms?: number } = {}) {
  const lines: string[] = [];
  const write = (line: string) => void lines.push(line);
  const log = createLog({ least: "debug", now: realSystem.now, write });
  const { now = realSystem.now, look_ms = limits.tls_look_ms } = over;
  const certificates = openCertificates({ paths, log, now, look_ms });
  return { ...certificates, lines, [Symbol.dispose]: certificates.close };
}

function refusal(paths: PairPaths, now?: () => string): string {
  try {
    open(paths, now === undefined ? {} : { now }).close();
    return "taken";
  } catch (error) {
    if (!(error instanceof DbxError) || error.code !== "invalid_argument") throw error;
    return error.message;
  }
}

const fileOf = (name: string, text: string): string => {
  const path = join(dir.path, name);
  writeFileSync(path, text);
  return path;
};

/** A turn of the event loop. */
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

const textOf = (path: string): Promise<string> => Bun.file(path).text();

test("both paths, or none", () => {
  expect(pairPathsOf({ tls: {} })).toBeNull();
  expect(pairPathsOf({ tls: { cert: "c", key: "k" } })).toEqual({ cert: "c", key: "k" });
  expect(() => pairPathsOf({ tls: { cert: "c" } })).toThrow("tls.key is not: TLS needs both");
  expect(() => pairPathsOf({ tls: { key: "k" } })).toThrow("tls.cert is not: TLS needs both");
});

test("a certificate holds from its first second to its last", () => {
  const at = (time: string) => () => time;
  expect(refusal(first)).toBe("taken");
  expect(refusal(first, at("1999-01-01T00:00:00.000000Z"))).toContain(" holds from ");
  using open_ = open(first);
  const { expires_at } = open_.current();
  const last = new Date(Date.parse(expires_at) - 1).toISOString();
  expect(refusal(first, at(last))).toBe("taken");
  expect(refusal(first, at(expires_at))).toContain(`has expired, at ${expires_at}`);
});

test("what is no pair is refused, and named", async () => {
  const locked = join(dir.path, "locked.key");
  await openssl(["ec", "-in", first.key, "-aes128", "-passout", "pass:secret", "-out", locked]);
  expect(refusal({ ...first, key: locked })).toContain("is protected by a passphrase");
  expect(refusal({ ...first, key: second.key })).toContain("is not the private key of the first");
  expect(refusal({ ...first, key: fileOf("empty", "") })).toContain("holds no private key");
  expect(refusal({ ...first, cert: first.key })).toContain("holds no certificate");
  const broken = fileOf("broken", (await textOf(first.cert)).replace(/^MII./m, "AAAA"));
  expect(refusal({ ...first, cert: broken })).toContain("holds no certificate");
  const chain = fileOf("chain", `${await textOf(first.cert)}${await textOf(broken)}`);
  expect(refusal({ ...first, cert: chain })).toContain("holds no certificate");
  mkdirSync(join(dir.path, "folder"));
  expect(refusal({ ...first, cert: join(dir.path, "folder") })).toContain("is not a file");
  expect(refusal({ ...first, cert: join(dir.path, "none") })).toContain("cannot be read (ENOENT)");
});

test("a chain is a chain whatever is written between its certificates", async () => {
  const text = `Subject: a person's remark\n${await textOf(first.cert)}\n# next\n`;
  const cert = fileOf("remarks", `${text}${await textOf(second.cert)}`);
  expect(refusal({ cert, key: first.key })).toBe("taken");
  expect(refusal({ cert, key: second.key })).toContain("is not the private key of the first");
});

test.each([
  ["RSA of 2,048 bits", ["rsa:2048"], true],
  ["RSA of 1,024 bits", ["rsa:1024"], false],
  ["P-521", ["ec", "-pkeyopt", "ec_paramgen_curve:P-521"], true],
  ["a curve of Bitcoin", ["ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"], false],
  ["Ed25519", ["ed25519"], false],
])("%s: whether clients take it is known before they come", async (_, algorithm, taken) => {
  const paths = { cert: join(dir.path, "other.crt"), key: join(dir.path, "other.key") };
  await openssl([
    ...["req", "-x509", "-newkey", ...algorithm, "-nodes", "-subj", "/CN=other", "-days", "3"],
    ...["-keyout", paths.key, "-out", paths.cert],
  ]);
  const answer = refusal(paths);
  // The library does not even read keys of some curves.
  const words = /that clients refuse; RSA of at least 2048 bits|holds no private key/;
  expect([answer === "taken", words.test(answer)]).toEqual([taken, !taken]);
});

test("a file may be as large as the limit says", async () => {
  const text = await textOf(first.cert);
  const fill = (bytes: number) => fileOf("large", text + "\n".repeat(bytes - text.length));
  expect(refusal({ ...first, cert: fill(limits.tls_file_bytes_max) })).toBe("taken");
  expect(refusal({ ...first, cert: fill(limits.tls_file_bytes_max + 1) })).toContain(
    `the limit is ${limits.tls_file_bytes_max}`,
  );
});

test("a key that everybody may read is told, and no line holds any of it", async () => {
  const key = fileOf("open.key", await textOf(first.key));
  chmodSync(key, 0o644);
  using opened = open({ ...first, key });
  const line = opened.lines.find((each) => each.includes(" warn ")) ?? "";
  expect(line).toContain(`readable by everybody path=${key}`);
  chmodSync(key, 0o640);
  using quiet = open({ ...first, key });
  expect(quiet.lines.filter((each) => each.includes(" warn "))).toEqual([]);
  const words = (await textOf(first.key)).split("\n").filter((each) => each.length > 20);
  for (const word of words) expect(opened.lines.join("")).not.toContain(word.slice(0, 20));
});

test("the end of a certificate is told once when it comes near, and once when it is there", async () => {
  let time = realSystem.now();
  using watched = open(first, { now: () => time, look_ms: 2 });
  const { expires_at } = watched.current();
  const end = Date.parse(expires_at);
  const told = (phrase: string) => watched.lines.filter((each) => each.includes(phrase)).length;
  const at = (ms: number) => {
    time = new Date(ms).toISOString();
  };
  const looked = async () => {
    let asked = 0;
    const count = () => {
      asked++;
      return time;
    };
    using clock = open(first, { now: count, look_ms: 2 });
    // Two looks of a younger one: the older one has looked at least once since.
    while (asked < 4) await turn();
    clock.close();
  };
  at(end - limits.tls_warn_ms - 1);
  await looked();
  expect(told("certificate expires soon")).toBe(0);
  at(end - limits.tls_warn_ms);
  while (told(" warn certificate expires soon") === 0) await turn();
  await looked();
  at(end);
  while (told(" error certificate has expired") === 0) await turn();
  expect([told("certificate expires soon"), told("certificate has expired")]).toEqual([1, 1]);
  expect(watched.current().expires_at).toBe(expires_at);
});

test("files are read once they are still: half of a new pair is no fault", async () => {
  using own = tempDir();
  const paths = { cert: join(own.path, "c"), key: join(own.path, "k") };
  // As Kubernetes does it: a link to a folder takes the place of another.
  copyFileSync(first.cert, paths.cert);
  copyFileSync(first.key, paths.key);
  using watched = open(paths, { look_ms: 5 });
  const { fingerprint } = watched.current();
  unlinkSync(paths.cert);
  symlinkSync(second.cert, paths.cert);
  unlinkSync(paths.key);
  symlinkSync(second.key, paths.key);
  while (watched.current().fingerprint === fingerprint) await turn();
  expect(watched.lines.filter((each) => each.includes(" error "))).toEqual([]);

  unlinkSync(paths.key);
  symlinkSync(first.key, paths.key);
  expect(watched.fault()).toBeNull();
  const errors = () => watched.lines.filter((each) => each.includes(" error certificate refused"));
  while (errors().length === 0) await turn();
  expect(watched.fault()).toContain("is not the private key of the first certificate in");
  // A later change is found, so there have been looks between the two: it is told once.
  copyFileSync(first.cert, join(own.path, "c2"));
  renameSync(join(own.path, "c2"), paths.cert);
  while (watched.current().fingerprint !== fingerprint) await turn();
  expect(errors()).toHaveLength(1);
  expect(watched.fault()).toBeNull();
});
