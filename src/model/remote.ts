// Other nodes as the configuration names them: where each is, by which key it is known, and what it
// may do here. Endpoints and keys come from people, so each complaint says what is wrong.

import { Type, type Static } from "@sinclair/typebox";
import { isPublicPoint } from "./ed25519.ts";
import { alreadyExists, invalidArgument, overloaded } from "./error.ts";
import { limits } from "./limits.ts";

/** What a node that is known may ask of this one. */
const rights = ["read", "append", "schemas"] as const;
export type Right = (typeof rights)[number];

const Right = Type.Union(
  rights.map((right) => Type.Literal(right)),
  { description: "`read`, `append` or `schemas`." },
);

export const Remote = Type.Object({
  endpoint: Type.String({
    description: "Where it listens: tcp://host:port.",
    examples: ["tcp://10.0.0.7:6363"],
  }),
  public_key: Type.String({
    description: "Its public key, as `dbx remote key` prints it there.",
    examples: ["11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo"],
  }),
  allow: Type.Optional(
    Type.Array(Right, { description: "What it may do here; everything when missing." }),
  ),
});
export type Remote = Static<typeof Remote>;

export const allowedTo = ({ allow }: Pick<Remote, "allow">): readonly Right[] => allow ?? rights;

/** The port that a node listens on when nobody says otherwise. */
export const remotePort = 6363;

export interface RemoteEndpoint {
  /** An IPv6 address without its brackets. */
  readonly host: string;
  readonly port: number;
}

/** A name becomes a table of the configuration file, `[remotes.name]`. Throws `invalid_argument`. */
export function remoteNameOf(text: string): string {
  const name = text.trim();
  if (name === "") throw invalidArgument("remote name cannot be empty");
  if (/^[A-Za-z0-9_-]+$/.test(name) && name.length <= limits.remote_name_chars_max) return name;
  throw invalidArgument(
    `remote name must be 1 to ${limits.remote_name_chars_max} letters, digits, - or _`,
    { name: name.slice(0, limits.remote_name_chars_max) },
  );
}

/** `tcp://host:port`, `host`, `[::1]:6363`. Throws `invalid_argument`. */
export function remoteEndpointOf(text: string): RemoteEndpoint {
  const trimmed = text.trim();
  if (trimmed === "") throw invalidArgument("remote endpoint cannot be empty");
  const [, scheme, rest = ""] = /^(?:([^:/[\]]*):\/\/)?([^]*)$/.exec(trimmed) ?? [];
  if (scheme !== undefined && scheme.toLowerCase() !== "tcp") {
    throw invalidArgument(`remote endpoint scheme must be 'tcp', found '${scheme}'`);
  }
  if (rest.startsWith("[")) return bracketed(rest);
  const colon = rest.indexOf(":");
  const host = colon === -1 ? rest : rest.slice(0, colon);
  if (colon !== rest.lastIndexOf(":")) {
    throw invalidArgument("remote endpoint has invalid IPv6 host");
  }
  if (host === "") throw invalidArgument("remote endpoint host cannot be empty");
  if (!isHostName(host)) throw invalidArgument("remote endpoint host is invalid");
  return { host, port: colon === -1 ? remotePort : portOf(rest.slice(colon + 1)) };
}

function bracketed(rest: string): RemoteEndpoint {
  const end = rest.indexOf("]");
  const host = rest.slice(1, end);
  if (end === -1 || !isIpv6(host)) throw invalidArgument("remote endpoint has invalid IPv6 host");
  const after = rest.slice(end + 1);
  if (after === "") return { host, port: remotePort };
  if (!after.startsWith(":")) {
    throw invalidArgument("remote endpoint IPv6 port must follow ']'");
  }
  return { host, port: portOf(after.slice(1)) };
}

function portOf(text: string): number {
  if (text === "") throw invalidArgument("remote endpoint port cannot be empty");
  if (!/^\d{1,5}$/.test(text) || Number(text) > 65_535) {
    throw invalidArgument("remote endpoint port is invalid: it must be 1 to 65535");
  }
  if (Number(text) === 0) throw invalidArgument("remote endpoint port must be greater than zero");
  return Number(text);
}

const isHostName = (host: string): boolean =>
  host.length <= 253 && /^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9.])?$/.test(host);

/** With `%eth0` behind it where it holds on one link only. */
export const isIpv6 = (host: string): boolean =>
  /^[0-9A-Fa-f:.]{2,45}(?:%[A-Za-z0-9._-]{1,32})?$/.test(host) && host.split(":").length > 2;

/** `tcp://10.0.0.7:6363`, `tcp://[::1]:6363`. */
export const showEndpoint = ({ host, port }: RemoteEndpoint): string =>
  `tcp://${host.includes(":") ? `[${host}]` : host}:${port}`;

/** Base64 of 32 bytes, with or without its filler. Throws `invalid_argument`. */
export function publicKeyBytes(text: string): Uint8Array {
  const trimmed = text.trim();
  if (trimmed === "") throw invalidArgument("public key cannot be empty");
  const bytes = fromBase64(trimmed);
  if (bytes.length !== 32) {
    throw invalidArgument("public key must decode to 32 bytes", { bytes: bytes.length });
  }
  if (!isPublicPoint(bytes)) {
    throw invalidArgument(
      "public key is none of Ed25519: the bytes are no point that proves a key",
    );
  }
  return bytes;
}

function fromBase64(text: string): Uint8Array {
  const bare = text.replace(/={1,2}$/, "");
  try {
    // Strict, so that each key has one text: bits that say nothing must be zero.
    return Uint8Array.fromBase64(bare.padEnd(Math.ceil(bare.length / 4) * 4, "="), {
      lastChunkHandling: "strict",
    });
  } catch (cause) {
    throw invalidArgument(
      "invalid base64 public key: it needs 43 signs of A-Z, a-z, 0-9, + and /",
      {},
      {
        cause,
      },
    );
  }
}

/** As everybody writes it: 43 signs, no filler. */
export const publicKeyText = (bytes: Uint8Array): string => bytes.toBase64({ omitPadding: true });

/** `read,append` and the like, each once and in the usual order. Throws `invalid_argument`. */
export function rightsOf(words: readonly string[]): Right[] {
  const wanted = words.flatMap((word) => word.split(",")).map((word) => word.trim());
  const unknown = wanted.find((word) => !rights.some((right) => right === word));
  if (unknown !== undefined) {
    throw invalidArgument(`a remote may be allowed ${rights.join(", ")}, not '${unknown}'`, {
      allow: unknown,
    });
  }
  return rights.filter((right) => wanted.includes(right));
}

/**
 * What is to be kept. Throws `already_exists` for a name that is taken, unless it is to be
 * replaced, and for a key that another name has: a node that calls is known by its key alone.
 */
export function plannedRemote(
  remotes: Readonly<Record<string, Remote>>,
  asked: {
    readonly name: string;
    readonly endpoint: RemoteEndpoint;
    readonly public_key: string;
    /** Null: as before, or everything. */
    readonly allow: readonly Right[] | null;
    readonly replace: boolean;
  },
): Remote {
  const { name, endpoint, allow, replace } = asked;
  const before = Object.hasOwn(remotes, name) ? remotes[name] : undefined;
  if (before !== undefined && !replace) {
    throw alreadyExists(`remote '${name}' already exists (use --replace to overwrite)`, { name });
  }
  const public_key = publicKeyText(publicKeyBytes(asked.public_key));
  const other = Object.entries(remotes).find(
    ([known, remote]) => known !== name && bareKey(remote.public_key) === public_key,
  );
  if (other !== undefined) {
    throw alreadyExists(`remote '${other[0]}' has this public key already`, { name: other[0] });
  }
  if (before === undefined && Object.keys(remotes).length >= limits.remotes_max) {
    throw overloaded(`there are ${limits.remotes_max} remotes already`, {
      limit: limits.remotes_max,
    });
  }
  const kept = allow ?? before?.allow;
  return {
    ...{ endpoint: showEndpoint(endpoint), public_key },
    ...(kept === undefined ? {} : { allow: [...kept] }),
  };
}

/** A key that somebody wrote, without what it may have around it. */
export const bareKey = (public_key: string): string => public_key.trim().replace(/=$/, "");
