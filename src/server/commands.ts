// Requests for commands on one connection of the control socket: messages of Cap'n Proto, one after
// the other, each with the token of whom it acts for. It knows no command; it is handed what runs
// them. Whatever a stranger sends is bounded before anything is known about him.

import type { Socket } from "bun";
import { statusOf, toWire } from "../api/errors.ts";
import type { Log } from "../log.ts";
import type { Actor } from "../model/actor.ts";
import { assert, DbxError, overloaded, unauthenticated, unavailable } from "../model/error.ts";
import {
  decodeCommand,
  encodeResult,
  protocolOf,
  type CommandRequest,
  type CommandResult,
} from "../wire/control.ts";
import { createFrameReader, type Frame, type FrameReader } from "../wire/frame.ts";
import { countThem } from "./listener.ts";
import type { Rates } from "./rate.ts";

/** Runs a command to its end. The signal says that nobody waits for it any more. */
export type RunCommand = (request: CommandRequest, signal: AbortSignal) => Promise<CommandResult>;

/** What takes the connections of other nodes. */
export interface NodeListener {
  /** Where it is begun, the socket is its own from then on; else the answer is sent and all ends. */
  readonly greet: (
    socket: Socket<unknown>,
    hello: Frame,
    options: { readonly early: boolean },
  ) => { readonly kind: "begun" } | { readonly kind: "refused"; readonly answer: Uint8Array };
  readonly figures: () => Record<string, number>;
  /** Answers what has been asked, and ends every session. Takes nobody from now on. */
  readonly stop: () => Promise<void>;
}

export interface CommandBounds {
  readonly commands_max: number;
  readonly request_bytes_max: number;
  /** Requests up to here take nothing of `requests_bytes_max`. */
  readonly small_bytes: number;
  readonly requests_bytes_max: number;
  readonly args_max: number;
  readonly segments_max: number;
  readonly pointers_max: number;
  readonly depth_max: number;
  /** How long the first request may take to arrive. */
  readonly preface_ms: number;
  /** The same of a large one, once its size is known. */
  readonly large_ms: number;
  /** How long nothing may be asked after an answer. */
  readonly idle_ms: number;
  /** How long a client may take nothing of an answer. */
  readonly stall_ms: number;
  /** How long it has to take notice of the end. */
  readonly farewell_ms: number;
}

export interface CommandOptions {
  readonly run: RunCommand;
  /** Throws `unauthenticated`. */
  readonly authenticate: (token: string) => Actor;
  readonly rates: Pick<Rates, "address">;
  /** Takes the connections of other nodes; null where nobody does. */
  readonly greet: NodeListener["greet"] | null;
  /** Takes a defect, which whoever asked must not see. */
  readonly failed: (error: unknown) => void;
  readonly log: Log;
  readonly bounds: CommandBounds;
}

/** A connection. */
export interface Peer {
  readonly socket: Socket<Peer>;
  readonly frames: FrameReader;
  /** It has asked for a command, so it understands answers. */
  known: boolean;
  /** Ends the command that runs for it. */
  running: AbortController | null;
  /** What it has not taken of its answer. */
  unsent: Uint8Array;
  /** It sends nothing more. */
  ended: boolean;
  /** What it sends is not looked at any more. */
  over: boolean;
  /** It gets nothing more. */
  left: boolean;
  /** Another node's: its bytes are TLS's. */
  handed: boolean;
  /** What its request takes of the room for large ones. */
  reserved_bytes: number;
  timer: Timer | null;
}

const nothing = new Uint8Array();

export const createPeer = (socket: Socket<Peer>, bounds: CommandBounds): Peer => ({
  socket,
  frames: createFrameReader({
    segments_max: bounds.segments_max,
    bytes_max: bounds.request_bytes_max,
  }),
  ...{ known: false, running: null, unsent: nothing, ended: false, over: false, left: false },
  ...{ handed: false, reserved_bytes: 0, timer: null },
});

/** What becomes of a connection's bytes. */
export function createService(options: CommandOptions, { closing }: { closing: () => boolean }) {
  const { bounds, log } = options;
  const figures = { requests: 0, refused: 0, strangers: 0, large_bytes: 0 };
  let running = 0;
  /** Those whose answer takes memory until they take it. */
  const holding = new Set<Peer>();
  const strangers = countThem((count, address) => {
    log.warn("control socket: no request for a command", { address, strangers: count });
  });
  const { pointers_max, depth_max } = bounds;
  const pointers = { words_max: bounds.request_bytes_max / 8, pointers_max, depth_max };

  function wait(peer: Peer, ms: number): void {
    clearTimeout(peer.timer ?? undefined);
    peer.timer = setTimeout(() => (peer.left ? peer.socket.terminate() : leave(peer)), ms);
  }

  /** Whoever does not take notice of the end is cut off, later while he may still be sending. */
  function leave(peer: Peer): void {
    if (peer.left) return;
    peer.left = true;
    holding.delete(peer);
    peer.socket.resume();
    if (peer.ended) return void peer.socket.end();
    // Half of it only: what is still on its way from him would cost him our last answer.
    peer.socket.shutdown();
    const isSending = peer.over && !closing();
    wait(peer, isSending ? bounds.preface_ms : bounds.farewell_ms);
  }

  function turnAway(peer: Peer): void {
    figures.strangers++;
    strangers.count(peer.socket.remoteAddress);
    leave(peer);
  }

  /** Takes the next request, where it may be taken and is there. */
  function go(peer: Peer): void {
    if (peer.left) return;
    if (peer.running !== null || peer.unsent.length > 0) {
      // Read on, because a paused socket does not tell that its other end is gone.
      if (peer.frames.held() > bounds.small_bytes) peer.socket.pause();
      return;
    }
    if (closing() || peer.over) return leave(peer);
    let frame: Frame | null;
    try {
      frame = peer.frames.next();
      if (frame === null) reserve(peer);
    } catch (thrown) {
      return refuseStream(peer, thrown);
    }
    if (frame !== null) {
      // One is taken a turn, and a turn brings more than that: the rest waits with its sender.
      if (peer.frames.held() > bounds.small_bytes) peer.socket.pause();
      return begin(peer, frame);
    }
    if (peer.ended) {
      if (peer.frames.held() > 0) return turnAway(peer);
      return leave(peer);
    }
    peer.socket.resume();
  }

  /** For a large request, before it is there. Throws `overloaded`. */
  function reserve(peer: Peer): void {
    const bytes = peer.frames.announced();
    if (bytes <= bounds.small_bytes || peer.reserved_bytes > 0) return;
    if (figures.large_bytes + bytes > bounds.requests_bytes_max) {
      throw overloaded("too many large requests at a time; try again later", {
        limit: bounds.requests_bytes_max,
      });
    }
    peer.reserved_bytes = bytes;
    figures.large_bytes += bytes;
    wait(peer, bounds.large_ms);
  }

  function release(peer: Peer): void {
    figures.large_bytes -= peer.reserved_bytes;
    peer.reserved_bytes = 0;
  }

  /** What follows cannot be told from what is refused, so the connection ends. */
  function refuseStream(peer: Peer, thrown: unknown): void {
    const isMessage = thrown instanceof DbxError && thrown.code !== "invalid_argument";
    if (!peer.known && !isMessage) return turnAway(peer);
    peer.over = true;
    figures.requests++;
    figures.refused++;
    answer(peer, refusalOf(thrown, []));
  }

  function begin(peer: Peer, frame: Frame): void {
    clearTimeout(peer.timer ?? undefined);
    try {
      const protocol = peer.known ? "cli" : protocolOf(frame, pointers);
      if (protocol === "replication" && options.greet !== null) return greet(peer, frame);
      if (protocol !== "cli") return turnAway(peer);
    } catch {
      // Whatever it is, its pointers lead nowhere.
      return turnAway(peer);
    }
    peer.known = true;
    figures.requests++;
    let args: readonly string[] = [];
    const asked = new AbortController();
    peer.running = asked;
    const attempt = async (): Promise<CommandResult> => {
      const request = decodeCommand(frame, { ...pointers, args_max: bounds.args_max });
      args = request.args;
      admit(peer, request.token);
      running++;
      try {
        return await options.run(request, asked.signal);
      } finally {
        running--;
      }
    };
    void attempt()
      .catch((thrown: unknown) => refused(thrown, { args, isHeard: !peer.left }))
      .then((result) => {
        peer.running = null;
        release(peer);
        log.debug("request", { surface: "socket", exit: result.exit });
        answer(peer, result);
      });
  }

  function greet(peer: Peer, hello: Frame): void {
    assert(options.greet !== null, "somebody takes other nodes");
    const greeted = options.greet(peer.socket, hello, { early: peer.frames.held() > 0 });
    peer.handed = greeted.kind === "begun";
    if (greeted.kind === "begun") return;
    peer.over = true;
    peer.unsent = greeted.answer;
    flush(peer);
  }

  function refused(
    thrown: unknown,
    { args, isHeard }: { args: readonly string[]; isHeard: boolean },
  ): CommandResult {
    figures.refused++;
    // What fails after its asker has gone most likely fails for that.
    if (!(thrown instanceof DbxError) && isHeard) options.failed(thrown);
    return refusalOf(thrown, args);
  }

  /** Throws unless a command may run for whoever has the token, now. */
  function admit({ socket }: Peer, token: string): void {
    if (closing()) throw unavailable("dbx is stopping");
    options.rates.address(socket.remoteAddress);
    if (token === "") throw unauthenticated("the request carries no token");
    options.authenticate(token);
    if (running + holding.size >= bounds.commands_max) {
      throw overloaded(`more than ${bounds.commands_max} commands at a time; try again later`, {
        limit: bounds.commands_max,
      });
    }
  }

  function answer(peer: Peer, result: CommandResult): void {
    if (peer.left) return;
    peer.unsent = encodeResult(result);
    flush(peer);
  }

  function flush(peer: Peer): void {
    if (peer.left || peer.unsent.length === 0) return;
    const sent = Math.max(0, peer.socket.write(peer.unsent));
    peer.unsent = sent === peer.unsent.length ? nothing : peer.unsent.subarray(sent);
    if (peer.unsent.length > bounds.small_bytes) holding.add(peer);
    else if (peer.unsent.length === 0) holding.delete(peer);
    if (peer.unsent.length > 0) {
      return wait(peer, closing() ? bounds.farewell_ms : bounds.stall_ms);
    }
    wait(peer, bounds.idle_ms);
    // Not at once: many small requests in one piece would leave nobody else a turn.
    setImmediate(() => go(peer));
  }

  return {
    wait,
    go,
    flush,
    /** It sends nothing more. */
    end(peer: Peer): void {
      if (peer.handed) return;
      peer.ended = true;
      if (peer.left) peer.socket.end();
      else go(peer);
    },
    /** While dbx stops: whoever waits goes, and so does who takes nothing of what waits for him. */
    hurry(peer: Peer): void {
      if (peer.handed) return;
      if (peer.left || peer.unsent.length > 0) wait(peer, bounds.farewell_ms);
      go(peer);
    },
    forget(peer: Peer): void {
      peer.left = true;
      clearTimeout(peer.timer ?? undefined);
      peer.running?.abort();
      holding.delete(peer);
      release(peer);
    },
    figures: () => ({
      socket_requests: figures.requests,
      socket_requests_refused: figures.refused,
      socket_requests_running: running,
      socket_strangers: figures.strangers,
      socket_large_bytes: figures.large_bytes,
    }),
  };
}

/** The words in which the command line says it, or its JSON where the request asks for that. */
function refusalOf(thrown: unknown, args: readonly string[]): CommandResult {
  const wire = toWire(thrown);
  const end = args.indexOf("--");
  const json = args.slice(0, end === -1 ? args.length : end).includes("--json");
  const stderr = json ? JSON.stringify(wire) : `error: ${wire.message} (${wire.code})`;
  return { exit: statusOf[wire.code].exit, stdout: "", stderr: `${stderr}\n` };
}
