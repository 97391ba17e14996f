// The way in of every gRPC call, before its handler: its token before its message, how often it may
// ask, and the bounds of what it brings. Whoever is refused here is told, counted and logged as
// those are whom a handler refuses.

import {
  ServerInterceptingCall,
  type Metadata,
  type ServerInterceptor,
  type ServerInterceptingCallInterface,
} from "@grpc/grpc-js";
import { assert, unauthenticated } from "../../model/error.ts";
import { tokenOf } from "../credentials.ts";
import type { SurfaceOptions } from "../surface.ts";
import {
  createIntake,
  type Admitted,
  type Incoming,
  type IntakeBounds,
  type Kind,
} from "./intake.ts";
import { createRefuse, first, named } from "./refusal.ts";

/**
 * Whether a token is needed: for all that shows data. What tells how dbx is, or what it speaks, is
 * open, and answers also while dbx is busy or stops.
 */
export type Access = "token" | "open";

export interface Admission {
  readonly interceptor: ServerInterceptor;
  /** In: the metadata of an admitted call. */
  readonly incomingOf: (metadata: Metadata) => Incoming;
}

export function createAdmission(
  options: SurfaceOptions,
  { kindOf, bounds }: { kindOf: (path: string) => Omit<Kind, "isDuplex">; bounds: IntakeBounds },
): Admission {
  const { authenticate, figures, log, nameRequest, rates, stopping } = options;
  const refuse = createRefuse(options);
  const intake = createIntake(bounds, stopping);
  const admitted = new WeakMap<Metadata, Incoming>();
  let refused_by_library = 0;
  figures.add(() => ({ ...intake.figures(), grpc_refused_by_library: refused_by_library }));

  /** Tells, counts and logs that a call is refused which no handler has seen. */
  function turnAway(
    thrown: unknown,
    asked: { call: ServerInterceptingCallInterface; metadata: Metadata; path: string },
  ): void {
    const { call, metadata, path } = asked;
    const request_id = nameRequest(first(metadata, "x-request-id"));
    const fields = { request_id, operation: path, surface: "grpc" };
    const { code, http, refusal } = refuse(thrown, fields);
    figures.count(http);
    log.debug("request", { ...fields, status: code });
    call.sendMetadata(named(request_id));
    call.sendStatus(refusal);
  }

  const interceptor: ServerInterceptor = ({ path, requestStream }, inner) => {
    const isDuplex = requestStream;
    let entered: Admitted | null = null;
    /** Whether somebody here answers: a handler that runs, or a refusal of ours. */
    let isOurs = isDuplex;
    const sendStatus = inner.sendStatus.bind(inner);
    inner.sendStatus = (status) => {
      if (!isOurs) {
        refused_by_library++;
        log.debug("request", { operation: path, surface: "grpc", status: `grpc ${status.code}` });
      }
      isOurs = true;
      sendStatus(status);
    };
    const outer = new ServerInterceptingCall(inner, {
      start: (next) =>
        next({
          onReceiveMetadata(metadata, forward) {
            const turn = (thrown: unknown): void => {
              isOurs = true;
              turnAway(thrown, { call: inner, metadata, path });
            };
            try {
              const kind = { ...kindOf(path), isDuplex };
              rates.peer(inner.getConnectionInfo().remotePort);
              if (!kind.isOpen) rates.token(authenticate(bearerOf(metadata)));
              entered = intake.admit(inner, kind, turn);
              admitted.set(metadata, entered);
            } catch (thrown) {
              return turn(thrown);
            }
            forward(metadata);
          },
          onReceiveHalfClose(forward) {
            isOurs = true;
            entered?.begin();
            forward();
          },
          onCancel: () => entered?.end(),
        }),
    });
    outer.startRead = () => entered?.startRead();
    return outer;
  };

  return {
    interceptor,
    incomingOf(metadata) {
      const incoming = admitted.get(metadata);
      assert(incoming !== undefined, "a call that is answered was admitted");
      return incoming;
    },
  };
}

/** Throws `unauthenticated`, saying what is wrong with the metadata. */
export function bearerOf(metadata: Metadata): string {
  // A second one comes joined to the first by a comma, and is then no token.
  const [value] = metadata.get("authorization");
  if (value === undefined) throw unauthenticated("missing authorization metadata");
  if (typeof value !== "string" || !/^[\x20-\x7e]*$/.test(value))
    throw unauthenticated("invalid authorization metadata");
  if (!/^bearer /i.test(value))
    throw unauthenticated("authorization metadata must use Bearer token");
  return tokenOf(value);
}
