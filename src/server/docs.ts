// `/openapi.json` and the reference page `/docs`. Open to everybody: they show no data. Both are
// made when somebody first asks, and kept.

import { describeApi } from "../api/openapi/document.ts";
import type { Route } from "../api/routes.ts";
import { isKnown, tagOf } from "./condition.ts";
import { contentPolicy, renderReference } from "./reference.ts";
import type { Asked, Mount } from "./surface.ts";

/** In: the version of dbx, and the routes that are served. */
export function docsMounts(options: {
  readonly version: string;
  readonly surfaces: readonly Route["surface"][];
}): Mount[] {
  const document = once(() => describeApi(options));
  const json = once(() =>
    pageOf(JSON.stringify(document()), { ...unsniffed, "Content-Type": "application/json" }),
  );
  const html = once(() =>
    pageOf(renderReference(document()), {
      ...unsniffed,
      "Content-Type": "text/html; charset=utf-8",
      "Content-Security-Policy": contentPolicy,
      "Referrer-Policy": "no-referrer",
    }),
  );
  return [
    {
      method: "GET",
      path: "/openapi.json",
      name: "openapi",
      respond: (asked) => give(json(), asked),
    },
    { method: "GET", path: "/docs", name: "docs", respond: (asked) => give(html(), asked) },
  ];
}

const unsniffed = { "X-Content-Type-Options": "nosniff" } as const;

function once<Made>(make: () => Made): () => Made {
  let made: { readonly value: Made } | undefined;
  return () => (made ??= { value: make() }).value;
}

interface Page {
  readonly plain: Representation;
  readonly zipped: Representation;
}

/** A form of the page as it goes over the wire: each has a tag of its own (RFC 9110, 8.8.3.3). */
interface Representation {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly etag: string;
  readonly headers: Readonly<Record<string, string>>;
}

function pageOf(text: string, headers: Readonly<Record<string, string>>): Page {
  const bytes = new TextEncoder().encode(text);
  const zipped = Bun.gzipSync(bytes, { level: 9 });
  return {
    plain: { bytes, etag: tagOf(bytes), headers },
    zipped: {
      bytes: zipped,
      etag: tagOf(zipped),
      headers: { ...headers, "Content-Encoding": "gzip" },
    },
  };
}

function give({ plain, zipped }: Page, { request, request_id }: Asked): Response {
  const takesGzip = gzip.test(request.headers.get("accept-encoding") ?? "");
  const { bytes, etag, headers } = takesGzip ? zipped : plain;
  const always = {
    ETag: etag,
    "Cache-Control": "no-cache",
    Vary: "Accept-Encoding",
    "X-Request-Id": request_id,
  };
  return isKnown(request.headers.get("if-none-match"), etag)
    ? new Response(null, { status: 304, headers: always })
    : new Response(bytes, { headers: { ...always, ...headers } });
}

/** Named, and not with a weight of zero (RFC 9110, section 12.5.3). */
const gzip = /(?:^|,)\s*(?:x-)?gzip\s*(?:;\s*q=(?!0(?:\.0*)?\s*(?:,|$))[\d.]+\s*)?(?:,|$)/i;
