// The certificate in force: read from its two files, judged before anybody is shown it, and read
// again when the files change or somebody asks. What a connection does with it is in listener.ts.

import { createPrivateKey, X509Certificate, type KeyObject } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import type { Log } from "../log.ts";
import type { Config } from "../model/config.ts";
import { DbxError, invalidArgument } from "../model/error.ts";
import { limits } from "../model/limits.ts";

/** Where the certificate with its chain and its private key are. */
export interface PairPaths {
  readonly cert: string;
  readonly key: string;
}

/** A certificate and its key that may be shown to clients. */
export interface Pair {
  readonly cert: string;
  /** MUST never be logged, nor be part of an error. */
  readonly key: string;
  readonly fingerprint: string;
  readonly expires_at: string;
}

export interface Certificates {
  /** The pair for the next connection. */
  readonly current: () => Pair;
  /** Why the files as they are now are not in force; null where they are. */
  readonly fault: () => string | null;
  /** Reads the files now. A pair that is no good is logged, and the one before stays. */
  readonly reload: () => void;
  /** Looks at the files no more. */
  readonly close: () => void;
}

/** Null where TLS is off. Throws `invalid_argument` where only one of the two is set. */
export function pairPathsOf({ tls }: Pick<Config, "tls">): PairPaths | null {
  const { cert, key } = tls;
  if (cert === undefined && key === undefined) return null;
  if (cert !== undefined && key !== undefined) return { cert, key };
  const [set, missing] = cert === undefined ? ["tls.key", "tls.cert"] : ["tls.cert", "tls.key"];
  throw invalidArgument(`${set} is set but ${missing} is not: TLS needs both`, { key: missing });
}

/** Throws what `openCertificates` would throw, for whoever is about to stop a good server. */
export function requireSoundPair(config: Pick<Config, "tls">, now: string): void {
  const paths = pairPathsOf(config);
  if (paths !== null) readPair(paths, now);
}

/** Throws `invalid_argument`, naming the file, when the pair is no good. */
export function openCertificates(options: {
  readonly paths: PairPaths;
  readonly log: Log;
  readonly now: () => string;
  /** How often the files are looked at. */
  readonly look_ms: number;
}): Certificates {
  const { paths, log, now } = options;
  let read = stampOf(paths);
  let seen = read;
  let pair = readPair(paths, now());
  let fault: string | null = null;
  let told: "nothing" | "soon" | "expired" = "nothing";
  tell("certificate in force", pair);
  tellEnd();

  function tell(phrase: string, { fingerprint, expires_at }: Pair): void {
    log.info(phrase, { path: paths.cert, fingerprint, expires_at });
    if (readableByAll(paths.key)) {
      log.warn("the private half of the certificate is readable by everybody", { path: paths.key });
    }
  }

  function reload(): void {
    // Before the files: what changes while they are read is seen at the next look.
    read = stampOf(paths);
    seen = read;
    let next: Pair;
    try {
      next = readPair(paths, now());
    } catch (error) {
      if (!(error instanceof DbxError)) throw error;
      const { fingerprint, expires_at } = pair;
      fault = error.message;
      log.error("certificate refused; the one before stays", {
        ...{ reason: error.message, fingerprint, expires_at },
      });
      return;
    }
    fault = null;
    if (next.expires_at !== pair.expires_at) told = "nothing";
    const changed = next.fingerprint !== pair.fingerprint || next.key !== pair.key;
    pair = next;
    if (changed) tell("certificate replaced", pair);
  }

  /** Clients refuse it from then on, and nobody who could renew it hears of that but from here. */
  function tellEnd(): void {
    const { expires_at, fingerprint } = pair;
    const left_ms = Date.parse(expires_at) - Date.parse(now());
    if (left_ms <= 0 && told !== "expired") {
      told = "expired";
      log.error("certificate has expired", { path: paths.cert, fingerprint, expires_at });
    } else if (left_ms > 0 && left_ms <= limits.tls_warn_ms && told === "nothing") {
      told = "soon";
      log.warn("certificate expires soon", { path: paths.cert, fingerprint, expires_at });
    }
  }

  /** Two files are never replaced at once, so both must have been still for the time of a look. */
  function look(): void {
    const found = stampOf(paths);
    if (found !== seen) seen = found;
    else if (found !== read) reload();
    tellEnd();
  }

  const timer = setInterval(look, options.look_ms);
  // A server that has nothing else left to do may end.
  timer.unref();
  return {
    current: () => pair,
    fault: () => fault,
    reload,
    close: () => clearInterval(timer),
  };
}

/** Differs when one of the files was written or replaced, also behind a symbolic link. */
function stampOf({ cert, key }: PairPaths): string {
  return [cert, key]
    .map((path) => {
      try {
        const { dev, ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
        return [dev, ino, size, mtimeNs, ctimeNs].join(" ");
      } catch (error) {
        return reasonOf(error);
      }
    })
    .join("\n");
}

function readableByAll(path: string): boolean {
  if (process.platform === "win32") return false;
  const found = statSync(path, { throwIfNoEntry: false });
  return found !== undefined && (found.mode & 0o004) !== 0;
}

/** Judges what clients would find out otherwise, one by one. */
function readPair(paths: PairPaths, now: string): Pair {
  const cert = readPem(paths.cert, "tls.cert");
  const key = readPem(paths.key, "tls.key");
  const leaf = leafOf(cert, paths.cert);
  const from = instantOf(leaf.validFrom);
  const until = instantOf(leaf.validTo);
  const details = { path: paths.cert };
  if (Date.parse(until) <= Date.parse(now)) {
    throw invalidArgument(`tls.cert: ${paths.cert} has expired, at ${until}`, details);
  }
  if (Date.parse(from) > Date.parse(now)) {
    throw invalidArgument(`tls.cert: ${paths.cert} holds from ${from} only`, details);
  }
  if (!leaf.checkPrivateKey(privateKeyOf(key, paths.key))) {
    throw invalidArgument(
      `tls.key: ${paths.key} is not the private key of the first certificate in ${paths.cert}`,
      { path: paths.key },
    );
  }
  if (!isSpoken(leaf.publicKey)) {
    throw invalidArgument(
      `tls.cert: ${paths.cert} has a key that clients refuse; RSA of at least ${rsa_bits_min} ` +
        "bits and the curves P-256, P-384 and P-521 are taken",
      details,
    );
  }
  return { cert, key, fingerprint: leaf.fingerprint256.replaceAll(":", ""), expires_at: until };
}

function readPem(path: string, name: string): string {
  try {
    const found = statSync(path);
    // Reading a pipe would wait for ever.
    if (!found.isFile()) throw invalidArgument(`${name}: ${path} is not a file`, { path });
    if (found.size > limits.tls_file_bytes_max) {
      throw invalidArgument(
        `${name}: ${path} has ${found.size} bytes, the limit is ${limits.tls_file_bytes_max}`,
        { path },
      );
    }
    return readFileSync(path, "latin1");
  } catch (error) {
    if (error instanceof DbxError) throw error;
    throw invalidArgument(`${name}: ${path} cannot be read (${reasonOf(error)})`, { path });
  }
}

const certificatePattern = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

/** The first of the chain, which is the server's own. All of them must be certificates. */
function leafOf(text: string, path: string): X509Certificate {
  const blocks = text.match(certificatePattern) ?? [];
  try {
    const [leaf] = blocks.map((block) => new X509Certificate(block));
    if (leaf !== undefined) return leaf;
  } catch {
    // What is wrong within, no library tells in words that help.
  }
  throw invalidArgument(`tls.cert: ${path} holds no certificate in PEM`, { path });
}

function privateKeyOf(text: string, path: string): KeyObject {
  if (/ENCRYPTED/.test(text)) {
    throw invalidArgument(`tls.key: ${path} is protected by a passphrase, which dbx cannot ask`, {
      path,
    });
  }
  try {
    return createPrivateKey(text);
  } catch {
    // Without the cause: nothing of the key's text may get into an error.
    throw invalidArgument(`tls.key: ${path} holds no private key in PEM`, { path });
  }
}

const rsa_bits_min = 2_048;
const curves: readonly unknown[] = ["prime256v1", "secp384r1", "secp521r1"];

/** What every client takes. The library would load others, and then fail at each handshake. */
function isSpoken({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): boolean {
  if (asymmetricKeyType === "ec") return curves.includes(asymmetricKeyDetails?.namedCurve);
  return asymmetricKeyType === "rsa" && (asymmetricKeyDetails?.modulusLength ?? 0) >= rsa_bits_min;
}

/** In: `Nov 24 02:05:53 2026 GMT`, as OpenSSL writes it. */
const instantOf = (text: string): string => new Date(text).toISOString();

const reasonOf = (error: unknown): string =>
  error instanceof Error && "code" in error ? String(error.code) : "unknown reason";
