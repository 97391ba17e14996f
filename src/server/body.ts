// Request bodies, bounded: nothing over its limit is ever held in memory, no client can take for
// ever, and all large bodies together have a bound too. Whoever calls has authenticated the
// request.

import { invalidArgument, overloaded, tooLarge } from "../model/error.ts";
import { limits } from "../model/limits.ts";

export interface Bodies {
  /**
   * All bytes of the body; none when there is no body. Throws `too_large` before reading what says
   * it is; rejects with something else than a DbxError when the client goes away.
   */
  readonly read: (
    request: Request,
    options: { bytes_max: number },
  ) => Promise<Uint8Array> | Uint8Array;
  /** Bytes that streamed bodies hold now. */
  readonly held: () => number;
}

/** In: how long a streamed body may take, and how much they may hold all together. */
export function createBodies(bounds: { body_ms_max: number; bytes_max: number }): Bodies {
  let held = 0;

  async function readStream(
    stream: ReadableStream<Uint8Array>,
    options: { bytes_max: number; declared: number | null },
  ): Promise<Uint8Array> {
    const { bytes_max, declared } = options;
    // A declared length is set aside before the first byte: whoever is refused is so before sending
    // it all.
    let reserved = 0;
    const reserve = (bytes: number) => {
      if (held + bytes > bounds.bytes_max) throw tooMany({ held, limit: bounds.bytes_max });
      held += bytes;
      reserved += bytes;
    };
    reserve(declared ?? 0);
    const reader = stream.getReader();
    const chunks: Uint8Array[] = [];
    let total = 0;
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      void reader.cancel();
    }, bounds.body_ms_max);
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (late) throw tooSlow(bounds.body_ms_max);
        if (done) break;
        if (total + value.length > bytes_max) throw overLimit(bytes_max);
        if (declared === null) reserve(value.length);
        total += value.length;
        chunks.push(value);
      }
      return Buffer.concat(chunks, total);
    } finally {
      clearTimeout(timer);
      held -= reserved;
      // What the client still sends is dropped as it comes; the answer does not wait for it.
      reader.releaseLock();
    }
  }

  return {
    held: () => held,

    // Not an async function: the common case hands out Bun's own promise, and every turn less
    // counts here.
    read(request, { bytes_max }) {
      const declared = request.headers.get("content-length");
      const length = declared === null ? Infinity : Number(declared);
      if (declared !== null && length > bytes_max) throw overLimit(bytes_max, length);
      if (length <= limits.body_inline_bytes_max) return length === 0 ? nothing : request.bytes();
      return request.body === null
        ? nothing
        : readStream(request.body, { bytes_max, declared: declared === null ? null : length });
    },
  };
}

const nothing = new Uint8Array();

const overLimit = (limit: number, actual?: number) =>
  tooLarge(`the request body is larger than ${limit} bytes`, {
    limit,
    ...(actual === undefined ? {} : { actual }),
  });

const tooMany = (details: { held: number; limit: number }) =>
  overloaded("too many large requests at once; try again", details);

const tooSlow = (ms: number) =>
  invalidArgument(`the request body took longer than ${ms} ms`, { reason: "request_timeout" });
