// The servers that the benchmark measures, each a process of its own. First argument: `dbx` opens a
// store in the directory of the second one and serves it as `dbx start` does, every surface on one
// port; `plugins` delivers, too; `sealed` has a data encryption key; `direct` is without gRPC, so
// that nothing stands between HTTP and its port. The others are bare servers (bare.ts). Prints a
// line of JSON when it listens; stops on SIGTERM.

import { openLogFile } from "../../src/cli/log-file.ts";
import { createLog } from "../../src/log.ts";
import { grants } from "../../src/model/actor.ts";
import { open } from "../../src/open.ts";
import { startServer } from "../../src/server/server.ts";
import { realSystem } from "../../src/system.ts";
import { testConfig } from "../../test/support/store.ts";
import { bareServers, type BareKind } from "./bare.ts";
import { benchKey } from "./engine-subject.ts";

export type ServerKind = "dbx" | "direct" | "sealed" | "plugins" | BareKind;

const toStderr = (line: string): void => void process.stderr.write(line);

async function serveDbx(
  directory: string,
  { grpc, sealed, plugins }: { grpc: boolean; sealed: boolean; plugins: boolean },
): Promise<void> {
  const config = testConfig(directory, {
    api: { rest: true, graphql: true, grpc },
    ...(sealed ? { data_encryption_key: benchKey } : {}),
  });
  const log = createLog({
    least: "warn",
    now: realSystem.now,
    // A plugin may write into it: it goes where that of a daemon does.
    write: plugins ? openLogFile(directory, realSystem.now).write : toStderr,
  });
  const opened = await open({
    config,
    log,
    system: realSystem,
    access: "write",
    opener: null,
    lock_wait_ms: 0,
    threads: true,
    plugins,
    env: process.env,
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
  // Only this machine's own hands may make plugins that are processes.
  const machine = plugins ? opened.openSession("bench").token : token;
  console.log(JSON.stringify({ port: server.port, token, machine }));
  process.on("SIGTERM", async () => {
    await server.stop();
    await opened.close();
    process.exit(0);
  });
}

async function main(): Promise<void> {
  const [, , kind, directory = ""] = process.argv;
  const [sealed, plugins] = [kind === "sealed", kind === "plugins"];
  if (kind === "dbx" || kind === "direct" || sealed || plugins) {
    return serveDbx(directory, { grpc: kind !== "direct", sealed, plugins });
  }
  if (kind !== "echo" && kind !== "grpc" && kind !== "yoga") throw new Error(`no server ${kind}`);
  console.log(JSON.stringify({ port: await bareServers[kind](), token: "none" }));
  process.on("SIGTERM", () => process.exit(0));
}

if (import.meta.main) await main();
