// How anything thrown is told on gRPC, and what every call is answered with besides.

import { Metadata } from "@grpc/grpc-js";
import { statusOf, toWire } from "../../api/errors.ts";
import { createStatusWriter } from "../../wire/status.ts";
import type { SurfaceOptions } from "../surface.ts";

export interface Refusal {
  readonly code: number;
  readonly details: string;
  readonly metadata?: Metadata;
}

export interface Refused {
  readonly code: string;
  readonly http: number;
  readonly refusal: Refusal;
}

export type Refuse = (thrown: unknown, fields: Readonly<Record<string, string>>) => Refused;

/** Logs what is no fault of the caller. */
export function createRefuse({ log }: Pick<SurfaceOptions, "log">): Refuse {
  const write = createStatusWriter();
  return (thrown, fields) => {
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

export function named(request_id: string): Metadata {
  const metadata = new Metadata();
  metadata.set("x-request-id", request_id);
  return metadata;
}

export const first = (metadata: Metadata, name: string): string | null => {
  const [value] = metadata.get(name);
  return typeof value === "string" ? value : null;
};
