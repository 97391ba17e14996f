// A port that cannot be listened on, told with the setting that names another one.

import { grpcEndpointOf, httpEndpointOf, type Config } from "../model/config.ts";
import { DbxError } from "../model/error.ts";

/** Undefined for the control socket, whose errors name their key themselves. */
export function portRemedy(
  config: Config,
  { hostname, port }: { readonly hostname: unknown; readonly port: unknown },
): string | undefined {
  const http = httpEndpointOf(config);
  if (port === http.port && hostname === http.hostname) return "give another with --port";
  const grpc = grpcEndpointOf(config);
  if (grpc !== null && port === grpc.port && hostname === grpc.hostname) {
    return "set grpc.bind_addr in the configuration to another address";
  }
  return undefined;
}

/** An error of a listener, with what to do where that is known. */
export function inWordsOfKeys(error: unknown, config: Config): unknown {
  if (!(error instanceof DbxError) || error.code !== "unavailable") return error;
  const { hostname, port } = error.details;
  const remedy = portRemedy(config, { hostname, port });
  if (remedy === undefined) return error;
  return new DbxError(error.code, `${error.message}; ${remedy}`, error.details, { cause: error });
}
