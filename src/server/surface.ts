// What every surface is handed, and how one puts its own paths on the HTTP listener.

import type { Dbx } from "../api/dbx.ts";
import type { Live } from "../api/live.ts";
import type { Log } from "../log.ts";
import type { Actor } from "../model/actor.ts";
import type { Config } from "../model/config.ts";
import type { NameRequest } from "./answer.ts";
import type { Bodies } from "./body.ts";
import type { Figures } from "./figures.ts";
import type { Rates } from "./rate.ts";
import type { PathValues } from "./request.ts";

export interface SurfaceOptions {
  readonly dbx: Dbx;
  readonly live: Live;
  readonly authenticate: (token: string) => Actor;
  /** Largest payload now: it may change while the server runs. */
  readonly payload_limit: () => number;
  /** How many rows lists give, for whoever asks for several at once. */
  readonly page_sizes: () => Pick<Config, "list_page_size" | "page_limit">;
  readonly nameRequest: NameRequest;
  readonly bodies: Bodies;
  readonly figures: Figures;
  readonly rates: Rates;
  readonly log: Log;
  readonly draining: () => boolean;
  /** Aborted when the server begins to stop: what would go on for ever ends then. */
  readonly stopping: AbortSignal;
}

/** What a request brings, and the id that it is logged and answered with. */
export interface Asked {
  readonly request: Request;
  readonly params: PathValues | undefined;
  readonly request_id: string;
  readonly silence: Silence;
}

/** Makes the answer of a request that may be answered; what it throws becomes the error shape. */
export type Respond = (asked: Asked) => Promise<Response> | Response;

/** Lets the connection of a request be silent for so many seconds; 0 for as long as it takes. */
export type Silence = (request: Request, seconds: number) => void;

/** A path that no operation of the table has: a page, a stream, a language of its own. */
export interface Mount {
  readonly method: "GET" | "POST";
  /** As Elysia writes it. */
  readonly path: string;
  /** What the log calls it. */
  readonly name: string;
  readonly respond: Respond;
}
