// TLS on an accepted connection. Each is upgraded by itself, with the certificate in force at that
// moment: Bun cannot give a listener another one (`reload` changes its handlers only), and a second
// listener would lose whoever waits in the queue of the first.

import type { Socket, SocketHandler } from "bun";
import type { End } from "./splice.ts";
import type { Pair } from "./tls.ts";

export type AlpnName = "http/1.1" | "h2";

export interface PortTls {
  readonly pair: () => Pick<Pair, "cert" | "key">;
  /**
   * What is spoken, best first. `http/1.1` MUST come before `h2`: browsers offer both, and would be
   * sent to gRPC.
   */
  readonly alpn: readonly AlpnName[];
}

/** As numbers of the protocol (RFC 8446, 4.2.1). */
const tls_1_2 = 0x0303;

/** The socket on which clients are heard in clear, once the handshake is over. */
export function secure(
  accepted: Socket<End>,
  { pair, alpn, socket }: PortTls & { readonly socket: SocketHandler<End> },
): Socket<End> {
  const { cert, key } = pair();
  const tls = { cert, key, minVersion: tls_1_2, ALPNProtocols: wireOf(alpn) };
  // Bun's types know neither of the first two, by which it takes the server's part.
  const options = { isServer: true, allowHalfOpen: true, tls, socket };
  const [, secured] = accepted.upgradeTLS<End>(options);
  return secured;
}

/** Of the socket beneath: its bytes are read, and its end is told, by the one above. */
export const beneath: SocketHandler<End> = {
  data: () => {},
  drain: () => {},
  end: () => {},
  close: () => {},
  error: (socket) => socket.terminate(),
};

/** Each name after its length (RFC 7301, 3.1). */
const wireOf = (alpn: readonly AlpnName[]): Uint8Array =>
  Buffer.concat(alpn.map((name) => Buffer.from([name.length, ...Buffer.from(name)])));

export function protocolNamed(alpn: string | false | null): "http1" | "http2" | null {
  if (alpn === "h2") return "http2";
  return alpn === "http/1.1" ? "http1" : null;
}
