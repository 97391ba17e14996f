// Bundles from URLs: servers that cut, stall, lie and redirect, and what is told of where a bundle
// came from.

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { limits } from "../../src/model/limits.ts";
import { tempDir, type TempDir } from "../support/temp.ts";
import { makePair } from "../support/tls.ts";
import { zipOf } from "./archives.ts";
import { siteIn, type Site } from "./installing.ts";

let dir: TempDir;
let site: Site;
beforeEach(() => {
  dir = tempDir();
  site = siteIn(dir.path);
});
afterEach(() => dir[Symbol.dispose]());

const bundle = zipOf([{ name: "search", content: "#!/bin/sh\n", mode: 0o755 }]);
const checksum = new Bun.CryptoHasher("sha256").update(bundle).digest("hex");

const serving = (fetch: (request: Request) => Response | Promise<Response>, tls?: Bun.TLSOptions) =>
  Bun.serve({ port: 0, hostname: "127.0.0.1", fetch, ...(tls === undefined ? {} : { tls }) });

/** Answers each connection with the bytes, and leaves it as `ending` says. */
async function rawServer(head: string, { ending }: { ending: "cut" | "stall" }) {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.once("data", () => {
      socket.write(head);
      socket.write(bundle.subarray(0, 20));
      if (ending === "cut") socket.end();
    });
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const address = server.address();
  const port = typeof address === "object" ? address?.port : 0;
  return {
    url: `http://127.0.0.1:${port}/search.zip`,
    [Symbol.dispose]: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

describe("a bundle from a URL", () => {
  test("is recorded without what may be secret, and its bytes are told as they come", async () => {
    const authorized: (string | null)[] = [];
    using server = serving((request) => {
      authorized.push(request.headers.get("authorization"));
      return new Response(bundle);
    });
    const source = `http://jane:pa%20ss@127.0.0.1:${server.port}/search.zip?sig=hidden#part`;
    const told: { bytes: number; total: number | null }[] = [];
    const progress = (done: { bytes: number; total: number | null }) => void told.push(done);
    const { record, unchecked } = await site.install({ source, checksum }, { progress });
    expect(unchecked).toBe(false);
    expect(record.source).toEqual({
      type: "remote",
      registry: `http://127.0.0.1:${server.port}/search.zip`,
    });
    expect(authorized).toEqual([`Basic ${Buffer.from("jane:pa ss").toString("base64")}`]);
    expect(told.at(-1)).toEqual({ bytes: bundle.length, total: bundle.length });
  });

  test("is refused over http without a checksum, before anything is asked", async () => {
    let asked = 0;
    using server = serving(() => {
      asked += 1;
      return new Response(bundle);
    });
    const error = await site.refusal({ source: `http://127.0.0.1:${server.port}/s.zip` });
    expect(error.code).toBe("invalid_argument");
    expect(error.message).toContain("--checksum");
    expect(asked).toBe(0);
    expect(site.found()).toEqual({});
  });

  test("has its name and its credentials left behind by a redirect", async () => {
    const authorized: (string | null)[] = [];
    using assets = serving((request) => {
      authorized.push(request.headers.get("authorization"));
      return new Response(bundle);
    });
    using front = serving((request) => {
      authorized.push(request.headers.get("authorization"));
      return Response.redirect(`http://127.0.0.1:${assets.port}/asset?sig=hidden`, 302);
    });
    const { record } = await site.install({
      ...{ source: `http://a:b@127.0.0.1:${front.port}/search.zip`, checksum },
    });
    const registry = `http://127.0.0.1:${front.port}/search.zip`;
    expect(record.source).toEqual({ type: "remote", registry });
    expect(authorized).toEqual([`Basic ${Buffer.from("a:b").toString("base64")}`, null]);
    expect(await Bun.file(join(site.plugins, "registry.json")).text()).not.toContain("hidden");
  });

  test("may be redirected so many times, and no more", async () => {
    let steps = 0;
    using server = serving(({ url }) => {
      const left = Number(new URL(url).pathname.slice(1));
      steps += 1;
      return left === 0 ? new Response(bundle) : Response.redirect(`/${left - 1}`, 307);
    });
    const most = limits.plugin_redirects_max;
    const at = `http://127.0.0.1:${server.port}`;
    await site.install({ source: `${at}/${most}`, checksum });
    steps = 0;
    const error = await site.refusal({ source: `${at}/${most + 1}`, checksum, version: "2" });
    expect(error.message).toContain(`more than ${most} redirects`);
    expect(steps).toBe(most + 1);
  });

  test("is refused where it is not the one that was meant", async () => {
    using server = serving(() => new Response("another"));
    const error = await site.refusal({ source: `http://127.0.0.1:${server.port}/s`, checksum });
    expect(error.message).toStartWith(`checksum mismatch: expected ${checksum}, computed `);
    expect(site.found()).toEqual({});
  });

  test("is missed in the server's own words, without the query", async () => {
    using server = serving(() => new Response("gone", { status: 404 }));
    const source = `http://127.0.0.1:${server.port}/s.zip`;
    const error = await site.refusal({ source: `${source}?sig=hidden`, checksum });
    expect(error.message).toBe(`received error response from ${source} (404)`);
    expect(error.code).toBe("unavailable");
    expect(site.found()).toEqual({});
  });

  const cuts: [string, string, "cut" | "stall", RegExp][] = [
    ["ends early", `HTTP/1.1 200 OK\r\ncontent-length: ${bundle.length}\r\n\r\n`, "cut", /./],
    [
      "ends early in chunks",
      "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\n",
      "cut",
      /./,
    ],
    [
      "stalls",
      `HTTP/1.1 200 OK\r\ncontent-length: ${bundle.length}\r\n\r\n`,
      "stall",
      /nothing arrived for 300 ms/,
    ],
    [
      "is said to be too large",
      "HTTP/1.1 200 OK\r\ncontent-length: 999999999999\r\n\r\n",
      "stall",
      /at most 268435456 bytes/,
    ],
  ];
  test.each(cuts)("whose download %s leaves nothing", async (_, head, ending, message) => {
    using server = await rawServer(head, { ending });
    const error = await site.refusal({ source: server.url, checksum }, { idle_ms_max: 300 });
    expect(error.message).toMatch(message);
    expect(["unavailable", "too_large"]).toContain(error.code);
    expect(site.found()).toEqual({});
  });

  test("is given up when the caller is", async () => {
    using server = await rawServer("HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n", {
      ending: "stall",
    });
    const controller = new AbortController();
    const progress = () => controller.abort();
    const { signal } = controller;
    const installing = site.install({ source: server.url, checksum }, { progress, signal });
    expect(installing).rejects.toThrow();
    await installing.catch(() => {});
    expect(site.found()).toEqual({});
  });

  test.each(["ftp://127.0.0.1/s.zip", "file:///etc/passwd", "data://x"])(
    "is not fetched from %s",
    async (source) => {
      expect((await site.refusal({ source })).code).toBe("invalid_argument");
    },
  );
});

test("over https no checksum is needed, it is computed; but http may not follow", async () => {
  const pair = await makePair(dir.path, "server");
  const tls = { cert: Bun.file(pair.cert), key: Bun.file(pair.key) };
  using plain = serving(() => new Response(bundle));
  using secure = serving(
    ({ url }) =>
      url.endsWith("/away")
        ? Response.redirect(`http://127.0.0.1:${plain.port}/`)
        : new Response(bundle),
    tls,
  );
  const run = async (path: string) => {
    const source = `https://localhost:${secure.port}${path}`;
    const request = { data_dir: site.data_dir, source, force: true };
    const child = Bun.spawn(
      [
        process.execPath,
        "--no-env-file",
        join(import.meta.dir, "install-child.ts"),
        JSON.stringify(request),
      ],
      {
        env: { ...process.env, NODE_EXTRA_CA_CERTS: pair.cert },
        stdout: "pipe",
        stderr: "inherit",
      },
    );
    return JSON.parse(await child.stdout.text());
  };
  expect(await run("/s.zip")).toMatchObject({ unchecked: true, record: { checksum } });
  expect(await run("/away")).toEqual({
    code: "unavailable",
    message:
      `failed to download plugin bundle from https://localhost:${secure.port}/away: ` +
      "it is redirected from https to http",
  });
});
