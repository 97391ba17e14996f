// GraphiQL, whole in one page: nothing of it comes from elsewhere, and the policy it is sent with
// says so to the browser. It shows no data; what it asks carries the token that is typed into it.

import { createHash } from "node:crypto";
import { renderGraphiQL } from "@graphql-yoga/render-graphiql";

const firstQuery = `# 1. Under Headers, below, write a token behind Bearer.
#    One is made by: dbx token generate
#      --group admin --user jane
# 2. Run this with Ctrl-Enter. The two arrows at the
#    bottom left load the schema: names complete then.

query Aggregates {
  aggregates(take: 10) {
    aggregate_type
    aggregate_id
    version
    state
  }
}
`;

interface Page {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly headers: Readonly<Record<string, string>>;
}

let made: Page | undefined;

/** Made when it is first asked for: it has two megabytes. */
export const pageOf = (): Page => (made ??= makePage());

function makePage(): Page {
  const html = renderGraphiQL({
    title: "dbx",
    defaultQuery: firstQuery,
    headers: JSON.stringify({ Authorization: "Bearer " }, null, 2),
    endpoint: "/graphql",
  }).trim();
  return {
    bytes: new TextEncoder().encode(html),
    headers: {
      "Content-Type": "text/html; charset=utf-8",
      "X-Content-Type-Options": "nosniff",
      "Content-Security-Policy": policyOf(html),
      "Referrer-Policy": "no-referrer",
    },
  };
}

/**
 * The page's own script by its digest and no other; styles are made while it runs. It may connect
 * to where it came from only.
 */
function policyOf(html: string): string {
  const start = html.indexOf("<script>") + "<script>".length;
  const script = html.slice(start, html.lastIndexOf("</script>"));
  const digest = createHash("sha256").update(script).digest("base64");
  return [
    "default-src 'none'",
    `script-src 'sha256-${digest}'`,
    "style-src 'unsafe-inline'",
    "img-src data:",
    "font-src data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; ");
}
