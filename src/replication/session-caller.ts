// Opens a session with another node: connects, greets, lets TLS begin, and goes on only with the
// one key that is pinned for it.

import type { Socket } from "bun";
import { type DbxError, failedPrecondition, unavailable } from "../model/error.ts";
import { publicKeyText, showEndpoint, type RemoteEndpoint } from "../model/remote.ts";
import { createFrameReader } from "../wire/frame.ts";
import { bytesOf, decodeHelloResponse, encodeHello, helloBounds } from "../wire/hello.ts";
import {
  exporterContext,
  isKeyOf,
  proofOf,
  protocolVersion,
  provedKey,
  type KnownPeer,
} from "./handshake.ts";
import type { NodeKeys } from "./keys.ts";
import type { Part } from "./session-pipe.ts";
import {
  createChannel,
  reasonOf,
  sessionBounds,
  tlsHandler,
  tlsOptions,
  type Channel,
  type Session,
  type SessionBounds,
} from "./session.ts";
import { refusals, verdicts } from "./session-words.ts";

export interface OpenSessionOptions {
  readonly keys: Pick<NodeKeys, "public_key" | "publicBytes" | "sign">;
  /** The node that is to be there. */
  readonly pinned: KnownPeer;
  /** Aborted, it ends what was begun, and the session as well. */
  readonly signal: AbortSignal;
  readonly bounds?: SessionBounds;
}

/**
 * Throws `unavailable` where there is nobody or the connection breaks, `failed_precondition` where
 * one of the two does not know the other, saying which command would name it.
 */
export async function openSession(
  endpoint: RemoteEndpoint,
  options: OpenSessionOptions,
): Promise<Session> {
  const { signal, bounds = sessionBounds } = options;
  const call = createCall(endpoint, { ...options, bounds });
  const timer = setTimeout(
    () => call.fail(unavailable(`${call.who} did not prove itself in ${bounds.handshake_ms} ms`)),
    bounds.handshake_ms,
  );
  const stop = () => call.fail(unavailable(`the session with ${call.who} was stopped`));
  signal.addEventListener("abort", stop);
  // As long as the connection stands.
  void call.gone.then(() => signal.removeEventListener("abort", stop));
  if (signal.aborted) stop();
  else void connect(endpoint, call);
  try {
    return await call.session;
  } finally {
    clearTimeout(timer);
  }
}

type Call = ReturnType<typeof createCall>;

async function connect({ host, port }: RemoteEndpoint, call: Call): Promise<void> {
  try {
    await Bun.connect({
      ...{ hostname: host, port, allowHalfOpen: true },
      socket: {
        open: call.greet,
        data: call.answered,
        drain: () => {},
        end: () => call.cutOff("it ended the connection"),
        close: () => call.cutOff("it closed the connection"),
        error: (_, error) => call.cutOff(reasonOf(error)),
        connectError: () => {},
      },
    });
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : reasonOf(cause);
    call.fail(unavailable(`cannot connect to ${call.who}: ${code}`, { host, port }, { cause }));
  }
}

function createCall(
  endpoint: RemoteEndpoint,
  options: OpenSessionOptions & { readonly bounds: SessionBounds },
) {
  const { keys, pinned, bounds } = options;
  const who = `${pinned.name} at ${showEndpoint(endpoint)}`;
  // Zeros rather than nothing, which EventDBX 1 would take for a command.
  const hello = encodeHello({ version: protocolVersion, expected_public_key: new Uint8Array(32) });
  const frames = createFrameReader(helloBounds.frames);
  const session = Promise.withResolvers<Session>();
  const gone = Promise.withResolvers<void>();
  let raw: Socket<undefined> | null = null;
  let channel: Channel | null = null;
  let over = false;

  function fail(failure: DbxError): void {
    over = true;
    session.reject(failure);
    if (channel !== null) return channel.pipe.fail(failure);
    raw?.terminate();
    gone.resolve();
  }

  function secure(socket: Socket<undefined>, context: Buffer): void {
    let exported: Uint8Array = new Uint8Array();
    const handler = tlsHandler({
      context,
      channel: () => channel ?? made,
      secured: (bytes) => {
        exported = bytes;
      },
    });
    // The name is for nobody: without one TLS would tell the address that was dialled.
    const tls = { ...tlsOptions, rejectUnauthorized: false, serverName: "dbx" };
    // Bun's types do not know the first.
    const upgrade = { allowHalfOpen: true, tls, socket: handler };
    const [, secured] = socket.upgradeTLS<undefined>(upgrade);
    const made = createChannel(secured, {
      bounds,
      meet: (part) => meet(part, { exported, channel: made }),
      failed: (failure) => session.reject(explained(failure)),
    });
    channel = made;
    void made.gone.then(gone.resolve);
  }

  const explained = (failure: DbxError): DbxError =>
    failure.code === "failed_precondition"
      ? failure
      : unavailable(`no session with ${who}: ${failure.message}`, {}, { cause: failure });

  /** The listener proves itself first, and learns who calls only if it is the one that is meant. */
  function meet(part: Part, of: { exported: Uint8Array; channel: Channel }): void {
    if (part.kind === "proof") return prove(part.payload, of);
    if (part.kind !== "verdict") throw unavailable("it refused without a word");
    const [verdict] = part.payload;
    if (!proved) throw unavailable("it judged before it proved its own key");
    if (verdict === verdicts.welcome) return session.resolve(of.channel.admit(pinned));
    of.channel.pipe.leave(refusalOf(verdict));
  }

  let proved = false;
  function prove(proof: Uint8Array, of: { exported: Uint8Array; channel: Channel }): void {
    if (proved) throw unavailable("it proved its key twice");
    const listener = provedKey(proof, { exported: of.exported, role: "listener", listener: null });
    if (!isKeyOf(pinned, listener)) {
      void of.channel.pipe.send("refusal", Buffer.of(refusals.other_key)).catch(() => undefined);
      return of.channel.pipe.leave(otherKey(publicKeyText(listener)));
    }
    proved = true;
    const mine = proofOf(keys, { exported: of.exported, role: "caller", listener });
    void of.channel.pipe.send("proof", mine).catch(() => undefined);
  }

  const otherKey = (shown: string): DbxError =>
    failedPrecondition(
      `${who} has another key than the one that is pinned: ${shown}; if its operator says that this ` +
        `is right: dbx remote add ${pinned.name} ${endpoint.host} --port ${endpoint.port} ` +
        `--public-key ${shown} --replace`,
      { remote: pinned.name, public_key: shown },
    );

  function refusalOf(verdict: number | undefined): DbxError {
    if (verdict !== verdicts.unknown_key) {
      return unavailable("it has too many sessions, or is stopping; try again later");
    }
    return failedPrecondition(
      `${who} does not know this node; run there: dbx remote add NAME ADDRESS --public-key ` +
        `${keys.public_key} (with a name for this node and its address)`,
      { remote: pinned.name, public_key: keys.public_key },
    );
  }

  return {
    ...{ who, session: session.promise, gone: gone.promise, fail },
    greet(socket: Socket<undefined>): void {
      raw = socket;
      if (over) return void socket.terminate();
      socket.setKeepAlive(true, 30_000);
      if (socket.write(hello) !== hello.length) fail(unavailable(`${who} takes no bytes`));
    },
    answered(socket: Socket<undefined>, piece: Uint8Array): void {
      // What TLS reads is shown here as well.
      if (channel !== null || over) return;
      try {
        frames.push(piece);
        const frame = frames.next();
        if (frame === null) return;
        const { accepted, message } = decodeHelloResponse(frame, helloBounds.pointers);
        if (!accepted) return fail(failedPrecondition(`${who} refused: ${printable(message)}`));
        if (frames.held() > 0) throw unavailable("it said more than was asked");
        secure(socket, exporterContext(hello, bytesOf(frame)));
      } catch (cause) {
        fail(unavailable(`${who} does not answer as a node of dbx does`, {}, { cause }));
      }
    },
    cutOff(reason: string): void {
      if (channel === null) fail(unavailable(`no session with ${who}: ${reason}`));
    },
  };
}

/** Nobody has proved anything when it is said, so it may be anything. */
const printable = (message: string): string => message.replace(/[^\x20-\x7e]/g, "?").slice(0, 300);
