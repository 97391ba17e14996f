// Which emitter a plugin's configuration stands for.

import type { Log } from "../../log.ts";
import type { PluginConfig, ProcessConfig } from "../../model/plugin.ts";
import type { System } from "../../system.ts";
import type { Emitter } from "../emitter.ts";
import { createGrpcEmitter } from "./grpc.ts";
import { createHttpEmitter } from "./http.ts";
import { createLogEmitter } from "./log.ts";
import { createTcpEmitter } from "./tcp.ts";

export interface EmitterDeps {
  readonly log: Log;
  readonly system: Pick<System, "now">;
  /** Processes need to know what is installed, and where. */
  readonly process: (config: ProcessConfig) => Emitter;
}

/** Throws `invalid_argument` where an endpoint is none. Connects to nothing yet. */
export function emitterFor(config: PluginConfig, deps: EmitterDeps): Emitter {
  switch (config.type) {
    case "tcp":
      return createTcpEmitter(config);
    case "http":
      return createHttpEmitter(config, { now: deps.system.now });
    case "grpc":
      return createGrpcEmitter(config);
    case "log":
      return createLogEmitter(config, { log: deps.log });
    case "process":
      return deps.process(config);
  }
}
