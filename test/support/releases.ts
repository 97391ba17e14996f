/**
 * A place where releases are published, on loopback: the list, the latest, one by its tag, and the
 * files themselves, as the public one answers. Faults are named by what they befall: `list`,
 * `latest`, `tag`, or an asset's name.
 */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";

export type Assets = Readonly<Record<string, Uint8Array | string>>;

export type Fault =
  /** One byte in the middle is another one. */
  | { readonly kind: "altered" }
  /** Half of what was announced, and the connection is closed. */
  | { readonly kind: "cut" }
  /** Listed, but not there. */
  | { readonly kind: "missing" }
  /** Neither listed nor there. */
  | { readonly kind: "unlisted" }
  /** Nothing is ever answered. */
  | { readonly kind: "silent" }
  /** Half of it, and then nothing more. */
  | { readonly kind: "stalled" }
  | { readonly kind: "redirect"; readonly to: string }
  /** Refused: `status` 403 with `x-ratelimit-…` or 429 with `retry-after` is a rate limit. */
  | {
      readonly kind: "refused";
      readonly status: number;
      readonly headers?: Readonly<Record<string, string>>;
    }
  /** Something else than what is told in JSON. */
  | { readonly kind: "nonsense" };

export interface ReleasesOptions {
  /** By tag; or a folder with a folder for each tag. */
  readonly releases: Readonly<Record<string, Assets>> | string;
  /** Tags that nobody gets as the latest. */
  readonly drafts?: readonly string[];
  readonly faults?: Readonly<Record<string, Fault>>;
}

export interface Asked {
  readonly path: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

export interface Releases extends AsyncDisposable {
  readonly origin: string;
  /** For `DBX_RELEASES_URL`. */
  readonly url: string;
  /** Files are at `<download>/<tag>/<asset>`. */
  readonly download: string;
  /** Paths with their query, as they were asked for. */
  readonly asked: readonly string[];
  readonly requests: readonly Asked[];
  /** May be changed while it runs. */
  readonly faults: Map<string, Fault>;
  /** Resolves when a path with this end has been asked for, and answered as far as it ever is. */
  readonly until: (end: string) => Promise<void>;
}

export async function startReleases(options: ReleasesOptions): Promise<Releases> {
  const { releases, drafts = [] } = options;
  const tree = typeof releases === "string" ? readFolder(releases) : releases;
  const tags = Object.keys(tree).toSorted((a, b) => Bun.semver.order(bare(b), bare(a)));
  const faults = new Map(Object.entries(options.faults ?? {}));
  const requests: Asked[] = [];
  const answered: string[] = [];
  let waiting: { readonly end: string; readonly resolve: () => void }[] = [];

  const server = createServer((request, response) => {
    const path = request.url ?? "";
    requests.push({ path, headers: request.headers });
    const origin = `http://127.0.0.1:${portOf(server.address())}`;
    answer(request, response, { origin, tree, tags, drafts, faults });
    answered.push(path);
    const met = waiting.filter(({ end }) => path.endsWith(end));
    waiting = waiting.filter((each) => !met.includes(each));
    for (const { resolve } of met) resolve();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const origin = `http://127.0.0.1:${portOf(server.address())}`;
  return {
    origin,
    url: `${origin}/releases`,
    download: `${origin}/download`,
    get asked() {
      return requests.map(({ path }) => path);
    },
    requests,
    faults,
    until: (end) =>
      new Promise((resolve) => {
        if (answered.some((path) => path.endsWith(end))) resolve();
        else waiting.push({ end, resolve });
      }),
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** The same assets with a `.sha256` beside each and a `sha256.sum` over all, as releases have. */
export function withChecksums(assets: Assets): Assets {
  const lines = Object.entries(assets).map(([name, content]) => ({
    name,
    line: `${createHash("sha256").update(content).digest("hex")} *${name}\n`,
  }));
  const files = lines.map(({ name, line }) => [`${name}.sha256`, `${line}\n`] as const);
  const sum = lines.map(({ line }) => line).join("");
  return { ...assets, ...Object.fromEntries(files), "sha256.sum": sum };
}

interface Place {
  readonly origin: string;
  readonly tree: Readonly<Record<string, Assets>>;
  /** The newest first. */
  readonly tags: readonly string[];
  readonly drafts: readonly string[];
  readonly faults: ReadonlyMap<string, Fault>;
}

function answer(request: IncomingMessage, response: ServerResponse, place: Place): void {
  const { pathname, searchParams } = new URL(request.url ?? "/", place.origin);
  const [, top = "", ...rest] = pathname.split("/").map(decodeURIComponent);
  const { tree, tags, drafts } = place;
  if (top === "download") {
    const [tag = "", name = ""] = rest;
    const found = { content: tree[tag]?.[name], type: "application/octet-stream" };
    return send(response, found, place.faults.get(name));
  }
  const [what = "", tag = ""] = rest;
  if (top !== "releases") return send(response, { content: undefined, type: "" }, undefined);
  const json = (found: unknown, fault: Fault | undefined) => {
    const content = found === undefined ? undefined : JSON.stringify(found);
    return send(response, { content, type: "application/json; charset=utf-8" }, fault);
  };
  if (what === "") {
    const size = Number(searchParams.get("per_page") ?? 30);
    const first = (Number(searchParams.get("page") ?? 1) - 1) * size;
    const page = tags.slice(first, first + size).map((each) => releaseOf(each, place));
    return json(page, place.faults.get("list"));
  }
  if (what === "latest") {
    const newest = tags.find((each) => !drafts.includes(each) && !isPrerelease(each));
    const found = newest === undefined ? undefined : releaseOf(newest, place);
    return json(found, place.faults.get("latest"));
  }
  const known = what === "tags" && Object.hasOwn(tree, tag);
  return json(known ? releaseOf(tag, place) : undefined, place.faults.get("tag"));
}

function releaseOf(tag: string, { origin, tree, tags, drafts, faults }: Place): unknown {
  const assets = Object.entries(tree[tag] ?? {}).filter(
    ([name]) => faults.get(name)?.kind !== "unlisted",
  );
  const day = new Date(Date.UTC(2026, 0, 1) + (tags.length - tags.indexOf(tag)) * 86_400_000);
  return {
    tag_name: tag,
    name: tag,
    draft: drafts.includes(tag),
    prerelease: isPrerelease(tag),
    published_at: drafts.includes(tag) ? null : day.toISOString().replace(".000", ""),
    html_url: `${origin}/tag/${tag}`,
    assets: assets.map(([name, content]) => ({
      name,
      size: Buffer.byteLength(content),
      browser_download_url: `${origin}/download/${tag}/${name}`,
    })),
  };
}

function send(
  response: ServerResponse,
  { content, type }: { content: Uint8Array | string | undefined; type: string },
  fault: Fault | undefined,
): void {
  const absent = content === undefined || fault?.kind === "missing" || fault?.kind === "unlisted";
  if (fault?.kind === "silent") return;
  if (fault?.kind === "redirect") {
    response.writeHead(302, { location: fault.to }).end();
  } else if (fault?.kind === "refused") {
    response.writeHead(fault.status, { ...fault.headers }).end('{"message":"refused"}');
  } else if (absent) {
    response.writeHead(404, { "content-type": "application/json" }).end('{"message":"Not Found"}');
  } else {
    const bytes = Buffer.from(fault?.kind === "nonsense" ? "<html>welcome</html>" : content);
    const half = bytes.length >> 1;
    if (fault?.kind === "altered") bytes[half] = (bytes[half] ?? 0) ^ 1;
    response.writeHead(200, { "content-type": type, "content-length": bytes.length });
    if (fault?.kind === "cut") response.write(bytes.subarray(0, half), () => response.destroy());
    else if (fault?.kind === "stalled") response.write(bytes.subarray(0, half));
    else response.end(bytes);
  }
}

function readFolder(folder: string): Record<string, Assets> {
  const tags = readdirSync(folder, { withFileTypes: true }).filter((each) => each.isDirectory());
  return Object.fromEntries(
    tags.map(({ name: tag }) => {
      const names = readdirSync(join(folder, tag));
      const files = names.map((name) => [name, readFileSync(join(folder, tag, name))] as const);
      return [tag, Object.fromEntries(files)];
    }),
  );
}

const bare = (tag: string): string => tag.replace(/^v+/, "");

const isPrerelease = (tag: string): boolean => tag.includes("-");

const portOf = (address: AddressInfo | string | null): number =>
  typeof address === "object" && address !== null ? address.port : 0;
