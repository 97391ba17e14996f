// Whom events are handed to: nobody whose certificate is not trusted, whatever the environment says
// about trust, and no proxy that it names.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { root } from "../../scripts/root.ts";
import type { PluginConfig } from "../../src/model/plugin.ts";
import type { Loose } from "../support/grpc.ts";
import { tempDir } from "../support/temp.ts";
import { makePair, type MadePair } from "../support/tls.ts";

const dir = tempDir();
let pair: MadePair;
let http: Bun.Server<undefined>;
let plain: Bun.Server<undefined>;
let proxy: Bun.TCPSocketListener<undefined>;
let server: Server;
const ports = { secure: 0, plain: 0 };
let arrived: string[] = [];
let proxied = 0;

beforeAll(async () => {
  pair = await makePair(dir.path, "receiver");
  const [cert, key] = [readFileSync(pair.cert), readFileSync(pair.key)];
  const answer = (kind: string) => () => {
    arrived.push(kind);
    return new Response("");
  };
  http = Bun.serve({ hostname: "0.0.0.0", port: 0, tls: { cert, key }, fetch: answer("https") });
  plain = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: answer("http") });
  proxy = Bun.listen<undefined>({
    hostname: "127.0.0.1",
    port: 0,
    socket: { open: (socket) => void (proxied++, socket.end()), data: () => {} },
  });
  server = new Server();
  const same = (bytes: Buffer) => bytes;
  const apply = (call: Loose, done: Loose): void => {
    arrived.push("grpc");
    call.on("end", () => done(null, Buffer.of())).resume();
  };
  const path = "/eventdbx.replication.Replication/ApplyEvents";
  server.register(path, apply, same, same, "clientStream");
  const bind = (credentials: ServerCredentials) =>
    new Promise<number>((done) =>
      server.bindAsync("0.0.0.0:0", credentials, (_, port) => done(port)),
    );
  const chain = [{ cert_chain: cert, private_key: key }];
  ports.secure = await bind(ServerCredentials.createSsl(null, chain));
  ports.plain = await bind(ServerCredentials.createInsecure());
});

afterAll(async () => {
  server.forceShutdown();
  proxy.stop(true);
  await Promise.all([http.stop(true), plain.stop(true)]);
  dir[Symbol.dispose]();
});

async function emit(config: PluginConfig, env: Record<string, string>): Promise<Loose> {
  arrived = [];
  proxied = 0;
  const child = Bun.spawn(
    [process.execPath, "--no-env-file", join(root, "test/support/emit.ts"), JSON.stringify(config)],
    { env, stdout: "pipe", stderr: "inherit" },
  );
  return JSON.parse(await new Response(child.stdout).text());
}

const https = (host: string): PluginConfig => ({
  type: "http",
  endpoint: `https://${host}:${http.port}`,
  headers: {},
  https: false,
});
const grpcs = (host: string): PluginConfig => ({
  type: "grpc",
  endpoint: `grpcs://${host}:${ports.secure}`,
});

describe("a certificate", () => {
  for (const [kind, configOf] of [
    ["https", https],
    ["grpcs", grpcs],
  ] as const) {
    test(`that nobody vouches for gets nothing (${kind})`, async () => {
      const result = await emit(configOf("127.0.0.1"), { NODE_TLS_REJECT_UNAUTHORIZED: "0" });
      expect(result).toMatchObject({ delivered: 0, fault: { reached: false } });
      expect(result.check).not.toBe("ready");
      expect(arrived).toEqual([]);
    });
    test(`that the machine trusts is one (${kind})`, async () => {
      const result = await emit(configOf("localhost"), { NODE_EXTRA_CA_CERTS: pair.cert });
      expect(result).toEqual({ check: "ready", delivered: 1, fault: null });
      expect(arrived.length).toBeGreaterThan(0);
    });
    test(`of another name gets nothing (${kind})`, async () => {
      const result = await emit(configOf("127.0.0.2"), { NODE_EXTRA_CA_CERTS: pair.cert });
      expect(result).toMatchObject({ delivered: 0, fault: { reached: false } });
      expect(arrived).toEqual([]);
    });
  }
});

describe("a proxy that the environment names sees nothing", () => {
  const cases: [string, () => PluginConfig, string][] = [
    [
      "http",
      () => ({ ...https("127.0.0.1"), endpoint: `127.0.0.1:${plain.port}` }) as PluginConfig,
      "http",
    ],
    ["grpc", () => ({ type: "grpc", endpoint: `127.0.0.1:${ports.plain}` }), "grpc"],
    ["https", () => https("localhost"), "https"],
    ["grpcs", () => grpcs("localhost"), "grpc"],
  ];
  for (const [kind, configOf, seen] of cases) {
    test(kind, async () => {
      const address = `http://127.0.0.1:${proxy.port}`;
      const names = ["http_proxy", "https_proxy", "all_proxy", "grpc_proxy"];
      const env = Object.fromEntries(
        names.flatMap((name) => [
          [name, address],
          [name.toUpperCase(), address],
        ]),
      );
      const result = await emit(configOf(), { ...env, NODE_EXTRA_CA_CERTS: pair.cert });
      expect(result).toEqual({ check: "ready", delivered: 1, fault: null });
      expect(arrived).toContain(seen);
      expect(proxied).toBe(0);
    });
  }
});
