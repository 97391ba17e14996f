// Around every call: its token before its message, its name, bounds, figures, the log line, and the
// one way in which a refusal is told. Handlers never throw past here: grpc-js would say UNKNOWN.

import {
  status,
  type handleBidiStreamingCall,
  type handleClientStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
} from "@grpc/grpc-js";
import type { Actor } from "../../model/actor.ts";
import { DbxError, overloaded, unavailable } from "../../model/error.ts";
import { limits } from "../../model/limits.ts";
import type { SurfaceOptions } from "../surface.ts";
import { bearerOf, type Access, type Admission } from "./admission.ts";
import type { Incoming } from "./intake.ts";
import { createRefuse, first, named, type Refusal } from "./refusal.ts";

/** What is known of a call that may be answered. */
export interface Asked {
  /** Throws `unauthenticated`; asked anew whenever something is done for the caller. */
  readonly actorOf: () => Actor;
  /** Aborted when nobody waits for the call any more. */
  readonly gone: AbortSignal;
  /** Where its messages come from. */
  readonly incoming: Incoming;
}

export interface Calls {
  readonly unary: (
    name: string,
    answer: (message: Buffer, asked: Asked) => Promise<Buffer>,
    access?: Access,
  ) => handleUnaryCall<Buffer, Buffer>;
  readonly serverStream: (
    name: string,
    run: (call: ServerStream, asked: Asked) => Promise<void>,
    access?: Access,
  ) => handleServerStreamingCall<Buffer, Buffer>;
  readonly clientStream: (
    name: string,
    run: (call: ClientStream, asked: Asked) => Promise<Buffer>,
  ) => handleClientStreamingCall<Buffer, Buffer>;
  readonly duplex: (
    name: string,
    run: (call: Duplex, asked: Asked) => Promise<void>,
    access?: Access,
  ) => handleBidiStreamingCall<Buffer, Buffer>;
}

export type ServerStream = Parameters<handleServerStreamingCall<Buffer, Buffer>>[0];
export type ClientStream = Parameters<handleClientStreamingCall<Buffer, Buffer>>[0];
export type Duplex = Parameters<handleBidiStreamingCall<Buffer, Buffer>>[0];
type AnyCall = Pick<Duplex, "metadata" | "cancelled" | "getDeadline" | "sendMetadata"> & {
  readonly once: (event: "cancelled", listener: () => void) => unknown;
};

export function createCalls(options: SurfaceOptions, admission: Admission): Calls {
  const { authenticate, figures, log, nameRequest } = options;
  const refuse = createRefuse(options);

  /** Runs what answers a call. Out: its value, or how it is refused. Never rejects. */
  async function guard<Value>(
    name: string,
    { call, access }: { call: AnyCall; access: Access },
    run: (asked: Asked) => Promise<Value>,
  ): Promise<{ readonly value: Value } | { readonly refusal: Refusal }> {
    const started = performance.now();
    const request_id = nameRequest(first(call.metadata, "x-request-id"));
    const fields = { request_id, operation: name, surface: "grpc" };
    const gone = new AbortController();
    call.once("cancelled", () => gone.abort());
    let code = "ok";
    let http = 200;
    try {
      if (call.cancelled || isPast(Number(call.getDeadline()))) {
        code = "deadline_exceeded";
        return late;
      }
      call.sendMetadata(named(request_id));
      if (access === "token" && options.draining()) throw unavailable("dbx is stopping");
      const actorOf = () => authenticate(bearerOf(call.metadata));
      const incoming = admission.incomingOf(call.metadata);
      return { value: await run({ actorOf, gone: gone.signal, incoming }) };
    } catch (thrown) {
      // Whoever has gone breaks off what was read from him: that is no defect, and nobody hears.
      if ((gone.signal.aborted || call.cancelled) && !(thrown instanceof DbxError)) {
        code = "cancelled";
        return left;
      }
      const refused = refuse(thrown, fields);
      ({ code, http } = refused);
      return refused;
    } finally {
      figures.count(http);
      const ms = Math.round((performance.now() - started) * 1000) / 1000;
      log.debug("request", { ...fields, status: code, ms });
    }
  }

  /** Streams are bounded elsewhere: they wait more than they work. */
  async function counted<Value>(access: Access, run: () => Promise<Value>): Promise<Value> {
    figures.running++;
    try {
      const isBusy = figures.running > limits.requests_running_max;
      if (access === "token" && isBusy) throw tooBusy(figures.running);
      return await run();
    } finally {
      figures.running--;
    }
  }

  async function stream<Call extends ServerStream | Duplex>(
    name: string,
    { call, access }: { call: Call; access: Access },
    run: (call: Call, asked: Asked) => Promise<void>,
  ): Promise<void> {
    const { stopping } = options;
    let leave = (): void => {};
    const hurry = (): void => {
      const timer = setTimeout(() => admission.incomingOf(call.metadata).cut(), limits.farewell_ms);
      leave = () => clearTimeout(timer);
    };
    // Whoever takes nothing would keep dbx from stopping; a load has its own time.
    const isLoad = name === "AppendStream";
    if (!isLoad) stopping.addEventListener("abort", hurry, { once: true });
    call.once("cancelled", () => {
      stopping.removeEventListener("abort", hurry);
      leave();
    });
    const result = await guard(name, { call, access }, (asked) => run(call, asked));
    if (call.cancelled) return;
    if (isLoad && stopping.aborted) hurry();
    if ("refusal" in result) call.emit("error", result.refusal);
    else call.end();
  }

  return {
    unary:
      (name, answer, access = "token") =>
      (call, respond) => {
        const run = (asked: Asked) => counted(access, () => answer(call.request, asked));
        void guard(name, { call, access }, run).then((result) => {
          if ("refusal" in result) respond(result.refusal);
          else respond(null, result.value);
        });
      },
    serverStream:
      (name, run, access = "token") =>
      (call) =>
        void stream(name, { call, access }, run),
    clientStream: (name, run) => (call, respond) =>
      void guard(name, { call, access: "token" }, (asked) => run(call, asked)).then((result) => {
        if ("refusal" in result) respond(result.refusal);
        else respond(null, result.value);
      }),
    duplex:
      (name, run, access = "token") =>
      (call) =>
        void stream(name, { call, access }, run),
  };
}

const tooBusy = (running: number) =>
  overloaded("too many requests at once; try again", {
    running,
    limit: limits.requests_running_max,
  });

const late = {
  refusal: {
    code: status.DEADLINE_EXCEEDED,
    details: "the deadline passed before the call was begun",
  },
};

const left = { refusal: { code: status.CANCELLED, details: "the client has gone" } };

const isPast = (deadline: number): boolean =>
  performance.timeOrigin + performance.now() >= deadline;
