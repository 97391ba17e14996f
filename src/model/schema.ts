// Whether an event may be appended under the restriction in force. Nothing declares schemas yet, so
// `strict` refuses every event and the other modes refuse none.

import type { Restriction } from "./config.ts";
import { DbxError } from "./error.ts";

/** Throws `schema_violation`. */
export function checkEvent(
  restriction: Restriction,
  event: { readonly aggregate_type: string },
): void {
  if (restriction !== "strict") return;
  throw new DbxError(
    "schema_violation",
    `schema violation: aggregate ${event.aggregate_type} requires a schema before events can be appended when restrict=strict`,
    { aggregate_type: event.aggregate_type },
  );
}
