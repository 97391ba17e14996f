// A real store in a directory of the test's own, with the engine in process.

import { silentLog } from "../../src/log.ts";
import { cliActor } from "../../src/model/actor.ts";
import type { Config } from "../../src/model/config.ts";
import { open, type Opened, type OpenOptions } from "../../src/open.ts";
import { realSystem, type System } from "../../src/system.ts";

/** May do everything and is charged nothing. */
export const root = cliActor("test");

export const testConfig = (data_dir: string, over: Partial<Config> = {}): Config => ({
  port: 0,
  bind_addr: "127.0.0.1",
  data_dir,
  restrict: "default",
  list_page_size: 10,
  page_limit: 1000,
  payload_limit: 1_048_576,
  memory_threshold: 10_000,
  plugin_max_attempts: 10,
  api: { rest: true, graphql: true, grpc: true },
  storage: { durability: "full" },
  admin: { enabled: false, bind_addr: "0.0.0.0" },
  grpc: {},
  cors: {},
  tls: {},
  rate_limit: {},
  socket: { enabled: false, bind_addr: "127.0.0.1:0" },
  replication: { identity_key: "replication.key", bind_addr: "0.0.0.0:7443" },
  remotes: {},
  ...over,
});

export interface TestStore extends Opened, AsyncDisposable {}

export async function openStore(
  data_dir: string,
  over: { config?: Partial<Config>; system?: Partial<System> } & Partial<
    Pick<OpenOptions, "access" | "reload" | "threads" | "plugins" | "env">
  > = {},
): Promise<TestStore> {
  const { config, system, ...options } = over;
  const opened = await open({
    config: testConfig(data_dir, config),
    log: silentLog,
    system: { ...realSystem, ...system },
    access: "write",
    opener: "test",
    lock_wait_ms: 0,
    threads: false,
    plugins: false,
    env: {},
    reload: null,
    keepKey: async () => async () => {},
    keepRemote: null,
    ...options,
  });
  return { ...opened, [Symbol.asyncDispose]: () => opened.close() };
}

/** A clock that stands still until it is moved. */
export function manualClock(start = "2026-01-01T00:00:00.000000Z") {
  let now = start;
  return {
    now: () => now,
    advance: (seconds: number) => {
      now = `${new Date(Date.parse(now) + seconds * 1000).toISOString().slice(0, -1)}000Z`;
    },
  };
}
