// Where others can read along: addresses beyond this machine that are listened on without TLS.

import { grpcEndpointOf, httpEndpointOf, socketEndpointOf, type Config } from "../model/config.ts";

export const plainRisk = "tokens and data can be read on the way";

/** The control socket's protocol knows no TLS, whatever the others have. */
export function plainAddresses(config: Config): { surface?: string; address: string }[] {
  const isPlain = config.tls.cert === undefined;
  const endpoints = isPlain ? [httpEndpointOf(config), grpcEndpointOf(config)] : [];
  const open = endpoints.flatMap((endpoint) => endpoint?.hostname ?? []).filter(isReachable);
  const socket = socketEndpointOf(config)?.hostname;
  return [
    ...[...new Set(open)].map((address) => ({ address })),
    ...(socket !== undefined && isReachable(socket)
      ? [{ surface: "control socket", address: config.socket.bind_addr }]
      : []),
  ];
}

const isReachable = (hostname: string): boolean => !/^(?:localhost$|127\.|::1$)/.test(hostname);
