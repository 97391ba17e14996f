// A server elsewhere as the target of commands: over HTTP at the URL that `--url` names, with a
// token, because nothing there can be proved by this machine's secret file.

import { readFile } from "node:fs/promises";
import type { Ask } from "../api/dbx.ts";
import { decode } from "../api/decode.ts";
import { operations } from "../api/operations.ts";
import { createClient, send, type Endpoint } from "../client/http.ts";
import { DbxError, failedPrecondition, invalidArgument, unauthenticated } from "../model/error.ts";
import { limits } from "../model/limits.ts";
import { askThrough } from "./ask.ts";
import type { Named, Shell } from "./shell.ts";

/**
 * In: the URL, a file with certificates to trust besides the usual ones, the caller's token. Throws
 * `invalid_argument`, `unauthenticated` without a token, and `unavailable` where no dbx answers.
 */
export async function openDistant(
  { url: named, ca_file }: Extract<Shell["reach"], { kind: "url" }>,
  options: {
    readonly token: string | undefined;
    /** How to give one to the command that asks. */
    readonly ways: string;
    readonly warn: (words: string) => void;
  },
): Promise<{ remote: true; ask: Ask; close: () => Promise<void> }> {
  const { text: url } = named;
  const { token, ways, warn } = options;
  const endpoint = await endpointOf(named, ca_file);
  if (token === undefined) {
    throw unauthenticated(`${url} asks for a token: ${ways}`);
  }
  if (endpoint.tls === null && !isLoopback(endpoint.host)) {
    warn(`${url} is without TLS: whoever listens on the way reads the token`);
  }
  await requireDbx(url, endpoint);
  const client = createClient({ ...endpoint, token, idle_ms_max: limits.answer_idle_ms_max });
  return {
    remote: true,
    ask: async (operation, input) => {
      const decoded = decode(operations[operation].input, input);
      try {
        return await askThrough(client.dbx, operation, decoded);
      } catch (error) {
        throw isLostPath(error) ? notServed(url, error) : error;
      }
    },
    close: async () => client.close(),
  };
}

async function endpointOf(named: Named, ca_file: Named | null): Promise<Endpoint> {
  const { text } = named;
  const url = URL.canParse(text) ? new URL(text) : null;
  const isPlain = url?.protocol === "http:";
  if (url === null || (!isPlain && url.protocol !== "https:")) {
    throw unfit(named, `${JSON.stringify(text)} is no address such as https://db.example.com:7070`);
  }
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") {
    const taken = "takes scheme, host, port and path";
    throw unfit(named, `${taken}; a token goes with --token or EVENTDBX_TOKEN`);
  }
  if (isPlain && ca_file !== null) {
    const { place } = ca_file;
    throw invalidArgument(`${place} is for https:// addresses`, whereOf(ca_file));
  }
  return {
    host: url.hostname.replace(/^\[(.*)\]$/, "$1"),
    port: url.port === "" ? (isPlain ? 80 : 443) : Number(url.port),
    prefix: url.pathname.replace(/\/+$/, ""),
    tls: isPlain ? null : { ca: ca_file === null ? null : await readCa(ca_file) },
  };
}

/** In the details a flag is told from a variable, which has no line in `--help`. */
const whereOf = ({ place }: Named) => (place.startsWith("--") ? { flag: place } : { key: place });

const unfit = (named: Named, problem: string) =>
  invalidArgument(`${named.place}: ${problem}`, whereOf(named));

async function readCa(named: Named): Promise<string> {
  const { text: file, place } = named;
  try {
    const text = await readFile(file, "utf8");
    if (text.includes("-----BEGIN CERTIFICATE-----")) return text;
  } catch (cause) {
    const reason = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
    const details = { ...whereOf(named), file };
    throw invalidArgument(`${place}: cannot read ${file}: ${reason}`, details, { cause });
  }
  throw invalidArgument(`${place}: ${file} has no certificate in PEM`, whereOf(named));
}

const isLoopback = (host: string): boolean => /^(?:localhost|127\.[\d.]+|::1)$/.test(host);

/** Before a token is sent: a host that is silent, or somebody else's, is found here. */
async function requireDbx(url: string, endpoint: Endpoint): Promise<void> {
  const asked = { method: "GET", path: "/health", body: null };
  const { status, text } = await send({
    ...{ ...endpoint, ...asked, idle_ms_max: limits.connect_ms },
  }).catch((error: unknown) => {
    throw error instanceof DbxError ? inWordsOfTls(error, { url, endpoint }) : error;
  });
  if (status === 200 && text === '{"status":"ok"}') return;
  throw failedPrecondition(`${url} answers GET /health with ${status}, and not as dbx does`, {
    url,
    status,
  });
}

/** By the TLS library's codes: what about the certificate keeps the connection from being safe. */
const certificateFaults: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    [
      "DEPTH_ZERO_SELF_SIGNED_CERT",
      "SELF_SIGNED_CERT_IN_CHAIN",
      "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
      "UNABLE_TO_GET_ISSUER_CERT",
      "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
    ].map((code) => [
      code,
      "nobody that is trusted here has signed its certificate; name its authority, or the " +
        "certificate itself, with --ca-file or EVENTDBX_CA_FILE",
    ]),
  ),
  ERR_TLS_CERT_ALTNAME_INVALID:
    "its certificate is for other names; ask it by a name that is in there (subjectAltName)",
  CERT_HAS_EXPIRED: "its certificate has expired",
  CERT_NOT_YET_VALID: "its certificate is not valid yet; is the clock of this machine right?",
  ERR_SSL_WRONG_VERSION_NUMBER: "it does not speak TLS there; try http://",
};

/** Trying again helps against none of these, so they are not `unavailable`. */
function inWordsOfTls(
  error: DbxError,
  { url, endpoint }: { url: string; endpoint: Endpoint },
): DbxError {
  const reason = String(error.details["reason"]);
  const fault = Object.hasOwn(certificateFaults, reason) ? certificateFaults[reason] : undefined;
  const details = { url, reason };
  if (fault !== undefined) {
    return failedPrecondition(`${url}: ${fault} (${reason})`, details, { cause: error });
  }
  // What a listener of TLS does with somebody who begins without it.
  if (reason !== "ECONNRESET" || endpoint.tls !== null) return error;
  const guess = "it ended the connection; if it speaks TLS, ask https://";
  return new DbxError(error.code, `${url}: ${guess} (${reason})`, details, { cause: error });
}

/** What the server says of a path that it does not have: it names it. */
const isLostPath = (error: unknown): error is DbxError =>
  error instanceof DbxError && error.code === "not_found" && "path" in error.details;

const notServed = (url: string, cause: DbxError) =>
  failedPrecondition(
    `${url} does not serve this: its REST surface is off ([api] rest), or it is another version`,
    { url, ...cause.details },
    { cause },
  );
