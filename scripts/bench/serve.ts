// The servers that the benchmark measures, each a process of its own. First argument: `dbx` opens a
// store in the directory of the second one and serves it as `dbx start` does; `echo` is an Elysia
// app that parses the body of a POST and gives it back, and answers a GET with the bytes that dbx
// answered (told under /sample). Prints one line of JSON when it listens; stops on SIGTERM.

import { Elysia } from "elysia";
import { createLog } from "../../src/log.ts";
import { grants } from "../../src/model/actor.ts";
import { open } from "../../src/open.ts";
import { startServer } from "../../src/server/server.ts";
import { realSystem } from "../../src/system.ts";
import { testConfig } from "../../test/support/store.ts";

const [, , kind, directory = ""] = process.argv;

if (kind === "echo") {
  const samples = new Map<string, string>();
  const answer = (kind: string) =>
    new Response(samples.get(kind), { headers: { "Content-Type": "application/json" } });
  const app = new Elysia()
    .post("/v1/events", ({ body }) => body)
    .post("/v1/events/batch", ({ body }) => body)
    .post(
      "/sample/:kind",
      async ({ params, request }) => {
        samples.set(params.kind, await request.text());
        return "noted";
      },
      { parse: "none" },
    )
    .get("/v1/aggregates", () => answer("list"))
    .get("/v1/aggregates/:type/:id", () => answer("aggregate"))
    .get("/v1/aggregates/:type/:id/events", () => answer("events"))
    .listen({ hostname: "127.0.0.1", port: 0 });
  console.log(JSON.stringify({ port: app.server?.port, token: "none" }));
  process.on("SIGTERM", () => process.exit(0));
} else {
  const config = testConfig(directory);
  const log = createLog({
    least: "warn",
    now: realSystem.now,
    write: (line) => process.stderr.write(line),
  });
  const opened = await open({
    config,
    log,
    system: realSystem,
    access: "write",
    lock_wait_ms: 0,
    threads: true,
    reload: null,
  });
  const server = await startServer({ opened, config, log, version: "bench" });
  const issuer = { group: "admin", user: "bench", grants, token_id: null };
  const { token } = await opened.dbx.issueToken(issuer, { group: "admin", user: "bench" });
  console.log(JSON.stringify({ port: server.port, token }));
  process.on("SIGTERM", async () => {
    await server.stop();
    await opened.close();
    process.exit(0);
  });
}
