// The way of a command to the running server: what it does when its session has ended, and whom it
// takes for the server.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { sessionPath } from "../../src/api/machine.ts";
import type { Configuration } from "../../src/cli/configuration.ts";
import { createOutput } from "../../src/cli/output.ts";
import type { Shell } from "../../src/cli/shell.ts";
import { connect } from "../../src/cli/target.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { testConfig } from "../support/store.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server[Symbol.asyncDispose]());

const shell: Shell = {
  env: {},
  cwd: "/",
  home: "/",
  user: "tester",
  configPath: "/config.toml",
  configGiven: false,
  reach: { kind: "machine" },
  runWords: async () => 0,
  output: createOutput({ json: false, noColor: true }),
};

function connectTo(control_port: number, token?: string) {
  const configuration: Configuration = {
    path: "/config.toml",
    config: testConfig(server.directory),
    warnings: [],
    origins: new Map(),
  };
  const record = { pid: 1, started_at: "", port: server.port, control_port };
  return connect(record, { shell, configuration, token });
}

/** Hands everything on to the server, except what `refuse` has an answer of its own for. */
const serveBetween = (refuse: (path: string, authorization: string | null) => Response | null) =>
  Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: async (request) => {
      const { pathname, search } = new URL(request.url);
      const refusal = refuse(pathname, request.headers.get("authorization"));
      if (refusal !== null) return refusal;
      const { method, headers } = request;
      return fetch(`http://127.0.0.1:${server.control_port}${pathname}${search}`, {
        ...{ method, headers },
        ...(method === "GET" ? {} : { body: await request.text() }),
      });
    },
  });

const ended = () =>
  Response.json({ message: "expired", code: "unauthenticated", details: {} }, { status: 401 });

test("a session that ends between two requests is bought again, once and unseen", async () => {
  const sessions = new Set<string | null>();
  let ending = new Set<string | null>();
  using between = serveBetween((path, authorization) => {
    if (path === sessionPath) return null;
    sessions.add(authorization);
    return ending.has(authorization) ? ended() : null;
  });
  const target = await connectTo(between.port ?? 0);
  if (target === null) throw new Error("not the server");
  await target.ask("listTokens", {});
  ending = new Set(sessions);
  const key = { aggregate_type: "a", aggregate_id: "1" };
  expect(await target.ask("createAggregate", key)).toMatchObject({ ...key, version: 0 });
  expect(sessions.size).toBe(2);
  await target.close();
});

test("a token that was given is not replaced when it is refused", async () => {
  let asked = 0;
  using between = serveBetween((path) => {
    if (path === sessionPath) return null;
    asked++;
    return ended();
  });
  const target = await connectTo(between.port ?? 0, server.token);
  const refusal = await target?.ask("listTokens", {}).catch((error: unknown) => error);
  expect(refusal).toMatchObject({ code: "unauthenticated", message: "expired" });
  expect(asked).toBe(1);
  await target?.close();
});

test("a server that keeps refusing is believed", async () => {
  let asked = 0;
  using between = serveBetween((path) => {
    if (path === sessionPath) return null;
    asked++;
    return ended();
  });
  const target = await connectTo(between.port ?? 0);
  const refusal = await target?.ask("listTokens", {}).catch((error: unknown) => error);
  expect(refusal).toMatchObject({ code: "unauthenticated" });
  expect(asked).toBe(2);
  await target?.close();
});

test("a busy server is told as busy, a stranger and nobody as no server at all", async () => {
  const busy = { message: "too many", code: "overloaded", details: {} };
  using between = serveBetween(() => Response.json(busy, { status: 429 }));
  const refusal = await connectTo(between.port ?? 0).catch((error: unknown) => error);
  expect(refusal).toMatchObject(busy);
  using stranger = serveBetween(() => new Response("hello"));
  expect(await connectTo(stranger.port ?? 0)).toBe(null);
  const gone = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  gone.stop(true);
  expect(await connectTo(gone.port)).toBe(null);
});
