// The process that is fuzzed: a store in the directory of its only argument (JSON, `Asked`), served
// as `dbx start` serves it. Prints one line of JSON when it listens. For each line on its standard
// input it collects garbage and prints what memory it has then; stops on SIGTERM.

import { memoryUsage } from "node:process";
import { join } from "node:path";
import { runWords } from "../../src/cli/cli.ts";
import { createCommands } from "../../src/cli/served.ts";
import { createLog } from "../../src/log.ts";
import { loadConfiguration } from "../../src/cli/configuration.ts";
import { keepRemoteInFile } from "../../src/cli/remote-file.ts";
import { grants } from "../../src/model/actor.ts";
import { open, type Opened } from "../../src/open.ts";
import { startServer } from "../../src/server/server.ts";
import { realSystem } from "../../src/system.ts";
import { testConfig } from "../support/store.ts";

/** What opens the administration besides tokens. */
export const masterKey = "correct horse battery";

export interface Asked {
  readonly directory: string;
  /** Base64 of 32 bytes: everything is encrypted. */
  readonly data_encryption_key?: string;
  readonly tls?: { readonly cert: string; readonly key: string };
  /** Bytes that are kept for ever at each request with a token: what the fuzzer must notice. */
  readonly leak_bytes: number;
}

/** What a collection leaves behind. */
export interface Memory {
  /** Objects, texts and buffers of the main thread. */
  readonly heap: number;
  /** All memory of the process, what the allocator keeps for later included. */
  readonly resident: number;
}

function leaking(opened: Opened, bytes: number): Opened {
  if (bytes === 0) return opened;
  const kept: Buffer[] = [];
  return {
    ...opened,
    authenticate(token) {
      kept.push(Buffer.alloc(bytes, 1));
      return opened.authenticate(token);
    },
  };
}

async function main(asked: Asked): Promise<void> {
  const { directory, data_encryption_key, tls, leak_bytes } = asked;
  // Cheap: it is the key that is fuzzed, and not how long its check takes.
  const cheap = { algorithm: "argon2id", memoryCost: 8, timeCost: 1 } as const;
  const master_key_hash = await Bun.password.hash(masterKey, cheap);
  const config = testConfig(directory, {
    socket: { enabled: true, bind_addr: "127.0.0.1:0" },
    admin: { enabled: false, bind_addr: "0.0.0.0", master_key_hash },
    // What is fuzzed does not depend on when the disk has it.
    storage: { durability: "normal" },
    // Few, so that a run is soon as large as it may become.
    memory_threshold: 1_000,
    ...(data_encryption_key === undefined ? {} : { data_encryption_key }),
    ...(tls === undefined ? {} : { tls }),
  });
  const log = createLog({
    least: "warn",
    now: realSystem.now,
    write: (line) => process.stderr.write(line),
  });
  const shell = { env: {}, cwd: directory, home: directory };
  // What it was started with stays, whatever the file says.
  const given = {
    ...{ port: 0, bind_addr: "127.0.0.1", data_dir: directory, memory_threshold: 1_000 },
    "admin.master_key_hash": master_key_hash,
    "socket.bind_addr": "127.0.0.1:0",
  };
  const configPath = join(directory, "config.toml");
  const opened = await open({
    ...{ config, log, system: realSystem, access: "write", opener: null },
    ...{ lock_wait_ms: 0, threads: true, plugins: true, env: {} },
    reload: async () => (await loadConfiguration({ ...shell, configPath }, given)).config,
    keepKey: async () => async () => {},
    keepRemote: (change) => keepRemoteInFile(configPath, change),
  });
  const server = await startServer({
    opened: leaking(opened, leak_bytes),
    ...{ config, log, system: realSystem, version: "fuzz" },
    commands: createCommands(runWords),
  });
  const issuer = { group: "admin", user: "fuzz", grants, scope: null, token_id: null };
  const { token } = await opened.dbx.issueToken(issuer, { group: "admin", user: "fuzz" });
  console.log(JSON.stringify({ port: server.port, socket_port: server.socket_port, token }));
  process.on("SIGTERM", async () => {
    await server.stop();
    await opened.close();
    process.exit(0);
  });
  for await (const _ of console) {
    // The second finds what the finalizers of the first have let go.
    Bun.gc(true);
    Bun.gc(true);
    const { heapUsed, rss } = memoryUsage();
    const memory: Memory = { heap: heapUsed, resident: rss };
    console.log(JSON.stringify(memory));
  }
}

if (import.meta.main) await main(JSON.parse(process.argv[2] ?? ""));
