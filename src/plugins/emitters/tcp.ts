// Events as lines of JSON over one kept TCP connection. TCP does not say that somebody has read, so
// events count as delivered once their bytes have left and the connection has stood a while longer.
// What was on its way when a connection ended comes again.

import type { PluginLimits } from "../../model/limits-plugins.ts";
import { limits } from "../../model/limits.ts";
import type { TcpConfig } from "../../model/plugin.ts";
import type { Emission, Emitter } from "../emitter.ts";
import { codeOf, faultOf, notReady } from "./fault.ts";
import { connectPeer, type Peer } from "./peer.ts";

/** Null: the events are delivered. `ended`: it may be worth a try with less. */
type Failure = { readonly kind: "ended" | "stalled"; readonly message: string } | null;

export function createTcpEmitter(config: TcpConfig, bounds: PluginLimits = limits): Emitter {
  const target = `tcp ${config.host}:${config.port}`;
  const line = createLine(config, { target, bounds });
  /** The last connection ended with something on its way: the next one carries one event. */
  let alone = false;

  const deliver: Emitter["deliver"] = async (emissions, signal) => {
    const until = performance.now() + bounds.plugin_tcp_ms;
    for (let delivered = 0; delivered < emissions.length;) {
      const rest = emissions.slice(delivered, alone ? delivered + 1 : undefined);
      const opened = await line.open(signal, { anew: alone });
      if ("failed" in opened) return { delivered, fault: faultOf(opened.failed, nobody) };
      const { peer, isNew } = opened;
      const cut = () => peer.cut("ABORT_ERR");
      signal.addEventListener("abort", cut, { once: true });
      if (signal.aborted) cut();
      const isOne = isNew && rest.length === 1;
      const failure = await send(rest, { peer, target, bounds, until, isOne });
      signal.removeEventListener("abort", cut);
      if (failure === null) delivered += rest.length;
      alone = failure !== null || peer.closing();
      if (failure !== null && (isOne || failure.kind === "stalled" || signal.aborted)) {
        await line.letGo();
        return { delivered, fault: faultOf(failure.message, nobody) };
      }
    }
    return { delivered: emissions.length, fault: null };
  };

  return {
    get events_max() {
      return alone ? bounds.plugin_tcp_events_alone : bounds.plugin_tcp_events_max;
    },
    lanes: 1,
    deliver,
    check: async (signal) => {
      const options = { ms: bounds.plugin_connect_ms, signal };
      const peer = await connectPeer(config, options).catch((cause: unknown) => {
        throw notReady(notConnected(target, cause), cause);
      });
      await peer.close({ ms: bounds.plugin_farewell_ms });
    },
    close: line.close,
  };
}

/** Nothing that TCP tells is about a single event: whatever went wrong, the next one fails, too. */
const nobody = { reached: false };

const notConnected = (target: string, cause: unknown): string =>
  `${target} cannot be connected to (${codeOf(cause) ?? "failed"})`;

/** The connection that is kept, and another one in its place when it has ended. */
function createLine(
  config: TcpConfig,
  { target, bounds }: { target: string; bounds: PluginLimits },
) {
  let kept: Peer | null = null;
  const closed = new AbortController();

  const letGo = async (): Promise<void> => {
    const peer = kept;
    kept = null;
    await peer?.close({ ms: bounds.plugin_farewell_ms });
  };
  const open = async (
    signal: AbortSignal,
    { anew }: { anew: boolean },
  ): Promise<{ peer: Peer; isNew: boolean } | { failed: string }> => {
    if (!anew && kept !== null && kept.lost() === null && !kept.closing())
      return { peer: kept, isNew: false };
    await letGo();
    const either = AbortSignal.any([signal, closed.signal]);
    try {
      kept = await connectPeer(config, { ms: bounds.plugin_connect_ms, signal: either });
      return { peer: kept, isNew: true };
    } catch (cause) {
      return { failed: notConnected(target, cause) };
    }
  };
  const close = (): Promise<void> => {
    closed.abort();
    return letGo();
  };
  return { open, letGo, close };
}

/** Whether the connection stood. One that carries one event alone may be closed by the receiver. */
async function send(
  emissions: readonly Emission[],
  options: { peer: Peer; target: string; bounds: PluginLimits; until: number; isOne: boolean },
): Promise<Failure> {
  const { peer, target, bounds, until } = options;
  const ended = (): Failure => ({
    kind: "ended",
    message: `${target} ended the connection (${peer.lost() ?? "closed"})`,
  });
  for (const bytes of pieces(emissions, bounds.plugin_tcp_write_bytes)) {
    const ms = Math.max(0, Math.min(bounds.plugin_stall_ms, until - performance.now()));
    const outcome = await peer.write(bytes, { ms });
    if (outcome === "lost") return ended();
    if (outcome === "late") {
      peer.cut("ETIMEDOUT");
      return { kind: "stalled", message: `${target} takes nothing` };
    }
  }
  const outcome = await peer.stand({ ms: bounds.plugin_tcp_settle_ms });
  if (outcome === "late") return null;
  if (outcome === "lost" || !options.isOne) return ended();
  // A receiver that closes after each event has read this one: had he not, a reset would come, and
  // within a round trip.
  const { plugin_tcp_settle_ms: most, plugin_tcp_settle_ms_min: least } = bounds;
  const remained = await peer.remain({ ms: Math.min(most, least + peer.connect_ms * 4) });
  return remained === "late" ? null : ended();
}

/** Their lines as bytes: small ones together, large ones in parts. */
function* pieces(emissions: readonly Emission[], most: number): Generator<Uint8Array> {
  let text = "";
  for (const [index, { json }] of emissions.entries()) {
    text += `${json}\n`;
    if (text.length < most && index < emissions.length - 1) continue;
    const bytes = Buffer.from(text);
    text = "";
    for (let start = 0; start < bytes.length; start += most) {
      yield bytes.subarray(start, start + most);
    }
  }
}
