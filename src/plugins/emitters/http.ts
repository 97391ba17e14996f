// Events as POST requests, one each. What the receiver answers besides the status is not told: it
// may repeat the payload.

import { createHmac } from "node:crypto";
import { invalidArgument } from "../../model/error.ts";
import type { PluginLimits } from "../../model/limits-plugins.ts";
import { limits } from "../../model/limits.ts";
import type { HttpConfig } from "../../model/plugin.ts";
import type { Emission, Emitter, Fault } from "../emitter.ts";
import { faultOf, notReady } from "./fault.ts";
import { createAsking, type Reply } from "./request.ts";

export interface HttpDeps {
  /** The time, for signatures: `2024-12-01T17:22:43.512345Z`. */
  readonly now: () => string;
}

export function createHttpEmitter(
  config: HttpConfig,
  deps: HttpDeps,
  bounds: PluginLimits = limits,
): Emitter {
  const url = resolveEndpoint(config);
  const target = `${url.protocol}//${url.host}${url.pathname}`;
  const asking = createAsking(url, bounds);

  const post = async (emission: Emission, signal: AbortSignal): Promise<Fault | null> => {
    const headers = headersFor(emission, { config, now: deps.now });
    const answer = await asking.ask({ method: "POST", headers, body: emission.json }, signal);
    if ("failed" in answer)
      return faultOf(`${target} did not answer (${answer.failed})`, { reached: false });
    if (isGood(answer.status)) return null;
    const message = `http plugin request failed (${describe(answer, url)}) at ${target}`;
    return faultOf(message, { reached: !refusesAll(answer.status) });
  };

  return {
    events_max: bounds.plugin_http_events_max,
    lanes: bounds.plugin_http_lanes,
    deliver: async (emissions, signal) => {
      for (const [delivered, emission] of emissions.entries()) {
        const fault = await post(emission, signal);
        if (fault !== null) return { delivered, fault };
      }
      return { delivered: emissions.length, fault: null };
    },
    check: async (signal) => {
      const answer = await asking.ask(
        { method: "HEAD", headers: config.headers, body: null },
        signal,
      );
      if ("failed" in answer) throw notReady(`${target} did not answer (${answer.failed})`);
      // Many receivers of POST know no HEAD: that they say so shows that they are there.
      if (isGood(answer.status) || [405, 501].includes(answer.status)) return;
      throw notReady(`http plugin readiness check failed (${describe(answer, url)}) at ${target}`);
    },
    close: async () => asking.close(),
  };
}

function resolveEndpoint({ endpoint, https }: HttpConfig): URL {
  const text = endpoint.trim();
  const full = /^https?:\/\//i.test(text) ? text : `${https ? "https" : "http"}://${text}`;
  // The text itself is not shown: user names and passwords may be in it.
  if (!URL.canParse(full)) throw invalidArgument("the endpoint is no URL", { path: "/endpoint" });
  return new URL(full);
}

/** Configured ones first; those that say what is sent here are dbx's own. */
function headersFor(
  { json, sequence, record }: Emission,
  { config, now }: { config: HttpConfig; now: () => string },
): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(config.headers)) headers[name.toLowerCase()] = value;
  delete headers["transfer-encoding"];
  headers["content-type"] ??= "application/json";
  headers["content-length"] = String(Buffer.byteLength(json));
  headers["idempotency-key"] = record.metadata.event_id;
  headers["x-dbx-event-id"] = record.metadata.event_id;
  headers["x-dbx-delivery"] = String(sequence);
  if (config.secret !== undefined)
    headers["x-dbx-signature"] = signature(json, { secret: config.secret, now });
  return headers;
}

/** The time is signed, too, so that a receiver can refuse what somebody recorded and sends again. */
function signature(json: string, { secret, now }: { secret: string; now: () => string }): string {
  const seconds = Math.floor(Date.parse(now()) / 1_000);
  const code = createHmac("sha256", secret).update(`${seconds}.${json}`).digest("hex");
  return `t=${seconds},v1=${code}`;
}

/** `307 Temporary Redirect, points to https://example.org/new`: where to, but without its query. */
function describe({ status, reason, location, retry_after_s }: Reply, url: URL): string {
  const words = [`${status} ${reason}`.trim()];
  if (location !== null && URL.canParse(location, url.href)) {
    const { protocol, host, pathname } = new URL(location, url.href);
    words.push(`points to ${protocol}//${host}${pathname}`);
  }
  if (retry_after_s !== null) words.push(`retry after ${retry_after_s} s`);
  return words.join(", ");
}

const isGood = (status: number): boolean => status >= 200 && status <= 299;

/** Answers that are not about the event: who may not, who must wait, and whoever stands before. */
const refusesAll = (status: number): boolean =>
  (status >= 300 && status <= 399) || [401, 403, 407, 429, 502, 503, 504].includes(status);
