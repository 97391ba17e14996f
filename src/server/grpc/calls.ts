// Around every call: its token before its message, its name, bounds, figures, the log line, and the
// one way in which a refusal is told. Handlers never throw past here: grpc-js would say UNKNOWN.

import {
  Metadata,
  ServerInterceptingCall,
  status,
  type handleBidiStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  type ServerInterceptor,
} from "@grpc/grpc-js";
import { statusOf, toWire } from "../../api/errors.ts";
import type { Actor } from "../../model/actor.ts";
import { DbxError, overloaded, unauthenticated, unavailable } from "../../model/error.ts";
import { limits } from "../../model/limits.ts";
import { createStatusWriter } from "../../wire/status.ts";
import { tokenOf } from "../credentials.ts";
import type { SurfaceOptions } from "../surface.ts";

/** What is known of a call that may be answered. */
export interface Asked {
  /** Throws `unauthenticated`; asked anew whenever something is done for the caller. */
  readonly actorOf: () => Actor;
  /** Aborted when nobody waits for the call any more. */
  readonly gone: AbortSignal;
}

/**
 * Whether a token is needed: for all that shows data. What tells how dbx is, or what it speaks, is
 * open, and answers also while dbx is busy or stops.
 */
export type Access = "token" | "open";

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
  readonly duplex: (
    name: string,
    run: (call: Duplex, asked: Asked) => Promise<void>,
    access?: Access,
  ) => handleBidiStreamingCall<Buffer, Buffer>;
  /** Refuses a stranger before his message is read; `accessOf` is asked for the path of the call. */
  readonly admission: (accessOf: (path: string) => Access) => ServerInterceptor;
}

export type ServerStream = Parameters<handleServerStreamingCall<Buffer, Buffer>>[0];
export type Duplex = Parameters<handleBidiStreamingCall<Buffer, Buffer>>[0];
type AnyCall = Pick<Duplex, "metadata" | "cancelled" | "getDeadline" | "sendMetadata"> & {
  readonly once: (event: "cancelled", listener: () => void) => unknown;
};

interface Refusal {
  readonly code: number;
  readonly details: string;
  readonly metadata?: Metadata;
}

interface Refused {
  readonly refusal: Refusal;
  readonly head: Metadata;
}

export function createCalls(options: SurfaceOptions): Calls {
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
      return { value: await run({ actorOf, gone: gone.signal }) };
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
    const result = await guard(name, { call, access }, (asked) => run(call, asked));
    if (call.cancelled) return;
    if ("refusal" in result) call.emit("error", result.refusal);
    else call.end();
  }

  /** Null for whoever may go on; otherwise what to tell him. It is counted and logged. */
  function refuseStranger(path: string, metadata: Metadata): Refused | null {
    try {
      authenticate(bearerOf(metadata));
      return null;
    } catch (thrown) {
      const request_id = nameRequest(first(metadata, "x-request-id"));
      const fields = { request_id, operation: path, surface: "grpc" };
      const { code, http, refusal } = refuse(thrown, fields);
      figures.count(http);
      log.debug("request", { ...fields, status: code });
      return { refusal, head: named(request_id) };
    }
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
    duplex:
      (name, run, access = "token") =>
      (call) =>
        void stream(name, { call, access }, run),
    admission:
      (accessOf) =>
      ({ path }, inner) =>
        new ServerInterceptingCall(inner, {
          start: (next) =>
            next({
              onReceiveMetadata(metadata, forward) {
                const refused = accessOf(path) === "token" ? refuseStranger(path, metadata) : null;
                if (refused === null) return forward(metadata);
                inner.sendMetadata(refused.head);
                inner.sendStatus(refused.refusal);
              },
            }),
        }),
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

function named(request_id: string): Metadata {
  const metadata = new Metadata();
  metadata.set("x-request-id", request_id);
  return metadata;
}

const first = (metadata: Metadata, name: string): string | null => {
  const [value] = metadata.get(name);
  return typeof value === "string" ? value : null;
};

/** Throws `unauthenticated`, saying what is wrong with the metadata. */
function bearerOf(metadata: Metadata): string {
  const [value, ...others] = metadata.get("authorization");
  if (value === undefined) throw unauthenticated("missing authorization metadata");
  if (typeof value !== "string" || others.length > 0 || !/^[\x20-\x7e]*$/.test(value))
    throw unauthenticated("invalid authorization metadata");
  if (!/^bearer /i.test(value))
    throw unauthenticated("authorization metadata must use Bearer token");
  return tokenOf(value);
}

/** How anything thrown is told, and logged where it is no fault of the caller. */
function createRefuse({ log }: SurfaceOptions) {
  const write = createStatusWriter();
  return (
    thrown: unknown,
    fields: Readonly<Record<string, string>>,
  ): { readonly code: string; readonly http: number; readonly refusal: Refusal } => {
    const error = toWire(thrown);
    const { http } = statusOf[error.code];
    if (error.code === "internal") {
      const stack = thrown instanceof Error ? thrown.stack : String(thrown);
      log.error("request failed", { ...fields, code: error.code, stack });
    } else if (http >= 500) {
      log.warn("request failed", { ...fields, code: error.code, message: error.message });
    }
    const { code, message, details, wire } = write(error);
    const metadata = new Metadata();
    metadata.set("grpc-status-details-bin", details);
    metadata.set("dbx-error", wire);
    return { code: error.code, http, refusal: { code, details: message, metadata } };
  };
}
