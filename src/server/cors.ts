// Cross-origin requests (Fetch standard, section 3.2, "HTTP CORS protocol"): which pages of other
// origins may read the answers. No credentials are ever allowed: dbx knows no cookies, and a token
// is sent by whoever has it.

import { limits } from "../model/limits.ts";

export interface Cors {
  /** Adds to an answer what its origin may read. Returns the same answer. */
  readonly mark: (request: Request, response: Response) => Response;
  /**
   * The headers that answer a preflight for a path with these methods; null for what is none, or
   * comes from an origin that may not ask.
   */
  readonly preflight: (
    request: Request,
    methods: readonly string[],
  ) => Record<string, string> | null;
}

/**
 * In: `cors.origins` of the configuration. Out: null where nobody may ask, so that it costs
 * nothing.
 */
export function createCors(origins: string | undefined): Cors | null {
  if (origins === undefined) return null;
  const allowed = new Set(origins.split(",").map((origin) => origin.trim()));
  const everybody = allowed.has("*");
  const allows = (origin: string | null): origin is string =>
    origin !== null && (everybody || allowed.has(origin));

  return {
    mark(request, response) {
      const { headers } = response;
      // Said to everybody: a cache must not give one origin what it keeps for another.
      if (!everybody) headers.append("Vary", "Origin");
      const origin = request.headers.get("origin");
      if (!allows(origin)) return response;
      headers.set("Access-Control-Allow-Origin", everybody ? "*" : origin);
      headers.set("Access-Control-Expose-Headers", exposed);
      return response;
    },
    preflight({ method, headers }, methods) {
      const asked = method === "OPTIONS" && headers.has("access-control-request-method");
      if (!asked || methods.length === 0 || !allows(headers.get("origin"))) return null;
      return {
        "Access-Control-Allow-Methods": methods.join(", "),
        "Access-Control-Allow-Headers": sendable,
        "Access-Control-Max-Age": String(limits.preflight_seconds),
      };
    },
  };
}

/** What pages may send besides what every page may. */
const sendable = [
  ...["Authorization", "Content-Type", "If-Match", "If-None-Match", "Last-Event-ID"],
  "X-Request-Id",
].join(", ");

/** What they may read besides what every page may. */
const exposed = ["ETag", "X-Next-Cursor", "X-Request-Id", "Retry-After"].join(", ");
