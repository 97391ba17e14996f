// A real store behind real listeners on free ports, and the shortest way to ask it something over
// HTTP.

import { createLog, type Log, type LogLevel } from "../../src/log.ts";
import { startServer, type Server, type StartOptions } from "../../src/server/server.ts";
import { realSystem } from "../../src/system.ts";
import type { Config } from "../../src/model/config.ts";
import { openStore, root, testConfig, type TestStore } from "./store.ts";
import { tempDir } from "./temp.ts";

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The body as JSON; undefined when there is none. Tests look at what they expect it to be. */
  readonly json: ReturnType<typeof JSON.parse>;
}

export interface Ask {
  /** null: without `Authorization`. The server's admin token when missing. */
  readonly token?: string | null;
  /** Text is sent as it is; anything else as its JSON. */
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
  /** The listener for this machine's command line. */
  readonly control?: boolean;
}

export interface TestServer extends Server, AsyncDisposable {
  readonly store: TestStore;
  readonly directory: string;
  /** A token of group `admin`. */
  readonly token: string;
  /** Lines of the log, of every level. */
  readonly lines: string[];
  readonly ask: (method: string, path: string, ask?: Ask) => Promise<Answer>;
  /** Appends and expects it to work. */
  readonly append: (type: string, id: string, payload?: string) => Promise<Answer>;
}

export async function startTestServer(
  over: {
    config?: Partial<Config>;
    least?: LogLevel;
    /** In place of one that keeps its lines. */
    log?: Log;
    reload?: (directory: string) => Promise<Config>;
    /** Of the control socket, which is off unless the configuration says otherwise. */
    commands?: StartOptions["commands"];
  } = {},
): Promise<TestServer> {
  const dir = tempDir();
  const { reload } = over;
  const opened = await openStore(dir.path, {
    plugins: true,
    ...(over.config === undefined ? {} : { config: over.config }),
    reload: reload === undefined ? null : () => reload(dir.path),
  });
  // A test may close the store under the server; a store is closed once.
  let closing: Promise<void> | undefined;
  const store = { ...opened, close: () => (closing ??= opened.close()) };
  const lines: string[] = [];
  const log = createLog({
    least: over.least ?? "debug",
    now: realSystem.now,
    write: (line) => void lines.push(line),
  });
  const config = testConfig(dir.path, over.config);
  const commands = over.commands ?? null;
  const options = { opened: store, config, system: realSystem, version: "test", commands };
  const server = await startServer({ ...options, log: over.log ?? log });
  const { token } = await store.dbx.issueToken(root, { group: "admin", user: "jane" });

  const ask: TestServer["ask"] = async (method, path, options = {}) => {
    const { body, control = false } = options;
    const port = control ? server.control_port : server.port;
    const bearer = options.token === undefined ? token : options.token;
    const response = await fetch(`http://127.0.0.1:${port}${path}`, {
      method,
      headers: {
        ...(bearer === null ? {} : { Authorization: `Bearer ${bearer}` }),
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
        ...options.headers,
      },
      ...(body === undefined
        ? {}
        : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    const { status, headers } = response;
    return { status, headers, text, json: text === "" ? undefined : JSON.parse(text) };
  };

  return {
    ...server,
    store,
    directory: dir.path,
    token,
    lines,
    ask,
    async append(type, id, payload = "{}") {
      const answer = await ask("POST", "/v1/events", {
        body: `{"aggregate_type":${JSON.stringify(type)},"aggregate_id":${JSON.stringify(id)},
          "event_type":"noted","payload":${payload}}`,
      });
      if (answer.status !== 200) throw new Error(answer.text);
      return answer;
    },
    async [Symbol.asyncDispose]() {
      await server.stop();
      await store.close();
      dir[Symbol.dispose]();
    },
  };
}
