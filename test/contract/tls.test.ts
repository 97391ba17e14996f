// One real server with TLS, and clients of all kinds: who offers what gets what it speaks, on one
// port or two, and the certificate is replaced under load without a request that fails.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { credentials, makeGenericClientConstructor, type ChannelCredentials } from "@grpc/grpc-js";
import { readFileSync } from "node:fs";
import { copyFile, rename } from "node:fs/promises";
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from "node:tls";
import type { Config } from "../../src/model/config.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { connectRaw } from "../support/server-raw.ts";
import { tempDir, type TempDir } from "../support/temp.ts";
import { makePair, type MadePair } from "../support/tls.ts";

let dir: TempDir;
let pair: MadePair;
let other: MadePair;
let server: TestServer;
const withTls = (over: Partial<Config> = {}) =>
  startTestServer({ config: { tls: { cert: pair.cert, key: pair.key }, ...over } });

beforeAll(async () => {
  dir = tempDir();
  pair = await makePair(dir.path, "first");
  other = await makePair(dir.path, "second");
  server = await withTls();
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  dir[Symbol.dispose]();
});

const authorities = () => [readFileSync(pair.cert, "utf8"), readFileSync(other.cert, "utf8")];

const ask = (port: number, path: string, init: BunFetchRequestInit = {}) =>
  fetch(`https://localhost:${port}${path}`, { ...init, tls: { ca: authorities() } });

/** A connection whose handshake is over. */
function shake(port: number, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const { promise, resolve, reject } = Promise.withResolvers<TLSSocket>();
  const socket = connectTls({ host: "localhost", port, ca: authorities(), ...options }, () =>
    resolve(socket),
  );
  socket.on("error", reject);
  return promise;
}

const Health = makeGenericClientConstructor(
  {
    health: {
      path: "/dbx.api.EventService/Health",
      requestStream: false,
      responseStream: false,
      requestSerialize: (bytes: Buffer) => bytes,
      requestDeserialize: (bytes: Buffer) => bytes,
      responseSerialize: (bytes: Buffer) => bytes,
      responseDeserialize: (bytes: Buffer) => bytes,
    },
  },
  "EventService",
);

/** What grpc-js makes of `Health`: `ok`, or the words of its error. */
async function health(port: number, trust: ChannelCredentials): Promise<string> {
  const client = new Health(`localhost:${port}`, trust);
  const { promise, resolve } = Promise.withResolvers<string>();
  client["health"]?.(Buffer.alloc(0), (error: Error | null) => resolve(error?.message ?? "ok"));
  const answer = await promise;
  client.close();
  return answer;
}

const trusted = () => credentials.createSsl(Buffer.from(authorities().join("\n")));

async function curl(args: readonly string[]): Promise<{ exit: number; text: string }> {
  const child = Bun.spawn(["curl", "-sS", "--cacert", pair.cert, ...args], { stderr: "pipe" });
  const text = await new Response(child.stdout).text();
  return { exit: await child.exited, text };
}

describe("one port", () => {
  test("serves fetch, curl and grpc-js at once", async () => {
    const { port } = server;
    const answers = await Promise.all(
      Array.from({ length: 12 }, async (_, index) => {
        if (index % 3 === 0) return health(port, trusted());
        if (index % 3 === 1) return (await ask(port, "/health")).ok ? "ok" : "refused";
        const { text } = await curl([`https://localhost:${port}/health`]);
        return text.includes('"ok"') ? "ok" : text;
      }),
    );
    expect(answers).toEqual(answers.map(() => "ok"));
  });

  test.each([
    ["both, as browsers and curl do", ["h2", "http/1.1"], "http/1.1"],
    ["both, the other way round", ["http/1.1", "h2"], "http/1.1"],
    ["h2 alone, as clients of gRPC do", ["h2"], "h2"],
    ["nothing", undefined, false],
  ] as const)("a client that offers %s", async (_, offered, agreed) => {
    const list = offered === undefined ? {} : { ALPNProtocols: [...offered] };
    using socket = disposable(await shake(server.port, list));
    expect(socket.alpnProtocol).toBe(agreed);
    const answered = new Promise<Buffer>((resolve) => socket.once("data", resolve));
    const http2 = `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u0004\0\0\0\0\0`;
    const http1 = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    socket.write(agreed === "h2" ? http2 : http1);
    const text = (await answered).toString("latin1");
    // A frame of HTTP/2 begins with its length; the server's settings are type 4.
    expect(agreed === "h2" ? text.charCodeAt(3) : text.slice(0, 15)).toBe(
      agreed === "h2" ? 4 : "HTTP/1.1 200 OK",
    );
  });

  test("without ALPN, HTTP/2 is known by its preface", async () => {
    using socket = disposable(await shake(server.port));
    const answered = new Promise<Buffer>((resolve) => socket.once("data", resolve));
    socket.write(`PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u0004\0\0\0\0\0`);
    expect((await answered)[3]).toBe(4);
  });

  test.each([
    ["TLS 1.1", { minVersion: "TLSv1", maxVersion: "TLSv1.1" }],
    ["a protocol nobody speaks", { ALPNProtocols: ["spdy/1"] }],
    ["another authority", { ca: "" }],
  ] as const)("%s is refused, and the next client served", async (_, options) => {
    const refused = await shake(server.port, { ...options } as ConnectionOptions).catch(
      (error: Error) => error,
    );
    expect(refused).toBeInstanceOf(Error);
    expect((await ask(server.port, "/health")).status).toBe(200);
  });

  test("TLS 1.2 is spoken", async () => {
    using socket = disposable(await shake(server.port, { maxVersion: "TLSv1.2" }));
    expect(socket.getProtocol()).toBe("TLSv1.2");
  });

  test("a client in clear is closed without an answer", async () => {
    using plain = await connectRaw(server.port);
    plain.write("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    await plain.closed;
    expect(await health(server.port, credentials.createInsecure())).not.toBe("ok");
  });

  test("the machine's own command line is served in clear, on loopback", async () => {
    expect((await server.ask("GET", "/health", { control: true })).status).toBe(200);
  });

  test("says so in the log and in its figures", async () => {
    const line = server.lines.find((each) => each.includes(" listening ")) ?? "";
    expect(line).toContain(" tls=true ");
    const { figures } = (await server.ask("GET", "/admin/status", { control: true })).json;
    expect(Date.parse(figures.tls_expires_at)).toBeGreaterThan(0);
    expect(figures.tls_handshakes_failed).toBeGreaterThan(0);
    const secret = readFileSync(pair.key, "utf8").split("\n")[1] ?? "";
    expect(server.lines.join("")).not.toContain(secret);
  });
});

test("a body of sixteen megabytes and its answer pass whole", async () => {
  const { port, token } = server;
  const payload = JSON.stringify({ text: "x".repeat(900_000) });
  const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/json" };
  const events = Array.from(
    { length: 15 },
    (_, index) =>
      `{"aggregate_type":"large","aggregate_id":"l-${index}","event_type":"made",` +
      `"payload":${payload}}`,
  );
  const appended = await ask(port, "/v1/events/batch", {
    method: "POST",
    headers,
    body: `{"events":[${events.join(",")}]}`,
  });
  expect(appended.status).toBe(200);
  // The events come back; who takes none of them keeps the connection.
  expect((await appended.text()).length).toBeGreaterThan(15 * 900_000);
  const read = await ask(port, "/v1/events?take=20", { headers });
  expect((await read.text()).length).toBeGreaterThan(15 * 900_000);
});

describe("other layouts", () => {
  const off = { rest: true, graphql: true, grpc: false };

  test("without gRPC nobody is offered HTTP/2", async () => {
    await using plain = await withTls({ api: off });
    expect((await ask(plain.port, "/health")).status).toBe(200);
    const refused = await shake(plain.port, { ALPNProtocols: ["h2"] }).catch((error) => error);
    expect(refused).toBeInstanceOf(Error);
    expect(plain.grpc_port).toBeNull();
  });

  test("gRPC on an address of its own has TLS there, and offers h2 alone", async () => {
    await using apart = await withTls({ grpc: { bind_addr: "127.0.0.1:0" } });
    const grpcPort = apart.grpc_port ?? 0;
    expect(grpcPort).not.toBe(apart.port);
    expect(await health(grpcPort, trusted())).toBe("ok");
    expect((await ask(apart.port, "/health")).status).toBe(200);
    const answers = [
      await health(grpcPort, credentials.createInsecure()),
      await health(apart.port, trusted()),
    ];
    expect(answers.filter((answer) => answer === "ok")).toEqual([]);
  });
});

/** As certbot and Kubernetes do it: a new file takes the name of the old one. */
async function replace(paths: { cert: string; key: string }, by: MadePair): Promise<void> {
  for (const name of ["cert", "key"] as const) {
    await copyFile(by[name], `${paths[name]}.new`);
    await rename(`${paths[name]}.new`, paths[name]);
  }
}

async function shown(port: number): Promise<string> {
  using socket = disposable(await shake(port));
  return String(socket.getPeerCertificate().subject.CN);
}

describe("new certificates", () => {
  test("are shown to new connections under load, and no request fails", async () => {
    using own = tempDir();
    const first = await makePair(own.path, "first");
    const paths = { cert: `${own.path}/tls.crt`, key: `${own.path}/tls.key` };
    await replace(paths, first);
    const ca = [readFileSync(first.cert, "utf8"), ...authorities()];
    await using served = await startTestServer({ config: { tls: paths } });
    const { port } = served;
    const old = await shake(port, { ca });
    let done = false;
    let requests = 0;
    const load = Array.from({ length: 8 }, async (_, index) => {
      while (!done) {
        const answer = await fetch(`https://localhost:${port}/health`, {
          tls: { ca },
          // Every second client makes a connection for each request.
          keepalive: index % 2 === 0,
        });
        if (!answer.ok) throw new Error(`status ${answer.status}`);
        await answer.text();
        requests++;
      }
    });
    const name = async (): Promise<string> => {
      using socket = disposable(await shake(port, { ca }));
      return String(socket.getPeerCertificate().subject.CN);
    };
    expect(await name()).toBe("first");
    await replace(paths, other);
    // Nobody tells the server: it looks at the files.
    while ((await name()) !== "second");
    await replace(paths, first);
    served.reloadCertificate();
    expect(await name()).toBe("first");
    done = true;
    await Promise.all(load);
    expect(requests).toBeGreaterThan(8);
    const answered = new Promise<Buffer>((resolve) => old.once("data", resolve));
    old.write("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    expect((await answered).toString()).toStartWith("HTTP/1.1 200");
    old.destroy();
    expect(served.lines.filter((line) => line.includes("certificate replaced"))).toHaveLength(2);
  }, 30_000);

  test("that are no good are logged, and the old one stays", async () => {
    using own = tempDir();
    const paths = { cert: `${own.path}/tls.crt`, key: `${own.path}/tls.key` };
    await replace(paths, pair);
    await using served = await startTestServer({ config: { tls: paths } });
    await copyFile(other.key, paths.key);
    served.reloadCertificate();
    expect(await shown(served.port)).toBe("first");
    await Bun.write(paths.cert, "no certificate");
    served.reloadCertificate();
    expect(await shown(served.port)).toBe("first");
    const told = served.lines.filter((line) => line.includes(" error certificate refused"));
    expect(told).toHaveLength(2);
    expect(told[0]).toContain("is not the private key of the first certificate");
    expect(told[1]).toContain("holds no certificate in PEM");
    await copyFile(other.cert, paths.cert);
    served.reloadCertificate();
    expect(await shown(served.port)).toBe("second");
  });
});

const disposable = (socket: TLSSocket): TLSSocket & Disposable =>
  Object.assign(socket, { [Symbol.dispose]: () => void socket.destroy() });
