// Brings a bundle into a file of our own, from a path or over HTTP, and says its SHA-256. What is
// unpacked afterwards is that file, so nobody can change it between the check and the use.

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open, realpath, stat } from "node:fs/promises";
import { basename } from "node:path";
import type { InstalledBundle } from "../model/bundle.ts";
import {
  DbxError,
  failedPrecondition,
  invalidArgument,
  tooLarge,
  unavailable,
} from "../model/error.ts";
import { limits } from "../model/limits.ts";

export interface FetchOptions {
  /** Path or URL. */
  readonly source: string;
  /** A file that does not exist yet. */
  readonly to: string;
  /** Whether somebody knows what must arrive: plain http is refused otherwise. */
  readonly checked: boolean;
  /** `total` is null where nobody says it. */
  readonly progress: (done: { readonly bytes: number; readonly total: number | null }) => void;
  /** How long nothing may arrive. */
  readonly idle_ms_max: number;
  readonly signal: AbortSignal;
}

export interface Fetched {
  readonly source: NonNullable<InstalledBundle["source"]>;
  readonly remote: boolean;
  /** What the bundle is called where it came from. */
  readonly file_name: string;
  /** SHA-256, hex. */
  readonly checksum: string;
  readonly bytes: number;
}

export const isUrl = (source: string): boolean => /^[a-z][a-z0-9+.-]*:\/\//i.test(source);

export const fetchBundle = (options: FetchOptions): Promise<Fetched> =>
  isUrl(options.source) ? download(options) : copy(options);

async function copy({ source, to, progress, signal }: FetchOptions): Promise<Fetched> {
  const failed = (why: string, cause?: unknown) =>
    failedPrecondition(
      `failed to open plugin bundle at ${source}: ${why}`,
      { path: source },
      {
        cause,
      },
    );
  let path: string;
  let total: number;
  try {
    path = await realpath(source);
    const found = await stat(path);
    // A pipe would wait for ever.
    if (!found.isFile()) throw failed("it is no file; name an archive or an executable");
    total = found.size;
  } catch (cause) {
    throw cause instanceof DbxError ? cause : failed(reasonOf(cause), cause);
  }
  const stream = createReadStream(path, { highWaterMark: 262_144 });
  const written = await write(stream, { to, progress, total, signal });
  return { ...written, remote: false, file_name: basename(path), source: { type: "local", path } };
}

async function download(options: FetchOptions): Promise<Fetched> {
  const { source, to, progress } = options;
  const first = parseUrl(source);
  const shown = withoutSecrets(first);
  if (first.protocol === "http:" && !options.checked) {
    throw invalidArgument(
      `${shown} is not encrypted, so anybody on the way could change the plugin; ` +
        "use https, or name its SHA-256 with --checksum",
      { flag: "--checksum" },
    );
  }
  const idle = new AbortController();
  const timer = setTimeout(() => idle.abort(), options.idle_ms_max);
  const total_ms = AbortSignal.timeout(limits.plugin_download_ms_max);
  const signal = AbortSignal.any([options.signal, idle.signal, total_ms]);
  try {
    const { response, url } = await follow(first, signal);
    if (!response.ok || response.body === null) {
      throw unavailable(`received error response from ${shown} (${response.status})`, {
        status: response.status,
      });
    }
    const total = lengthOf(response);
    if (total !== null && total > limits.plugin_bundle_bytes_max) throw tooMuch();
    const pieces = arriving(response.body, () => timer.refresh());
    const written = await write(pieces, { to, progress, total, signal });
    if (total !== null && written.bytes !== total) {
      throw unavailable(
        `failed to download plugin bundle from ${shown}: ` +
          `${written.bytes} of ${total} bytes arrived`,
      );
    }
    const file_name = nameIn(url) || nameIn(first);
    return { ...written, remote: true, file_name, source: { type: "remote", registry: shown } };
  } catch (cause) {
    if (cause instanceof DbxError) throw cause;
    options.signal.throwIfAborted();
    const why = idle.signal.aborted
      ? `nothing arrived for ${options.idle_ms_max} ms`
      : total_ms.aborted
        ? `it takes longer than ${limits.plugin_download_ms_max} ms`
        : reasonOf(cause);
    throw unavailable(`failed to download plugin bundle from ${shown}: ${why}`, {}, { cause });
  } finally {
    clearTimeout(timer);
  }
}

/** By hand, because each step has to be judged. */
async function follow(
  first: URL,
  signal: AbortSignal,
): Promise<{ readonly response: Response; readonly url: URL }> {
  let url = first;
  for (let steps = 0; ; steps++) {
    const response = await fetch(bareUrl(url), {
      redirect: "manual",
      // The digest is that of the file, not of what a server makes of it on the way.
      headers: { ...credentialsOf(first, url), "accept-encoding": "identity" },
      signal,
    });
    const location = response.headers.get("location");
    if (![301, 302, 303, 307, 308].includes(response.status) || location === null) {
      return { response, url };
    }
    await response.body?.cancel();
    if (steps === limits.plugin_redirects_max) {
      throw unavailable(
        `failed to download plugin bundle from ${withoutSecrets(first)}: ` +
          `more than ${limits.plugin_redirects_max} redirects`,
      );
    }
    const next = parseUrl(new URL(location, bareUrl(url)).href);
    if (url.protocol === "https:" && next.protocol !== "https:") {
      throw unavailable(
        `failed to download plugin bundle from ${withoutSecrets(first)}: ` +
          "it is redirected from https to http",
      );
    }
    url = next;
  }
}

function parseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url !== null && (url.protocol === "https:" || url.protocol === "http:")) return url;
  throw invalidArgument("a plugin is fetched from a path, or from an http or https URL", {
    flag: "--source",
  });
}

/** Without what may be secret: user, password, query. */
function withoutSecrets(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`;
}

function bareUrl(url: URL): string {
  const bare = new URL(url);
  bare.username = "";
  bare.password = "";
  return bare.href;
}

/** To the server that was named with them, and to no other. */
function credentialsOf(first: URL, { origin }: URL): Record<string, string> {
  if (first.username === "" || first.origin !== origin) return {};
  const words = [first.username, first.password].map((word) => decodeURIComponent(word)).join(":");
  return { authorization: `Basic ${Buffer.from(words).toString("base64")}` };
}

const nameIn = ({ pathname }: URL): string => pathname.slice(pathname.lastIndexOf("/") + 1);

function lengthOf({ headers }: Response): number | null {
  const text = headers.get("content-length");
  // A server that packs nevertheless counts the packed bytes.
  if (text === null || headers.has("content-encoding")) return null;
  return /^\d{1,15}$/.test(text) ? Number(text) : null;
}

async function* arriving(
  body: ReadableStream<Uint8Array>,
  seen: () => void,
): AsyncGenerator<Uint8Array> {
  for await (const piece of body) {
    seen();
    yield piece;
  }
}

const tooMuch = () =>
  tooLarge(`a plugin bundle has at most ${limits.plugin_bundle_bytes_max} bytes`, {
    limit: limits.plugin_bundle_bytes_max,
  });

async function write(
  pieces: AsyncIterable<Uint8Array>,
  options: Pick<FetchOptions, "to" | "progress" | "signal"> & { readonly total: number | null },
): Promise<{ readonly checksum: string; readonly bytes: number }> {
  const { to, progress, total, signal } = options;
  const hash = createHash("sha256");
  let bytes = 0;
  const file = await open(to, "wx", 0o600);
  try {
    for await (const piece of pieces) {
      signal.throwIfAborted();
      bytes += piece.length;
      if (bytes > limits.plugin_bundle_bytes_max) throw tooMuch();
      hash.update(piece);
      await file.writeFile(piece);
      progress({ bytes, total });
    }
  } finally {
    await file.close();
  }
  return { checksum: hash.digest("hex"), bytes };
}

const reasonOf = (cause: unknown): string =>
  cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
