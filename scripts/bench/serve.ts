// The servers that the benchmark measures, each a process of its own. First argument: `dbx` opens a
// store in the directory of the second one and serves it as `dbx start` does, every surface on one
// port; `sealed` the same with a data encryption key; `direct` without gRPC, so that nothing stands
// between HTTP and its port. The others are bare servers of each kind (bare.ts). Prints one line of
// JSON when it listens; stops on SIGTERM.

import { createLog } from "../../src/log.ts";
import { grants } from "../../src/model/actor.ts";
import { open } from "../../src/open.ts";
import { startServer } from "../../src/server/server.ts";
import { realSystem } from "../../src/system.ts";
import { testConfig } from "../../test/support/store.ts";
import { bareServers, type BareKind } from "./bare.ts";
import { benchKey } from "./engine-subject.ts";

export type ServerKind = "dbx" | "direct" | "sealed" | BareKind;

async function serveDbx(
  directory: string,
  { grpc, sealed }: { grpc: boolean; sealed: boolean },
): Promise<void> {
  const config = testConfig(directory, {
    api: { rest: true, graphql: true, grpc },
    ...(sealed ? { data_encryption_key: benchKey } : {}),
  });
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
    opener: null,
    lock_wait_ms: 0,
    threads: true,
    plugins: false,
    env: {},
    reload: null,
    keepKey: null,
    keepRemote: null,
  });
  const server = await startServer({
    ...{ opened, config, log, system: realSystem, version: "bench" },
    commands: null,
  });
  const issuer = { group: "admin", user: "bench", grants, scope: null, token_id: null };
  const { token } = await opened.dbx.issueToken(issuer, { group: "admin", user: "bench" });
  console.log(JSON.stringify({ port: server.port, token }));
  process.on("SIGTERM", async () => {
    await server.stop();
    await opened.close();
    process.exit(0);
  });
}

async function main(): Promise<void> {
  const [, , kind, directory = ""] = process.argv;
  if (kind === "dbx" || kind === "direct" || kind === "sealed") {
    return serveDbx(directory, { grpc: kind !== "direct", sealed: kind === "sealed" });
  }
  if (kind !== "echo" && kind !== "grpc" && kind !== "yoga") throw new Error(`no server ${kind}`);
  console.log(JSON.stringify({ port: await bareServers[kind](), token: "none" }));
  process.on("SIGTERM", () => process.exit(0));
}

if (import.meta.main) await main();
