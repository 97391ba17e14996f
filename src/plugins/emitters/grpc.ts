// Events as batches to ApplyEvents of another node. The channel is kept; after an error it is a new
// one, because a connection that failed once may fail in ways that no status tells.

import {
  Client,
  connectivityState,
  credentials,
  Metadata,
  status,
  type ServiceError,
} from "@grpc/grpc-js";
import { fromWire } from "../../api/errors.ts";
import { fromJson } from "../../api/json.ts";
import { canonicalize } from "../../model/canonical.ts";
import { assert, invalidArgument, type DbxError } from "../../model/error.ts";
import type { PluginLimits } from "../../model/limits-plugins.ts";
import { limits } from "../../model/limits.ts";
import type { GrpcConfig } from "../../model/plugin.ts";
import { loadReplicationContract } from "../../wire/contract.ts";
import { replicatedMessage } from "../../wire/replication.ts";
import type { Emission, Emitter, Fault } from "../emitter.ts";
import { faultOf, notReady } from "./fault.ts";

export function createGrpcEmitter(config: GrpcConfig, bounds: PluginLimits = limits): Emitter {
  const target = resolveEndpoint(config.endpoint);
  const channel = createChannel(target, config);
  const encode = createEncoding();

  /** One batch. A refusal that may be about one event is pursued, half by half, to that event. */
  const apply = async (batch: readonly Encoded[], options: Until): Promise<Result> => {
    const refusal = await channel.call(encode.batch(batch), options);
    if (refusal === null) return { delivered: batch.length, fault: null };
    const fault = faultFrom(refusal, target);
    if (!fault.reached || batch.length === 1) return { delivered: 0, fault };
    const middle = Math.ceil(batch.length / 2);
    const first = await apply(batch.slice(0, middle), options);
    if (first.fault !== null) return first;
    const second = await apply(batch.slice(middle), options);
    return { delivered: first.delivered + second.delivered, fault: second.fault };
  };

  return {
    events_max: bounds.plugin_grpc_events_max,
    lanes: 1,
    deliver: async (emissions, signal) => {
      const until = performance.now() + bounds.plugin_grpc_ms;
      let delivered = 0;
      try {
        const most = bounds.plugin_grpc_message_bytes_max;
        for await (const batch of batches(emissions, { encode: encode.event, most })) {
          const result = await apply(batch, { until, signal });
          delivered += result.delivered;
          if (result.fault !== null) return { delivered, fault: result.fault };
        }
      } catch (cause) {
        // The storage, which will not know it the next time either.
        const why = cause instanceof Error ? cause.name : "unknown";
        const message = `grpc ${target.address}: what was erased could not be read (${why})`;
        return { delivered, fault: faultOf(message, { reached: false }) };
      }
      return { delivered, fault: null };
    },
    check: (signal) => channel.check({ ms: bounds.plugin_connect_ms, signal }),
    close: async () => channel.close(),
  };
}

interface Result {
  readonly delivered: number;
  readonly fault: Fault | null;
}

interface Until {
  readonly until: number;
  readonly signal: AbortSignal;
}

interface Target {
  /** As it is shown and dialled: `node-2.example:7443`. */
  readonly address: string;
  readonly isTls: boolean;
}

function resolveEndpoint(endpoint: string): Target {
  const [, scheme = "grpc", rest = ""] = /^(?:([a-z+.-]+):\/\/)?(.*)$/i.exec(endpoint.trim()) ?? [];
  const isTls = ["grpcs", "https"].includes(scheme.toLowerCase());
  if (!isTls && !["grpc", "http"].includes(scheme.toLowerCase()))
    throw invalidArgument(`unsupported replication endpoint scheme: ${scheme}`, {
      path: "/endpoint",
    });
  const url = URL.parse(`${isTls ? "https" : "http"}://${rest}`);
  if (url === null || url.pathname !== "/" || url.search !== "" || url.username !== "")
    throw invalidArgument("the endpoint is host:port, maybe after a scheme", {
      path: "/endpoint",
    });
  const port = url.port === "" ? (isTls ? "443" : "80") : url.port;
  return { address: `${url.hostname}:${port}`, isTls };
}

/**
 * An event as a batch of its own: batches one behind the other are one batch. An erasure has what
 * it covers with it, because events without bodies are taken in no other way.
 */
interface Encoded {
  readonly bytes: Buffer;
  readonly events: number;
  readonly sequence: number;
}

function createEncoding() {
  const method = loadReplicationContract().methods.find(({ name }) => name === "ApplyEvents");
  assert(method !== undefined, "the contract has ApplyEvents");
  const { encode } = method.request;
  return {
    event: async (emission: Emission): Promise<Encoded> => {
      const told = [...(await emission.before()), emission];
      const events = told.map(({ record, body }) => replicatedMessage(record, body));
      return { bytes: encode({ events }), events: events.length, sequence: emission.sequence };
    },
    batch: (events: readonly Encoded[]): Buffer =>
      Buffer.concat([
        ...events.map(({ bytes }) => bytes),
        encode({ sequence: events.at(-1)?.sequence }),
      ]),
  };
}

/** As many as a message may hold; a larger one goes alone, because it may be received all the same. */
async function* batches(
  emissions: readonly Emission[],
  { encode, most }: { encode: (emission: Emission) => Promise<Encoded>; most: number },
): AsyncGenerator<Encoded[]> {
  let batch: Encoded[] = [];
  let length = 0;
  let count = 0;
  for (const emission of emissions) {
    const event = await encode(emission);
    length += event.bytes.length;
    count += event.events;
    const isFull = length > most || count > limits.transaction_events_max;
    if (batch.length > 0 && isFull) {
      yield batch;
      batch = [];
      length = event.bytes.length;
      count = event.events;
    }
    batch.push(event);
  }
  if (batch.length > 0) yield batch;
}

/** `late`: there was no answer in time, or nobody waits for it any more. */
type Refusal = Pick<ServiceError, "code" | "details" | "metadata"> | "late" | "stopped";

/** Statuses that say nothing about a single event: whoever gets one would get it for the next, too. */
const aboutAll = new Set([
  ...[status.UNAVAILABLE, status.CANCELLED, status.DEADLINE_EXCEEDED, status.UNIMPLEMENTED],
  ...[status.UNAUTHENTICATED, status.PERMISSION_DENIED],
]);

/** What the receiver says besides the status is not told: it may repeat the payload. */
function faultFrom(refusal: Refusal, { address }: Target): Fault {
  if (refusal === "late")
    return faultOf(`grpc ${address} did not answer in time`, { reached: false });
  if (refusal === "stopped") return faultOf(`grpc ${address} was stopped`, { reached: false });
  const { code, details } = refusal;
  const told = toldBy(refusal);
  // Words like ECONNREFUSED, which the library puts there when nobody was reached.
  const why = /\bE[A-Z]{4,20}\b/.exec(code === status.UNAVAILABLE ? details : "")?.[0];
  const words = [status[code], why ?? wordsFor(told)].filter((each) => each !== undefined);
  const reached = !aboutAll.has(code) && told?.code !== "overloaded";
  return faultOf(`grpc request failed (${words.join(", ")}) at ${address}`, { reached });
}

/** Its own error, where the receiver is a dbx. */
function toldBy({ metadata }: Pick<ServiceError, "metadata">): DbxError | undefined {
  const [text] = metadata.get("dbx-error");
  try {
    return fromWire(fromJson(undefined, canonicalize(String(text))));
  } catch {
    return undefined;
  }
}

/** Words of this side alone. */
function wordsFor(told: DbxError | undefined): string | undefined {
  if (told?.code === "overloaded") return "it takes no more for now";
  if (told?.code !== "failed_precondition") return undefined;
  const { reason, encrypted } = told.details;
  if (encrypted !== undefined) return "it cannot erase without a key of its own";
  if (reason === "gap") return "events before it are missing there";
  if (reason === "fork") return "the history there is another one";
  return undefined;
}

function createChannel({ address, isTls }: Target, { token }: GrpcConfig) {
  const security = isTls
    ? credentials.createSsl(null, null, null, { rejectUnauthorized: true })
    : credentials.createInsecure();
  let kept: Client | null = null;
  const running = new Set<(why: Refusal) => void>();

  const drop = (): void => {
    kept?.close();
    kept = null;
  };
  const call = (message: Buffer, { until, signal }: Until): Promise<Refusal | null> =>
    new Promise((done) => {
      const client = (kept ??= new Client(`dns:${address}`, security, channelOptions));
      const metadata = new Metadata();
      if (token !== undefined) metadata.set("authorization", `Bearer ${token}`);
      const finish = (refusal: Refusal | null): void => {
        clearTimeout(timer);
        running.delete(cut);
        signal.removeEventListener("abort", stop);
        if (refusal !== null && client === kept) drop();
        done(refusal);
      };
      const asked = client.makeClientStreamRequest(applyEvents, same, same, metadata, (error) =>
        finish(error),
      );
      const cut = (why: Refusal): void => {
        finish(why);
        asked.cancel();
      };
      const stop = () => cut("stopped");
      const timer = setTimeout(() => cut("late"), Math.max(0, until - performance.now()));
      running.add(cut);
      signal.addEventListener("abort", stop, { once: true });
      if (signal.aborted) return stop();
      // Its end is told by the answer, and so are its errors.
      asked.on("error", () => {});
      asked.end(message);
    });
  const check = async ({ ms, signal }: { ms: number; signal: AbortSignal }): Promise<void> => {
    const client = new Client(`dns:${address}`, security, channelOptions);
    const outcome = await connected(client, { ms, signal });
    client.close();
    if (!outcome) throw notReady(`grpc ${address} cannot be connected to`);
  };
  const close = (): void => {
    for (const cut of running) cut("stopped");
    drop();
  };
  return { call, check, close };
}

const applyEvents = "/eventdbx.replication.Replication/ApplyEvents";
const same = (bytes: Buffer): Buffer => bytes;

const channelOptions = {
  // Whatever proxy the environment names would see the events.
  "grpc.enable_http_proxy": 0,
  // What is tried again, and when, is decided elsewhere.
  "grpc.enable_retries": 0,
  "grpc.service_config_disable_resolution": 1,
  // A channel that was dropped takes with it how long it meant to wait.
  "grpc.use_local_subchannel_pool": 1,
  "grpc.max_send_message_length": -1,
  "grpc.max_receive_message_length": 65_536,
} as const;

/** Whether the channel could be connected, with TLS and HTTP/2. */
function connected(
  client: Client,
  { ms, signal }: { ms: number; signal: AbortSignal },
): Promise<boolean> {
  const channel = client.getChannel();
  return new Promise((done) => {
    const finish = (outcome: boolean): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
      done(outcome);
    };
    const stop = () => finish(false);
    const timer = setTimeout(stop, ms);
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) return stop();
    const look = (): void => {
      const state = channel.getConnectivityState(true);
      if (state === connectivityState.READY) return finish(true);
      if (state === connectivityState.TRANSIENT_FAILURE || state === connectivityState.SHUTDOWN)
        return finish(false);
      channel.watchConnectivityState(state, Infinity, look);
    };
    look();
  });
}
