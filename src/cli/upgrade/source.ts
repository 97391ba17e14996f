// The place of releases, over HTTP: who is asked, with what, and how long one waits. A token goes
// to that place alone, and never along a redirect.

import { open } from "node:fs/promises";
import { createHash } from "node:crypto";
import {
  DbxError,
  invalidArgument,
  overloaded,
  tooLarge,
  unauthenticated,
  unavailable,
} from "../../model/error.ts";
import { limits } from "../../model/limits.ts";
import { version } from "../../version.ts";
import type { Shell } from "../shell.ts";

const publicBase = "https://api.github.com/repos/thachp/eventdbx/releases";
const acceptJson = "application/vnd.github+json";

export interface SourceOptions {
  readonly env: Shell["env"];
  /** How long nothing may arrive. */
  readonly silence_ms: number;
  readonly signal: AbortSignal;
}

export interface Source {
  /** Without a slash at its end. */
  readonly base: string;
  /** Null where there is nothing at that path. Throws for every other answer than success. */
  readonly read: (path: string) => Promise<string | null>;
  /** A small file of a release. */
  readonly readFile: (url: string) => Promise<string>;
  /** Into a file that does not exist yet. Out: its SHA-256, hex. */
  readonly download: (
    url: string,
    options: { readonly to: string; readonly progress: Progress },
  ) => Promise<string>;
}

export type Progress = (done: { readonly bytes: number; readonly total: number | null }) => void;

export function createSource({ env, silence_ms, signal }: SourceOptions): Source {
  const base = baseOf(env["DBX_RELEASES_URL"]);
  const token = tokenOf(env);
  const place: Place = { base, token, silence_ms, signal };
  return {
    base: base.href,
    read: (path) => {
      const url = allowed(`${base.href}${path}`, place);
      return asked(place, { url, accept: acceptJson }, async (response, seen) => {
        if (response.status === 404) return null;
        requireSuccess(response, { place, subject: "" });
        return textOf(response, { seen, bytes_max: limits.upgrade_answer_bytes_max });
      });
    },
    readFile: (address) => {
      const url = allowed(address, place);
      return asked(place, { url, accept: "*/*" }, async (response, seen) => {
        requireSuccess(response, { place, subject: `${url.href}: ` });
        return textOf(response, { seen, bytes_max: limits.upgrade_checksums_bytes_max });
      });
    },
    download: (address, options) => {
      const url = allowed(address, place);
      return asked(place, { url, accept: "application/octet-stream" }, (response, seen) => {
        requireSuccess(response, { place, subject: `${url.href}: ` });
        return keep(response, { ...options, seen });
      });
    },
  };
}

interface Place {
  readonly base: URL;
  readonly token: Token | null;
  readonly silence_ms: number;
  readonly signal: AbortSignal;
}

interface Token {
  readonly text: string;
  readonly variable: string;
}

function baseOf(text: string | undefined): URL {
  const named = text?.trim() ?? "";
  const url = URL.parse((named === "" ? publicBase : named).replace(/\/+$/, ""));
  const isPlain = url !== null && url.username === "" && url.search === "" && url.hash === "";
  if (isPlain && (url.protocol === "https:" || url.protocol === "http:")) return url;
  throw invalidArgument(
    "DBX_RELEASES_URL must be an http or https URL without user, query and fragment, such as " +
      `${publicBase}; a token belongs into EVENTDBX_GITHUB_TOKEN`,
    { key: "DBX_RELEASES_URL" },
  );
}

function tokenOf(env: Shell["env"]): Token | null {
  for (const variable of ["EVENTDBX_GITHUB_TOKEN", "GITHUB_TOKEN"]) {
    const text = env[variable]?.trim() ?? "";
    if (text === "") continue;
    if (/^[\u0021-\u007e]+$/.test(text)) return { text, variable };
    throw invalidArgument(`${variable} holds no token`, { key: variable });
  }
  return null;
}

/** Plain http only where the place itself was named with it. Throws for anything else. */
function allowed(address: string, { base }: Pick<Place, "base">): URL {
  const url = URL.parse(address);
  if (url?.protocol === "https:") return url;
  if (url?.protocol === "http:" && base.protocol === "http:") return url;
  throw unavailable(`${address} is not encrypted, so it is not asked`, {
    url: address,
  });
}

/** Over a connection that nobody can read along, to the place itself, and to nobody it names. */
function credentialsFor(url: URL, { base, token }: Place): Record<string, string> {
  const isOwn = url.origin === base.origin;
  const isSafe =
    url.protocol === "https:" || /^(?:127(?:\.\d+){3}|localhost|\[::1\])$/.test(url.hostname);
  return token !== null && isOwn && isSafe ? { authorization: `Bearer ${token.text}` } : {};
}

/** Asks, follows redirects, and gives `use` what came, with whom to tell that more has come. */
async function asked<Result>(
  place: Place,
  { url, accept }: { readonly url: URL; readonly accept: string },
  use: (response: Response, seen: () => void) => Promise<Result>,
): Promise<Result> {
  const silence = new AbortController();
  const timer = setTimeout(() => silence.abort(), place.silence_ms);
  const whole = AbortSignal.timeout(limits.upgrade_download_ms_max);
  const signal = AbortSignal.any([place.signal, silence.signal, whole]);
  try {
    const response = await follow(place, { url, accept, signal });
    return await use(response, () => timer.refresh());
  } catch (cause) {
    place.signal.throwIfAborted();
    if (cause instanceof DbxError) throw cause;
    const why = silence.signal.aborted
      ? `nothing arrived for ${place.silence_ms / 1000} s`
      : whole.aborted
        ? `it takes longer than ${limits.upgrade_download_ms_max / 60_000} minutes`
        : reasonOf(cause);
    throw unavailable(`${url.href}: ${why}`, { url: url.href }, { cause });
  } finally {
    clearTimeout(timer);
  }
}

const redirects: readonly number[] = [301, 302, 303, 307, 308];

/** By hand, because each step has to be judged. */
async function follow(
  place: Place,
  first: { readonly url: URL; readonly accept: string; readonly signal: AbortSignal },
): Promise<Response> {
  const { accept, signal } = first;
  let { url } = first;
  for (let steps = 0; ; steps++) {
    const credentials = steps === 0 ? credentialsFor(url, place) : {};
    const response = await fetch(url.href, {
      redirect: "manual",
      // The digest is that of the file, not of what a server makes of it on the way.
      headers: {
        "user-agent": `eventdbx-cli/${version}`,
        accept,
        "accept-encoding": "identity",
        ...credentials,
      },
      signal,
    });
    const location = response.headers.get("location");
    if (!redirects.includes(response.status) || location === null) return response;
    await response.body?.cancel();
    if (steps >= limits.upgrade_redirects_max) {
      throw unavailable(`${first.url.href} leads from one place to the next`, {
        url: first.url.href,
        redirects: steps,
      });
    }
    url = allowed(URL.parse(location, url.href)?.href ?? location, place);
  }
}

/** `subject` stands before what is said of the place itself, for those who do not name it. */
function requireSuccess(
  response: Response,
  { place: { token }, subject }: { readonly place: Place; readonly subject: string },
): void {
  const { status, url } = response;
  if (response.ok) return;
  const until = limitedUntil(response);
  if (until !== null) {
    const ways =
      token === null ? "wait, or set EVENTDBX_GITHUB_TOKEN to a token of yours" : "wait until then";
    const end = until === "" ? "" : ` until ${until}`;
    throw overloaded(`${subject}its rate limit is used up${end}; ${ways}`, { status, url, until });
  }
  if (status === 401 && token !== null) {
    throw unauthenticated(`${subject}it does not take the token of ${token.variable} (401)`, {
      status,
      url,
    });
  }
  throw unavailable(`${url} answers with status ${status}`, { status, url });
}

/** Null where it is no rate limit; empty where it does not say how long. */
function limitedUntil({ status, headers }: Response): string | null {
  const wait = headers.get("retry-after");
  const isSpent = headers.get("x-ratelimit-remaining") === "0";
  if (status !== 429 && !(status === 403 && (isSpent || wait !== null))) return null;
  const date = Date.parse(headers.get("date") ?? "");
  const ends = /^\d{1,9}$/.test(wait ?? "")
    ? date + Number(wait) * 1000
    : wait === null
      ? Number(headers.get("x-ratelimit-reset") ?? Number.NaN) * 1000
      : Date.parse(wait);
  if (ends > 0 && ends < last_ms) return new Date(ends).toISOString().replace(".000", "");
  return /^\d{1,9}$/.test(wait ?? "") ? `${wait} s from now` : "";
}

/** The end of what a date can hold. */
const last_ms = 8_640_000_000_000_000;

async function textOf(
  response: Response,
  { seen, bytes_max }: { readonly seen: () => void; readonly bytes_max: number },
): Promise<string> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of arriving(response, seen)) {
    bytes += piece.length;
    if (bytes > bytes_max) throw tooMuch(response.url, bytes_max);
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString("utf8");
}

async function keep(
  response: Response,
  options: { readonly to: string; readonly progress: Progress; readonly seen: () => void },
): Promise<string> {
  const total = lengthOf(response);
  const bytes_max = limits.upgrade_archive_bytes_max;
  if (total !== null && total > bytes_max) throw tooMuch(response.url, bytes_max);
  const hash = createHash("sha256");
  let bytes = 0;
  const file = await open(options.to, "wx", 0o600);
  try {
    for await (const piece of arriving(response, options.seen)) {
      bytes += piece.length;
      if (bytes > bytes_max) throw tooMuch(response.url, bytes_max);
      hash.update(piece);
      await file.writeFile(piece);
      options.progress({ bytes, total });
    }
  } finally {
    await file.close();
  }
  return hash.digest("hex");
}

/** Throws where less comes than was announced. */
async function* arriving(response: Response, seen: () => void): AsyncGenerator<Uint8Array> {
  const total = lengthOf(response);
  let bytes = 0;
  for await (const piece of response.body ?? []) {
    seen();
    bytes += piece.length;
    yield piece;
  }
  if (total !== null && bytes !== total) {
    throw unavailable(`${response.url}: ${bytes} of ${total} bytes arrived`, {
      url: response.url,
      bytes,
      total,
    });
  }
}

function lengthOf({ headers }: Response): number | null {
  const text = headers.get("content-length");
  // A server that packs nevertheless counts the packed bytes.
  if (text === null || headers.has("content-encoding")) return null;
  return /^\d{1,15}$/.test(text) ? Number(text) : null;
}

const tooMuch = (url: string, limit: number) =>
  tooLarge(`${url} has more than ${limit} bytes`, { url, limit });

const reasonOf = (cause: unknown): string =>
  cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
